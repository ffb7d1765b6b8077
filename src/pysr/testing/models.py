"""Conformance checks of models and degradations."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..imaging.degrade import bicubic
from ..plugin import Model
from ..registry import registry
from ..upscaling.loading import load
from ..upscaling.tiling import Tiling
from ..upscaling.upscaler import Upscaler
from ..upscaling.weights import load_weights, save_weights

SIZES = ((1, 1), (2, 3), (3, 41), (17, 16), (30, 23))  # (height, width): one pixel, and odd and thin images


def check_model(name: str, *, scales: tuple[int, ...] | None = None, untrained: bool = False) -> None:
    """Check that an installed model honours the contract of `pysr.plugin.Model`.

    Checked for each scale and variant: output sizes of odd inputs, value range and dtypes; equal results from tiles and
    from the whole image; the receptive field, measured by gradients, within the declared one; equal results when run
    again, from several threads, and alone or in a batch; that the network leaves its input as it is and returns
    float32; the round trip of the state dict; and that `Model.strength_from` can be mixed with the shipped weights.

    Args:
        name: Name or alias of the model.
        scales: Which of its scales to check; by default all with shipped weights, or if none has any, all.
        untrained: Whether a network without weights is checked with random ones.

    Raises:
        AssertionError: The model breaks the contract; the message says how.
        InputError: The model has no weights for a scale.
        UnknownNameError: No such model is installed.
    """
    model = registry().model(name)
    for scale in scales or model.trained_scales or model.scales:
        for variant in model.variants or (None,):
            filled = _random_weights(model, scale, variant) if untrained else nullcontext()
            with _one_thread(), filled as weights:
                _check_at(model, scale, variant, weights)


def _check_at(model: Model, scale: int, variant: str | None, weights: Path | None) -> None:
    """Check a model at one scale; ``weights`` are in place of those shipped."""
    upscaler = load(model.name, scale, variant=variant, weights=weights, device="cpu", precision="float32")
    _check_sizes(upscaler)
    _check_types(upscaler, untrained=weights is not None)
    _check_repeatable(upscaler)
    _check_threads(upscaler)
    if not model.stochastic:
        _check_network(model, scale, variant, weights)
    _check_tiled(upscaler, variant, weights)
    _check_receptive_field(model, scale, variant, weights)
    _check_state_dict(model, scale, variant, weights)
    if model.clean_counterpart(scale, variant):
        _check_strength(model.name, scale, variant)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute by one thread: with more it may round otherwise, and while processors are busy it has fewer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        found = torch.get_num_threads()
        torch.set_num_threads(threads)
    assert found == 1, f"the plugin changed torch's number of threads to {found}; leave it as it is"


@contextmanager
def _random_weights(model: Model, scale: int, variant: str | None) -> Iterator[Path | None]:
    """Write the weights of a new network to a file; None if the model needs none, or has some.

    Layers that begin at zero get random numbers: as they are, no check would see what comes before them.
    """
    network = model.network(scale, variant)
    if model.weights_for(scale, variant) or not any(True for _ in network.parameters()):
        yield None
        return
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            if not value.any():
                value.normal_(0, 0.02, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        save_weights(network, path, {})
        yield path


def _check_network(model: Model, scale: int, variant: str | None, weights: Path | None) -> None:
    """Check the network by itself: what it does to its input, its dtype, and that items of a batch are independent."""
    network = _trained(model, scale, variant, weights)
    side = math.ceil(24 / model.multiple_of) * model.multiple_of
    low = torch.rand(2, model.channels, side, side, generator=torch.Generator().manual_seed(0))
    low[1] *= 0.5  # so that their means differ
    before = low.clone()
    with torch.inference_mode():
        output = network(low)
        assert torch.equal(low, before), (
            f"the network of {model.name} changed its input; work on a copy (x = x * 2 in place of x *= 2, and no "
            "inplace=True in the first layer)"
        )
        assert output.dtype == torch.float32, (
            f"the network of {model.name} returned {output.dtype} for float32; leave the dtype as it is"
        )
        alone = torch.cat([network(item[None]) for item in low])
    difference = float((output - alone).abs().max()) if output.shape == alone.shape else math.inf
    assert difference <= 1e-4, (
        f"the network of {model.name} gives other pixels for an image in a batch than alone (by {difference:.1e}); let "
        "nothing depend on other items of the batch, or on earlier calls"
    )


def check_degradation(name: str) -> None:
    """Check that an installed degradation keeps its contract.

    Checked at the scales 2 to 4, in colour and gray: shape, dtype and range of the result; equal results for equal
    random numbers; that the image it is given stays as it was; and that the result is nearer to a plain reduction than
    to a flipped one.

    Args:
        name: Name of the degradation.

    Raises:
        AssertionError: The degradation breaks the contract; the message says how.
        UnknownNameError: No such degradation is installed.
    """
    degrade = registry().degradation(name).build()
    for scale in (2, 3, 4):
        for channels in (3, 1):
            image = photo(16 * scale, 20 * scale)[..., :channels]
            high = torch.from_numpy(image).permute(2, 0, 1).contiguous()
            before = high.clone()
            low = degrade(high, scale, np.random.default_rng(0))
            what = f"{name} x{scale} of {tuple(high.shape)}"
            assert torch.equal(high, before), f"{what} changed the image that it was given"
            assert low.shape == (channels, 16, 20), f"{what} gave {tuple(low.shape)}, not {(channels, 16, 20)}"
            assert low.dtype == torch.float32, f"{what} gave {low.dtype}, not torch.float32"
            assert low.isfinite().all() and low.min() >= 0 and low.max() <= 1, f"{what} left [0, 1]"
            again = degrade(high, scale, np.random.default_rng(0))
            assert torch.equal(low, again), f"{what} gave another image for the same random numbers"
            plain = bicubic(high, scale)
            flips = [plain.flip(-1), plain.flip(-2), plain.flip(-1, -2)]
            distance, *others = ((low - each).abs().mean() for each in (plain, *flips))
            assert distance < min(others), f"{what} shows something else than a plain reduction, or a flipped image"


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """A smooth test image with edges and a little noise.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        seed: Seed of the random content.

    Returns:
        (height, width, 3) float32 RGB in [0, 1].
    """
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 7.0
    waves = [np.sin(x * a + y * b + c) for a, b, c in generator.uniform(-1, 1, (3, 3))]
    image = np.stack(waves, -1) * 0.3 + 0.5 + 0.15 * ((x + y) % 2 > 1)[..., None]
    image += generator.normal(0, 0.02, image.shape)
    result: NDArray[np.float32] = image.clip(0, 1).astype(np.float32)
    return result


def _views() -> Iterator[tuple[str, Any]]:
    yield "colour", lambda image: image
    yield "gray", lambda image: np.ascontiguousarray(image[..., 0])


def _check_sizes(upscaler: Upscaler) -> None:
    for height, width in SIZES:
        for what, view in _views():
            image = view(photo(height, width))
            result = upscaler.upscale(image)
            wanted = (height * upscaler.scale, width * upscaler.scale, *image.shape[2:])
            assert result.shape == wanted, f"a {what} image of {image.shape} became {result.shape}, not {wanted}"
            assert np.isfinite(result).all(), f"a {what} image of {image.shape} gave NaN or infinite pixels"
            assert result.min() >= 0 and result.max() <= 1, f"a {what} image of {image.shape} left [0, 1]"


def _check_types(upscaler: Upscaler, *, untrained: bool) -> None:
    image = photo(20, 20)
    for dtype, peak in (("uint8", 255), ("uint16", 65535), ("float32", 1)):
        given = (image * peak).round().astype(dtype) if peak > 1 else image
        before = given.copy()
        result = upscaler.upscale(given)
        assert result.dtype == given.dtype, f"a {dtype} image became {result.dtype}"
        assert np.array_equal(before, given), f"the caller's {dtype} image was changed"
    if upscaler.model.stochastic or upscaler.model.domain == "style" or untrained:
        return  # a sample for a flat image need not be flat, and a style has colours of its own
    flat = upscaler.upscale(np.full((24, 24, 3), 128, np.uint8)).astype(int)
    middle = flat[flat.shape[0] // 3 : -flat.shape[0] // 3, flat.shape[1] // 3 : -flat.shape[1] // 3]
    drift = int(np.abs(middle - 128).max())
    assert drift <= 24, f"a flat gray image came out {drift} levels darker or lighter: wrong value range?"


def _check_repeatable(upscaler: Upscaler) -> None:
    image = photo(25, 31)
    assert np.array_equal(upscaler.upscale(image), upscaler.upscale(image)), (
        "two runs on one image differ; draw nothing at random and keep nothing from call to call"
    )


def _check_threads(upscaler: Upscaler) -> None:
    def upscaled(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return upscaler.upscale(image)

    images = [photo(20 + i, 24, seed=i) for i in range(8)]
    alone = [upscaled(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(upscaled, images))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other), (
            "8 threads on one upscaler gave different pixels from one thread; keep what a call needs in local "
            "variables, not in attributes"
        )


def _check_tiled(upscaler: Upscaler, variant: str | None, weights: Path | None) -> None:
    model, scale = upscaler.model, upscaler.scale
    if model.receptive_field is None:
        return
    own: dict[str, Any] = {"variant": variant, "weights": weights, "tiling": Tiling(patch=1)}
    tiled = load(model.name, scale, device="cpu", precision="float32", **own)
    (stage,) = tiled._stages
    side = stage.plan((3, 10_000, 10_000)).patch[0]  # the smallest tile of this model
    image = photo(side + 21, 2 * side + 13)
    assert stage.plan((3, *image.shape[:2])).count > 1
    difference = float(np.abs(tiled.upscale(image) - upscaler.upscale(image)).max())
    assert difference <= 1e-5, (
        f"{model.name} x{scale} from tiles differs by {difference:.1e} from the whole image: "
        f"is its receptive_field really {model.receptive_field}?"
    )


def _trained(model: Model, scale: int, variant: str | None, weights: Path | None) -> nn.Module:
    network = model.network(scale, variant).eval()
    if file := weights or model.weights_for(scale, variant):
        load_weights(network, file)
    return network


def measured_receptive_field(network: nn.Module, channels: int, scale: int, reach: int, multiple_of: int = 1) -> int:
    """Measure a network's receptive field by gradients.

    Args:
        network: Maps (1, channels, h, w) to (1, channels, h * scale, w * scale).
        channels: Channels of its input.
        scale: Output pixels per input pixel of the network.
        reach: How far to look, in input pixels; larger receptive fields are reported as reach + 3.
        multiple_of: The sides of its input must be multiples of this.

    Returns:
        Half width, in input pixels, of the region that the output pixels of one input pixel depend on.
    """
    side = math.ceil((2 * (reach + 3) + 1) / multiple_of) * multiple_of
    centre = side // 2
    low = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    output = network(low)[..., centre * scale : (centre + 1) * scale, centre * scale : (centre + 1) * scale]
    (output * torch.rand_like(output)).sum().backward()
    assert low.grad is not None
    rows, columns = low.grad[0].abs().sum(0).nonzero(as_tuple=True)
    return int(max((rows - centre).abs().max(), (columns - centre).abs().max()))


def _check_receptive_field(model: Model, scale: int, variant: str | None, weights: Path | None) -> None:
    declared = model.receptive_field
    if declared is None:
        return
    found = measured_receptive_field(
        _trained(model, scale, variant, weights),
        model.channels,
        1 if registry().enlarges_first(model) else scale,
        declared,
        model.multiple_of,
    )
    assert found <= declared, (
        f"{model.name} declares a receptive field of {declared} pixels, but {found} were measured; raise "
        "receptive_field, or give None if the network sees the whole image"
    )


def _check_state_dict(model: Model, scale: int, variant: str | None, weights: Path | None) -> None:
    first, second = _trained(model, scale, variant, weights), model.network(scale, variant).eval()
    second.load_state_dict(first.state_dict(), strict=True)
    side = math.ceil(24 / model.multiple_of) * model.multiple_of
    low = torch.rand(1, model.channels, side, side)
    with torch.inference_mode():
        assert torch.equal(first(low), second(low)), (
            "a network loaded from another's state dict gives another output; register what it computes with as a "
            "parameter or buffer"
        )


def _check_strength(name: str, scale: int, variant: str | None) -> None:
    image = photo(20, 20)
    low, half, high = (
        load(name, scale, variant=variant, strength=strength, device="cpu", precision="float32").upscale(image)
        for strength in (0.0, 0.5, 1.0)
    )
    assert np.abs(low - high).max() > 0, f"{name} is the same at the strengths 0 and 1"
    between = float(np.abs(2 * half - low - high).mean())
    assert between <= float(np.abs(high - low).mean()), (
        f"the strength 0.5 of {name} is not between 0 and 1: did its training begin from strength_from?"
    )
