"""Models that draw their result at random: arguments checked, planes in, samples and likelihoods out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError, OutOfMemoryError, PluginError
from ..imaging.image import Array, OpenedImage
from ..ops.patches import blend_patches, extract_patches
from ..ops.pixelcnn import is_temperature
from .memory import is_out_of_memory
from .stage import GRAY, Stage

Progress = Callable[[int, int], None]
SEEDS = 2**64


@dataclass(frozen=True)
class SamplingParams:
    """How results are drawn; see `Upscaler.sample`."""

    n: int = 1
    seed: int = 0
    temperature: float = 1.0

    @classmethod
    def checked(cls, n: Any = 1, seed: Any = 0, temperature: Any = 1.0) -> SamplingParams:
        """What a user said; InputError where it cannot be done."""
        if not isinstance(n, Integral) or int(n) < 1:
            raise InputError(f"n is {n!r}; give the number of samples, 1 or more")
        if not isinstance(seed, Integral) or not 0 <= int(seed) < SEEDS:
            raise InputError(f"seed is {seed!r}; give a whole number from 0 to 2^64 - 1")
        if not is_temperature(temperature):
            raise InputError(
                f"temperature is {temperature!r}; give 1 for the model's own odds, less for safer results, "
                "0 for the likeliest value of each pixel; other than 0 from 1e-6 to 1e6"
            )
        return cls(int(n), int(seed), float(temperature))


@dataclass(frozen=True)
class KnownPixels:
    """High-resolution pixels that are to stay as they are.

    levels: (C, H, W) uint8, C being 1 or 3. mask: (H, W) bool, True where they are given.
    """

    levels: Tensor
    mask: Tensor


def given(known: OpenedImage | None, mask: Any, size: tuple[int, int], channels: int) -> KnownPixels | None:
    """What a user handed in as known and mask, for a result of (height, width) with 1 or 3 planes of colour."""
    if (known is None) != (mask is None):
        raise InputError("known and mask belong together: known holds the pixels, mask says which of them count")
    if known is None:
        return None
    where = _mask(mask)
    if known.shape != size or tuple(where.shape) != size:
        raise InputError(
            f"known is {known.shape[1]} x {known.shape[0]} and mask {tuple(where.shape)[::-1]}; both must have the "
            f"result's size, {size[1]} x {size[0]} pixels"
        )
    (planes, _), *more = known.parts(1)
    if more or len(planes) != channels:
        raise InputError(f"known has other colours than the image: give {'gray' if channels == 1 else 'RGB'} pixels")
    return KnownPixels((as_floats(planes) * 255).round().byte(), where)


def _mask(mask: Any) -> Tensor:
    if isinstance(mask, Image.Image) and mask.mode == "1":
        mask = np.array(mask)
    where = torch.as_tensor(mask) if isinstance(mask, (np.ndarray, Tensor)) else None
    if where is None or where.dtype != torch.bool or where.ndim != 2:
        raise InputError("mask is a bool array or tensor of shape (H, W), or a PIL image of mode 1; True keeps a pixel")
    return where.cpu()


def as_floats(planes: Array) -> Tensor:
    """(C, H, W) of any supported dtype as float32 in [0, 1], on the CPU."""
    _, height, width = planes.shape
    return extract_patches(planes, [(0, 0)], (height, width))[0].cpu().clamp(0, 1)


def samples(
    stage: Stage, planes: Array, draw: SamplingParams, kept: KnownPixels | None, progress: Progress | None
) -> Tensor:
    """``draw.n`` results for planes of colour, (C, H, W): (n, C, H * scale, W * scale) float32 in [0, 1]."""
    low = _as_network_takes(stage, as_floats(planes))
    options: dict[str, Any] = {"seed": draw.seed, "temperature": draw.temperature, "progress": progress}
    if kept:
        options |= {"known": _as_network_takes(stage, kept.levels), "mask": kept.mask[None]}
    try:
        output = stage.runner.sample(low, draw.n, **options)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(f"{draw.n} samples of this size do not fit into memory; draw fewer at a time") from error
    wanted = (1, draw.n, low.shape[1], planes.shape[1] * stage.scale, planes.shape[2] * stage.scale)
    if output.shape != wanted:
        raise PluginError(f"sample of the model {stage.model.name!r} gave {tuple(output.shape)}, not {wanted}")
    return _as_image_has(len(planes), output[0])


def bits_per_dim(stage: Stage, low: Array, high: Array) -> float:
    """Of high-resolution planes (C, H * scale, W * scale), given the low ones: per sub-pixel that the network draws."""
    small, large = (_as_network_takes(stage, as_floats(planes)) for planes in (low, high))
    return -float(stage.runner.log_likelihood(small, large)) / math.log(2) / large.numel()


def _as_network_takes(stage: Stage, planes: Tensor) -> Tensor:
    """(C, H, W), floats or levels, as a batch of one with as many planes as the network has: replicated, or luma."""
    wanted = stage.model.channels
    if len(planes) == wanted:
        return planes[None]
    if wanted == 3:
        return planes.expand(3, -1, -1)[None]
    luma = _luma(planes.float())
    return (luma if planes.is_floating_point() else luma.round().byte())[None]


def _as_image_has(channels: int, output: Tensor) -> Tensor:
    """(n, C, H, W) with as many planes as the image has."""
    if channels == output.shape[1]:
        return output
    return output.expand(-1, 3, -1, -1) if channels == 3 else torch.stack([_luma(planes) for planes in output])


def _luma(planes: Tensor) -> Tensor:
    """(3, H, W) to (1, H, W)."""
    return (planes * planes.new_tensor(GRAY).view(3, 1, 1)).sum(0, keepdim=True)


def write(planes: Tensor, out: Array) -> None:
    """Planes (C, H, W) float32 in [0, 1] into ones of any supported dtype, integers rounded half to even."""
    _, height, width = planes.shape
    if isinstance(out, Tensor):
        planes = planes.to(out.device)
    rows, columns = torch.ones(1, height), torch.ones(1, width)
    blend_patches([planes[None]], [0], rows, [0], columns, rows=(0, height), out=out, clip=True)


def sample_std(drawn: Tensor) -> Tensor:
    """Of samples (n, C, H, W): the standard deviation of a pixel over the samples, (H, W), in units of white.

    The root of the mean over the planes of their variances.
    """
    return drawn.double().var(0, correction=0).mean(0).sqrt().float()
