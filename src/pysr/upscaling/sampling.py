"""Models that draw their result at random: check the arguments, prepare images, and get samples and likelihoods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from statistics import fmean
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError, OutOfMemoryError, PluginError
from ..imaging.colour import to_channels
from ..imaging.planes import Array, OpenedImage
from ..ops.patches import from_float, to_float
from ..ops.pixelcnn import KnownPixels, is_temperature
from ..ops.seeds import check_seed
from ..plugin import Model, Progress
from .memory import is_out_of_memory
from .planes import finished
from .progress import progress_shares
from .stage import Stage
from .tiling import TiledStage


@dataclass(frozen=True)
class SamplingParams:
    """How to draw results; see `Upscaler.sample`.

    Attributes:
        n: Number of samples.
        seed: 0 to 2^64 - 1.
        temperature: Divides the logits; 0 for greedy decoding.
    """

    n: int = 1
    seed: int = 0
    temperature: float = 1.0

    @classmethod
    def checked(cls, n: Any = 1, seed: Any = 0, temperature: Any = 1.0) -> SamplingParams:
        """Check a user's values.

        Raises:
            InputError: One of them cannot be used.
        """
        if not isinstance(n, Integral) or int(n) < 1:
            raise InputError(f"n is {n!r}; give the number of samples, 1 or more")
        seed = check_seed(seed)
        if not is_temperature(temperature):
            raise InputError(
                f"temperature is {temperature!r}; give 0 for the likeliest value of each pixel, or 1e-6 to 1e6: 1 for "
                "the model's own probabilities, less for safer results"
            )
        return cls(int(n), seed, float(temperature))


def checked_stage(model: Model, stages: Sequence[TiledStage]) -> Stage:
    """Return the only stage of an upscaler whose model draws at random.

    Raises:
        InputError: It does not.
    """
    if not model.stochastic:
        raise InputError(f"{model.name} draws nothing at random; use upscale, or a model that samples")
    return stages[0].stage


def drawn(
    stage: Stage,
    opened: OpenedImage,
    params: SamplingParams,
    known: OpenedImage | None,
    mask: Any,
    progress: Progress | None,
) -> list[Tensor]:
    """Draw the samples of all planes of an image, as `samples` does; the arguments are those of `Upscaler.sample`."""
    parts = opened.parts(stage.scale)
    shape = opened.shape[0] * stage.scale, opened.shape[1] * stage.scale
    reports = progress_shares(progress, [math.prod(shape)] * len(parts))
    return [samples(stage, low, params, known_pixels(known, mask, shape, len(low)), next(reports)) for low, _ in parts]


def results(
    stage: Stage,
    scale: int,
    alpha: TiledStage,
    image: OpenedImage,
    params: SamplingParams,
    known: OpenedImage | None,
    mask: Any,
    progress: Progress | None,
) -> list[Any]:
    """Return samples as images of the kind that came in, alpha enlarged by ``alpha``."""
    sampled = drawn(stage, image, params, known, mask, progress)
    images: list[Any] = []
    for number in range(params.n):
        for (_, high), samples_of_it in zip(image.parts(scale), sampled, strict=True):
            from_float(samples_of_it[number], high)
        images.append(finished(image, scale, alpha))
    return images


def known_pixels(known: OpenedImage | None, mask: Any, shape: tuple[int, int], channels: int) -> KnownPixels | None:
    """Check a user's known pixels and mask.

    Args:
        known: The image that the pixels are taken from, or None.
        mask: bool (H, W) array or tensor, PIL image of mode 1, or None; True where a pixel is known.
        shape: (height, width) of the result.
        channels: Channels of the result's colours, 1 or 3.

    Returns:
        Levels (channels, H, W) uint8 and mask (H, W) bool, on the CPU; None if there are none.

    Raises:
        InputError: Only one of them is given, or they do not fit the result.
    """
    if (known is None) != (mask is None):
        raise InputError("known and mask belong together; give both: known holds the pixels, mask marks those to keep")
    if known is None:
        return None
    checked_mask = _checked_mask(mask)
    if known.shape != shape or tuple(checked_mask.shape) != shape:
        raise InputError(
            f"known is {known.shape[1]} x {known.shape[0]} and mask {tuple(checked_mask.shape)[::-1]}; both must have "
            f"the result's size, {shape[1]} x {shape[0]} pixels"
        )
    (image, _), *more = known.parts(1)
    if more or len(image) != channels:
        raise InputError(f"known and the image differ in colour; give {'gray' if channels == 1 else 'RGB'} pixels")
    return KnownPixels((unit_floats(image) * 255).round().byte(), checked_mask)


def _checked_mask(mask: Any) -> Tensor:
    if isinstance(mask, Image.Image) and mask.mode == "1":
        mask = np.array(mask)
    tensor = torch.as_tensor(mask) if isinstance(mask, (np.ndarray, Tensor)) else None
    if tensor is None or tensor.dtype != torch.bool or tensor.ndim != 2:
        raise InputError(
            "mask cannot be used; give a bool array or tensor of shape (H, W), or a PIL image of mode 1, where True "
            "keeps a pixel"
        )
    return tensor.cpu()


def unit_floats(image: Array) -> Tensor:
    """Convert (C, H, W) of any supported dtype to float32 in [0, 1], on the CPU."""
    return to_float(image).cpu().clamp(0, 1)


def samples(
    stage: Stage, image: Array, params: SamplingParams, known: KnownPixels | None, progress: Progress | None
) -> Tensor:
    """Draw results for an image.

    Args:
        stage: A stochastic model.
        image: (C, H, W) colours, C being 1 or 3.
        params: How to draw.
        known: Pixels that stay as given, with levels (C, H * scale, W * scale).
        progress: Called as progress(done, total), in pixels.

    Returns:
        (n, C, H * scale, W * scale) float32 in [0, 1], on the CPU.

    Raises:
        OutOfMemoryError: That many samples do not fit into memory.
        PluginError: The network returns a wrong shape.
    """
    channels = stage.model.channels
    low = to_channels(unit_floats(image), channels)[None]
    options: dict[str, Any] = {"seed": params.seed, "temperature": params.temperature, "progress": progress}
    if known:
        options |= {"known": to_channels(known.levels, channels)[None], "mask": known.mask[None]}
    try:
        with stage.turn:
            output = stage.runner.sample(low, params.n, **options)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{params.n} samples of this size do not fit into memory; draw fewer at a time"
        ) from error
    wanted = (1, params.n, channels, image.shape[1] * stage.scale, image.shape[2] * stage.scale)
    if output.shape != wanted:
        raise PluginError(f"sample of the model {stage.model.name!r} returned {tuple(output.shape)}, not {wanted}")
    return to_channels(output[0], len(image))


def bits_per_dim(stage: Stage, low: OpenedImage, high: OpenedImage) -> float:
    """Measure the likelihood of ``high`` given ``low``, as `Upscaler.bits_per_dim` does, with the same errors."""
    shape = low.shape[0] * stage.scale, low.shape[1] * stage.scale
    if high.shape != shape:
        raise InputError(
            f"high is {high.shape[1]} x {high.shape[0]} pixels; for this low it must be {shape[1]} x {shape[0]}"
        )
    lows, highs = ([image for image, _ in opened.parts(1)] for opened in (low, high))
    if [len(image) for image in lows] != [len(image) for image in highs]:
        raise InputError("low and high are of different kinds; give both as gray or RGB, in batches of equal size")
    return fmean(_bits_per_dim(stage, *pair) for pair in zip(lows, highs, strict=True))


def _bits_per_dim(stage: Stage, low: Array, high: Array) -> float:
    """Negative log-likelihood of ``high`` given ``low``, in bits per sub-pixel that the network draws.

    Args:
        stage: A stochastic model.
        low: (C, H, W) colours, C being 1 or 3.
        high: (C, H * scale, W * scale) colours.
    """
    small, large = (to_channels(unit_floats(image), stage.model.channels)[None] for image in (low, high))
    return -float(stage.runner.log_likelihood(small, large)) / math.log(2) / large.numel()


def sample_std(drawn: Tensor) -> Tensor:
    """Standard deviation of each pixel over samples, (n, C, H, W) in [0, 1]: (H, W) float32.

    It is the root of the mean of the channels' variances.
    """
    return drawn.double().var(0, correction=0).mean(0).sqrt().float()
