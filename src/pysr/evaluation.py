"""Models against test sets, by named protocols that reproduce published tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import degrade
from .colour import luma
from .errors import InputError
from .files import image_files, read_image
from .metrics import psnr, ssim
from .upscaler import Upscaler, load

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
        """Plain lists and dicts, for JSON."""
        return asdict(self)


def evaluate(
    names: Sequence[str],
    data: str | Path,
    scales: Sequence[int],
    *,
    protocol: str = "y-shave",
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[Evaluation]:
    """Measure models on a folder of pictures.

    names: models. data: folder of images, the truth. scales: enlargements; each model must offer them all.
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
    upscalers = [[load(name, scale, device=device, precision=precision) for scale in scales] for name in names]
    pictures = [(path.stem, _rgb(path)) for path in paths]
    total, done = len(names) * len(scales) * len(pictures), count(1)

    def measured(upscaler: Upscaler, name: str, rgb: Tensor) -> ImageResult:
        result = _measure(upscaler, name, rgb)
        if progress:
            progress(next(done), total)
        return result

    return [
        Evaluation(
            name,
            protocol,
            tuple(_summarise(up.scale, [measured(up, *picture) for picture in pictures]) for up in row),
        )
        for name, row in zip(names, upscalers, strict=True)
    ]


def _rgb(path: Path) -> Tensor:
    """(C, H, W) float64 in [0, 1]; C is 1 for gray pictures, else 3."""
    image = read_image(path)
    array = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    planes = torch.from_numpy(array.copy()).double() / 255
    return planes[None] if planes.ndim == 2 else planes.permute(2, 0, 1)


def _measure(upscaler: Upscaler, name: str, rgb: Tensor) -> ImageResult:
    rgb = degrade.crop_to_multiple(rgb, upscaler.scale)
    truth = _round(rgb if len(rgb) == 1 else luma(rgb))
    if upscaler.model.colour == "rgb":
        low = (degrade.bicubic(rgb, upscaler.scale).clamp(0, 1) * 255).round().to(torch.uint8)
        output = upscaler.upscale(low).double() / 255
        output = output if len(output) == 1 else luma(output)
    else:
        output = _round(upscaler.upscale(degrade.bicubic(truth, upscaler.scale).float()).double())
    shave = upscaler.scale
    return ImageResult(name, psnr(output, truth, shave=shave), ssim(output, truth, shave=shave))


def _round(planes: Tensor) -> Tensor:
    return (planes.clamp(0, 1) * 255).round() / 255


def _summarise(scale: int, images: Iterable[ImageResult]) -> ScaleResult:
    images = tuple(images)
    return ScaleResult(scale, fmean(i.psnr for i in images), fmean(i.ssim for i in images), images)
