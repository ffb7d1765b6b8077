"""Models against test sets, by named protocols that reproduce published tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from . import degrade
from .colour import luma
from .data import read_planes
from .errors import InputError
from .files import image_files
from .loading import load
from .metrics import SSIM_WINDOW, psnr, ssim
from .upscaler import Upscaler

PROTOCOLS = ("y-shave",)


@dataclass(frozen=True)
class ImageResult:
    """PSNR in dB and SSIM of one image."""

    name: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class ScaleResult:
    """Means over the images of a set at one scale."""

    scale: int
    psnr: float
    ssim: float
    images: tuple[ImageResult, ...]


@dataclass(frozen=True)
class Evaluation:
    """One model on one set by one protocol."""

    model: str
    protocol: str
    results: tuple[ScaleResult, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, for JSON; the PSNR of an output without any error is None, as JSON has no infinity."""
        facts: dict[str, Any] = asdict(self, dict_factory=_finite)
        return facts


def _finite(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: None if value == math.inf else value for name, value in items}


def evaluate(
    names: Sequence[str],
    data: str | Path,
    scales: Sequence[int],
    *,
    initial: str | None = None,
    protocol: str = "y-shave",
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[Evaluation]:
    """Measure models on a folder of pictures.

    names: models; "a+b" for one after the other. data: folder of images, the truth. scales: enlargements; each model
        must offer them all. initial: a model that makes the first enlargement of each of them, as in `pysr.load`.
    protocol: "y-shave", the convention of SRCNN's and VDSR's tables: luma of BT.601 in the studio range, rounded to
        8 bits; cropped to a multiple of the scale; shrunk by MATLAB's bicubic and kept unrounded; the output rounded to
        8 bits; ``scale`` pixels shaved off every side; mean of per-image PSNR. Models that take RGB get the
        shrunk RGB rounded to 8 bits instead, and the luma of their rounded output is compared.
    progress: called as progress(done, total) after each image.
    Raises UnknownModel and InputError before anything is computed where that is possible.
    """
    if isinstance(names, str) or isinstance(scales, int):
        raise InputError("evaluate takes lists: evaluate(['vdsr'], 'Set5', [2, 3, 4])")
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}; use {', '.join(PROTOCOLS)}")
    if not scales:
        raise InputError("no scale given; use for example 2 3 4")
    paths = image_files(Path(data))
    options: dict[str, Any] = {"initial": initial, "device": device, "precision": precision}
    upscalers = [[load(name, scale, **options) for scale in scales] for name in names]
    for path in paths:
        _check_size(path, read_planes(path), max(scales))
    total, done = len(names) * len(scales) * len(paths), count(1)

    def measured(upscaler: Upscaler, path: Path) -> ImageResult:
        result = _measure(upscaler, path.stem, read_planes(path))
        if progress:
            progress(next(done), total)
        return result

    return [
        Evaluation(
            f"{name}, initial {initial}" if initial else name,
            protocol,
            tuple(_summarise(up.scale, [measured(up, path) for path in paths]) for up in row),
        )
        for name, row in zip(names, upscalers, strict=True)
    ]


def _check_size(path: Path, planes: Tensor, scale: int) -> None:
    smallest = min(side // scale * scale for side in planes.shape[-2:]) - 2 * scale
    if smallest < SSIM_WINDOW:
        raise InputError(
            f"{path} is too small to be measured at scale {scale}: SSIM needs {SSIM_WINDOW} pixels a side after"
            f" {scale} are shaved off every border; leave it out"
        )


def _measure(upscaler: Upscaler, name: str, picture: Tensor) -> ImageResult:
    scale = upscaler.scale
    picture = degrade.crop_to_multiple(picture, scale).double()
    truth = _round(picture if len(picture) == 1 else luma(picture))
    if upscaler.model.colour == "rgb":
        low = (degrade.bicubic(picture, scale).clamp(0, 1) * 255).round().to(torch.uint8)
        output = upscaler.upscale(low).double() / 255
        output = output if len(output) == 1 else luma(output)
    else:
        output = _round(upscaler.upscale(degrade.bicubic(truth, scale).float()).double())
    return ImageResult(name, psnr(output, truth, shave=scale), ssim(output, truth, shave=scale))


def _round(planes: Tensor) -> Tensor:
    return (planes.clamp(0, 1) * 255).round() / 255


def _summarise(scale: int, images: Iterable[ImageResult]) -> ScaleResult:
    images = tuple(images)
    return ScaleResult(scale, fmean(i.psnr for i in images), fmean(i.ssim for i in images), images)
