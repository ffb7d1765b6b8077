"""Conformance checks of losses, metrics, preprocessors and readers of model files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import PysrError, format_error
from ..plugin import Preprocess, Preprocessor
from ..registry import registry
from .models import measured_receptive_field

_STRANGERS = {  # contents that no reader but that of the format takes
    "an empty file": b"",
    "text": b"hello\n" * 100,
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(range(200)),
    "zeros": bytes(1000),
    "random bytes": np.random.default_rng(0).bytes(1000),
}


def check_loss(name: str) -> None:
    """Check that an installed loss keeps its contract: a finite scalar, a gradient, inputs left as they are.

    Args:
        name: Name of the loss; it is built without options.

    Raises:
        AssertionError: The loss breaks the contract; the message says how.
        UnknownNameError: No such loss is installed.
    """
    loss = registry().loss(name).build()
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 96, 96, generator=generator)
    output = (target + 0.1 * torch.randn(target.shape, generator=generator)).clamp(0, 1).requires_grad_()
    before = output.detach().clone(), target.clone()
    value = loss(output, target)
    assert isinstance(value, Tensor) and value.ndim == 0, (
        f"the loss {name} returned {_described(value)}, not a scalar; take the mean over all values"
    )
    assert torch.isfinite(value), f"the loss {name} is {value.item()} for an image with noise; avoid 0 / 0 and log(0)"
    _assert_unchanged(f"the loss {name}", before, (output.detach(), target))
    assert value.requires_grad, f"the loss {name} has no gradient; compute it from the output by differentiable steps"
    value.backward()
    gradient = output.grad
    assert gradient is not None and torch.isfinite(gradient).all(), (
        f"the gradient of the loss {name} is not finite; add a small number under roots and in denominators"
    )
    if (update := getattr(loss, "update", None)) is not None:
        logged = update(output.detach(), target)
        assert logged is None or all(isinstance(each, (int, float)) for each in logged.values()), (
            f"update of the loss {name} returned {_described(logged)}; return numbers by name, or None"
        )


def check_metric(name: str) -> None:
    """Check that an installed metric keeps its contract: a number, the better the nearer an output is to the target.

    Args:
        name: Name of the metric.

    Raises:
        AssertionError: The metric breaks the contract; the message says how.
        UnknownNameError: No such metric is installed.
    """
    metric = registry().metric(name)
    measure = metric.build()
    generator = torch.Generator().manual_seed(0)
    side = max(48, metric.smallest)
    rows = torch.linspace(0, 6, side, dtype=torch.float64)
    target = (0.5 + 0.4 * torch.outer(rows.sin(), rows.cos())).expand(1 if metric.colour == "luma" else 3, -1, -1)
    noise = torch.randn(target.shape, generator=generator, dtype=torch.float64)
    outputs = [(target + amount * noise).clamp(0, 1) for amount in (0.02, 0.2)]
    before = outputs[0].clone(), target.clone()
    scores = [measure(output, target) for output in outputs]
    for score in scores:
        assert isinstance(score, (int, float)) and np.isfinite(score), (
            f"the metric {name} returned {_described(score)}, not a finite number; end it with .item()"
        )
    _assert_unchanged(f"the metric {name}", before, (outputs[0], target))
    assert measure(outputs[0], target) == scores[0], f"the metric {name} gives two scores for one image; seed it"
    better, worse = scores[::-1] if metric.lower_is_better else scores
    assert better > worse, (
        f"the metric {name} rates strong noise better than weak noise ({scores[1]:.4g}, {scores[0]:.4g}); "
        f"is lower_is_better={not metric.lower_is_better} meant?"
    )
    smallest = (..., slice(metric.smallest), slice(metric.smallest))
    least = measure(outputs[0][smallest], target[smallest])
    assert isinstance(least, (int, float)), f"the metric {name} fails at {metric.smallest} pixels, its smallest"


def check_preprocessor(name: str) -> None:
    """Check that an installed preprocessor keeps its contract, with a network that only enlarges.

    Checked at the scales 2 and 3, in colour and gray: shapes, finite values, the window left as it is, equal results
    from several threads, and `Preprocessor.reach`, measured by gradients.

    Args:
        name: Name of the preprocessor.

    Raises:
        AssertionError: The preprocessor breaks the contract; the message says how.
        UnknownNameError: No such preprocessor is installed.
    """
    described = registry().preprocessor(name)
    step = described.build()
    for scale in (2, 3):
        for channels in (3, 1):
            window = torch.rand(2, channels, 20, 24, generator=torch.Generator().manual_seed(scale))
            before = window.clone()
            result = _through(described, step, window, scale)
            _assert_unchanged(f"the preprocessor {name}", (before,), (window,))
            wanted = (2, channels, 20 * scale, 24 * scale)
            assert result.shape == wanted, (
                f"postprocess of {name} gave {tuple(result.shape)} for a window of {tuple(window.shape)} at scale "
                f"{scale}, not {wanted}"
            )
            assert torch.isfinite(result).all(), f"the preprocessor {name} gave NaN or infinite values"
            with ThreadPoolExecutor(8) as pool:
                again = list(
                    pool.map(partial(_through, described, step, scale=scale), [window.clone() for _ in range(8)])
                )
            assert all(torch.equal(result, each) for each in again), (
                f"the preprocessor {name} gives something else in 8 threads; keep what postprocess needs in the context"
                " that preprocess returns, not in attributes"
            )
    _check_reach(described, step)


def _through(described: Preprocessor, step: Preprocess, window: Tensor, scale: int) -> Tensor:
    image, context = step.preprocess(window, scale)
    sides = tuple(side * (scale if described.enlarges else 1) for side in window.shape[2:])
    assert image.shape[2:] == sides, (
        f"preprocess of {described.name} gave {tuple(image.shape)} for a window of {tuple(window.shape)} at scale "
        f"{scale}; with enlarges={described.enlarges} its sides are {sides}"
    )
    output = image if described.enlarges else image.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    return step.postprocess(output, context, scale)


def _check_reach(described: Preprocessor, step: Preprocess) -> None:
    class Before(nn.Module):
        def forward(self, window: Tensor) -> Tensor:
            return step.preprocess(window, 2)[0]

    found = measured_receptive_field(Before(), 3, 2 if described.enlarges else 1, described.reach)
    assert found <= described.reach, (
        f"{described.name} declares a reach of {described.reach} pixels, but {found} were measured; "
        f"declare reach={found}"
    )


def check_reader(name: str) -> None:
    """Check that an installed reader of model files leaves other files alone, and is not brought down by damaged ones.

    Args:
        name: Name of the reader.

    Raises:
        AssertionError: The reader breaks the contract; the message says how.
        KeyError: No such reader is installed.
    """
    reader = registry().readers[name]
    with tempfile.TemporaryDirectory() as folder:
        for what, content in _STRANGERS.items():
            path = Path(folder) / "stranger.bin"
            path.write_bytes(content)
            try:
                taken = reader.reads(path, content)
            except Exception as error:
                raise AssertionError(
                    f"reads of {name} raised {format_error(error)} for {what}; return False"
                ) from error
            assert taken is False, (
                f"reads of {name} returned {taken!r} for {what}; return True only for the content of such files"
            )
            _open_damaged(reader.open, name, path, what)


def _open_damaged(opener: Callable[[Path], Any], name: str, path: Path, what: str) -> None:
    try:
        opener(path)
    except PysrError:
        return
    except Exception as error:
        raise AssertionError(
            f"open of {name} raised {format_error(error)} for {what}; raise WeightsError for a damaged file, and "
            "InputError for one that holds something else"
        ) from error
    raise AssertionError(f"open of {name} made a model of {what}; raise WeightsError for a damaged file")


def _assert_unchanged(who: str, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> None:
    same = all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert same, f"{who} changed what it was given; work on a copy (x = x * 2 in place of x *= 2)"


def _described(value: object) -> str:
    return f"a tensor of {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:80]
