"""Broken plugins of every kind: each costs itself alone, and whatever uses it gets a `PysrError`."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from pysr import load
from pysr.cli.app import main
from pysr.errors import PysrError
from pysr.plugin import Model, Preprocessor, hookimpl
from pysr.registry import Source, core, override

from .experiment import Outcome


class Mute(Exception):
    """An exception that cannot describe itself."""

    def __str__(self) -> str:
        raise RuntimeError


class Many(Exception):
    """An exception of many lines."""

    def __str__(self) -> str:
        return "line\n" * 1000


RAISED: tuple[BaseException, ...] = (
    *(ValueError("v"), KeyError("k"), RecursionError(), MemoryError(), SystemExit(0), SystemExit("text")),
    *(
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        StopIteration(),
        BaseException("b"),
        Mute(),
        Many(),
    ),
    *(OSError(28, "No space left on device"), RuntimeError("CUDA error"), UnicodeDecodeError("utf-8", b"x", 0, 1, "r")),
)
FIELDS: dict[str, tuple[Any, ...]] = {
    "name": (None, 7, "", "a\nb", "\x1b[31m", ["x"], "bicubic"),
    "summary": (7, None, b"x"),
    "scales": (("2",), (2.5,), (), (0,), 2, None),
    "aliases": ("x", (None,), None, ("bicubic",)),
    "weights": ("x", {2: "x"}, None, []),
    "scores": ({2: "high"}, 5),
    "colour": ("green", None),
    "domain": ([],),
    "variants": ("ab", (1,)),
    "receptive_field": ("8", -1, 1.5),
    "multiple_of": (0, "2", None),
    "preprocess": ("x", (1,), ("missing",)),
    "recipes": ([], "x"),
    "network": (None, 7),
    "licence": (1,),
}


def _raise(error: BaseException) -> Callable[..., Any]:
    def raising(*_: Any, **__: Any) -> Any:
        raise error

    return raising


class _Network(nn.Module):
    def __init__(self, forward: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self._forward = forward

    def forward(self, low: Tensor) -> Any:
        return self._forward(low)


def _enlarged(low: Tensor) -> Tensor:
    return low.repeat_interleave(2, -1).repeat_interleave(2, -2)


RETURNED: dict[str, Callable[[Tensor], Any]] = {
    "None": lambda low: None,
    "a list": lambda low: [low],
    "wrong shape": lambda low: low,
    "wrong dtype": lambda low: _enlarged(low).long(),
    "NaN": lambda low: _enlarged(low) * float("nan"),
    "infinity": lambda low: _enlarged(low) / 0,
    "a number": lambda low: 7,
    "NumPy": lambda low: _enlarged(low).numpy(),
    "sparse": lambda low: _enlarged(low).to_sparse(),
    "meta": lambda low: _enlarged(low).to("meta"),
    "0 channels": lambda low: _enlarged(low)[:, :0],
}


def _module(**hooks: Any) -> ModuleType:
    module = ModuleType("torture_plugin")
    vars(module).update({name: hookimpl(hook) for name, hook in hooks.items()})
    return module


def _model(**values: Any) -> Model:
    fields: dict[str, Any] = {"name": "odd", "scales": (2,), "network": lambda *_: _Network(_enlarged), "summary": ""}
    return Model(**fields | {"receptive_field": 0} | values)


def kinds() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every kind of broken plugin: its name, and what loads it."""
    for error in RAISED:
        name = type(error).__name__
        yield f"{name} at import", _raise(error)
        yield f"{name} in a hook", _calling(_hooked, _raise(error))
        yield f"{name} in a generator", _calling(_hooked, _late, error)
        yield f"{name} in the builder", _calling(_hooked, _one, {"network": _raise(error)})
        yield f"{name} in the network", _calling(_providing, _raise(error))
        yield f"{name} in a preprocessor", _calling(_stepping, _raise(error))
    for what, forward in RETURNED.items():
        yield f"a network that returns {what}", _calling(_providing, forward)
    for field, values in FIELDS.items():
        for value in values:
            yield f"{field}={value!r}", _calling(_hooked, _one, {field: value})
    for items in (None, 7, "text", [None], [7], [object], {"a": 1}):
        yield f"a hook that returns {items!r}", _calling(_hooked, _same, items)
    yield "no module", _calling(_same, None)


def _calling(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _hooked(function: Callable[..., Any], *arguments: Any) -> ModuleType:
    return _module(pysr_models=_calling(function, *arguments))


def _one(values: dict[str, Any]) -> list[Model]:
    return [_model(**values)]


def _same(value: Any) -> Any:
    return value


def _late(error: BaseException) -> Iterator[Model]:
    yield _model(name="early")
    raise error


def _providing(forward: Callable[[Tensor], Any]) -> ModuleType:
    return _hooked(_one, {"network": lambda *_: _Network(forward)})


def _stepping(broken: Callable[..., Any]) -> ModuleType:
    steps = [Preprocessor("breaks", type("Step", (), {"preprocess": broken, "postprocess": broken}), "")]
    return _module(pysr_preprocessors=lambda: steps, pysr_models=lambda: _one({"preprocess": ("breaks",)}))


def run(count: int, folder: Path) -> Outcome:
    """Install every kind, or every n-th if ``count`` is smaller, and use it and what is installed beside it."""
    outcome, found = Outcome(), list(kinds())
    before = signal.signal(signal.SIGINT, lambda *_: None)  # as in commands, where no KeyboardInterrupt is real
    sound = Source("sound", "sound", "1", lambda: _module(pysr_models=lambda: [_model(name="sound")]))
    for name, plugin in found[:: max(1, len(found) // count)]:
        try:
            with override([core(), Source("aaa", "aaa", "1", plugin), sound]):
                problem = _use()
        except BaseException as error:
            problem = f"{type(error).__name__} while it was loaded"
        outcome.check(name, problem)
    signal.signal(signal.SIGINT, before)
    return outcome


def _use() -> str | None:
    image = np.zeros((8, 8, 3), np.float32)
    for command in (["models"], ["models", "--json"], ["plugins"]):
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
            if main(command) or "Traceback" in said.getvalue():
                return f"pysr {' '.join(command)} failed: {said.getvalue()[-200:]}"
    for name in ("sound", "bicubic"):
        load(name, 2, device="cpu").upscale(image)
    try:
        load("odd", 2, device="cpu").upscale(image)
    except PysrError:
        pass
    except BaseException as error:
        return f"upscaling raised {type(error).__name__}"
    return None
