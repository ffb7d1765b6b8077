"""Models that draw their result at random: check the arguments, prepare images, and get samples and likelihoods."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import InputError, OutOfMemoryError, PluginError
from ..files.streams import is_stream
from ..imaging.colour import to_channels
from ..imaging.planes import Array, OpenedImage, stacked
from ..ops.patches import from_float, to_float
from ..ops.pixelcnn import KnownPixels
from ..ops.pixelcnn_checks import is_temperature
from ..ops.seeds import check_seed
from ..plugin import Model, Progress
from .memory import is_out_of_memory, memory_errors_named
from .opening import PixelArray, open_any
from .planes import finished
from .progress import progress_shares
from .stage import Stage
from .tiling import TiledStage

_names_memory_errors = memory_errors_named("samples were drawn", "draw fewer at a time")


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


@dataclass(frozen=True)
class Sampling:
    """Draws the results of an `Upscaler`; its methods take the same arguments and raise the same errors.

    Attributes:
        model: Its model.
        stages: Its stages.
        alpha: What enlarges alpha.
        scale: Enlargement per side.
    """

    model: Model
    stages: Sequence[TiledStage]
    alpha: TiledStage
    scale: int

    @property
    def stage(self) -> Stage:
        """The only stage of a model that draws at random.

        Raises:
            InputError: The model does not.
        """
        if not self.model.stochastic:
            raise InputError(f"{self.model.name} draws nothing at random; use upscale, or a model that samples")
        return self.stages[0].stage

    @_names_memory_errors
    def results(
        self,
        image: Any,
        params: SamplingParams,
        known: Any = None,
        mask: Any = None,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Return the results of `Upscaler.sample` as a list."""
        stage, opened_known = self.stage, open_any(known) if known is not None else None
        opened = open_any(image) if opened_known else open_any(image).gray_if_neutral()
        shape = opened.shape[0] * self.scale, opened.shape[1] * self.scale
        lows = [low for low, _ in opened.parts(self.scale)]
        kept = [known_pixels(opened_known, mask, shape, len(low)) for low in lows]
        return self._finished(opened, samples(stage, lows, params, kept, progress))

    @_names_memory_errors
    def results_of_each(
        self, images: Sequence[Any], params: SamplingParams, progress: Progress | None
    ) -> list[list[Any]]:
        """Return the results of `Upscaler.sample_each`, of each image as a list."""
        stage = self.stage
        if _is_one(images):
            raise InputError(
                f"images is one image, of type {type(images).__name__}; give a list of images, or use sample"
            )
        opened = [open_any(image).gray_if_neutral() for image in images]
        lows = [[low for low, _ in each.parts(self.scale)] for each in opened]
        drawn = iter(samples(stage, [low for parts in lows for low in parts], params, None, progress))
        return [self._finished(each, [next(drawn) for _ in parts]) for each, parts in zip(opened, lows, strict=True)]

    @_names_memory_errors
    def uncertainty(self, image: Any, params: SamplingParams) -> NDArray[np.float32]:
        """Do the work of `Upscaler.uncertainty`."""
        stage, opened = self.stage, open_any(image).gray_if_neutral()
        drawn = samples(stage, [low for low, _ in opened.parts(self.scale)], params)
        if isinstance(image, Tensor) and image.ndim == 4:
            return np.stack([sample_std(of_one).numpy() for of_one in drawn])
        return sample_std(torch.cat(drawn, 1)).numpy()

    def _finished(self, opened: OpenedImage, drawn: Sequence[Tensor]) -> list[Any]:
        """Samples of all planes of an image, as images of the kind that came in, with alpha enlarged."""
        images: list[Any] = []
        for number in range(len(drawn[0])):
            for (_, high), of_it in zip(opened.parts(self.scale), drawn, strict=True):
                from_float(of_it[number], high)
            images.append(finished(opened, self.scale, self.alpha))
        return images


def _is_one(images: Any) -> bool:
    """Whether what should be several images is one, whose rows or letters would be taken for images."""
    if isinstance(images, np.ndarray | Tensor):
        return images.ndim < 4
    return isinstance(images, Image.Image | str | os.PathLike) or is_stream(images)


@_names_memory_errors
def gathered(results: list[Any]) -> list[Any] | PixelArray:
    """Return what `Upscaler.sample` does for such results: arrays and tensors stacked, PIL images as they are."""
    if isinstance(results[0], np.ndarray):
        return np.stack(results)
    return stacked(results) if isinstance(results[0], Tensor) else results


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
    stage: Stage,
    images: Sequence[Array],
    params: SamplingParams,
    kept: Sequence[KnownPixels | None] | None = None,
    progress: Progress | None = None,
) -> list[Tensor]:
    """Draw results for images, together if the network can.

    Args:
        stage: A stochastic model.
        images: (C, H, W) colours each, C being 1 or 3.
        params: How to draw.
        kept: Of each image, pixels that stay as given, with levels (C, H * scale, W * scale); None: of none.
        progress: Called as progress(done, total), in pixels.

    Returns:
        Of each image, (n, C, H * scale, W * scale) float32 in [0, 1], on the CPU.

    Raises:
        OutOfMemoryError: That many samples do not fit into memory.
        PluginError: The network returns a wrong shape.
    """
    channels = stage.model.channels
    lows = [to_channels(unit_floats(image), channels)[None] for image in images]
    options: dict[str, Any] = {"seed": params.seed, "temperature": params.temperature}
    try:
        with stage.turn.lock if stage.turn else nullcontext():
            if stage.runner.samples_together and not any(kept or ()):
                outputs = stage.runner.sample_each(lows, params.n, **options, progress=progress)
            else:
                shares = progress_shares(progress, [low[0, 0].numel() for low in lows])
                each = zip(lows, kept or [None] * len(lows), shares, strict=False)
                outputs = [
                    stage.runner.sample(low, params.n, **options, **_as_options(known, channels), progress=share)
                    for low, known, share in each
                ]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{params.n} samples of this size do not fit into memory; draw fewer at a time"
        ) from error
    for image, output in zip(images, outputs, strict=True):
        wanted = (1, params.n, channels, image.shape[1] * stage.scale, image.shape[2] * stage.scale)
        if output.shape != wanted:
            raise PluginError(f"sample of the model {stage.model.name!r} returned {tuple(output.shape)}, not {wanted}")
    return [to_channels(output[0], len(image)) for image, output in zip(images, outputs, strict=True)]


def _as_options(known: KnownPixels | None, channels: int) -> dict[str, Tensor]:
    """Arguments of a network's `sample` for known pixels."""
    return {"known": to_channels(known.levels, channels)[None], "mask": known.mask[None]} if known else {}


@memory_errors_named("a likelihood was measured", "or take smaller images")
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
