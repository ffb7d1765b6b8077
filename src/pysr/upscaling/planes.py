"""An opened image upscaled as a whole: its colours by every stage in turn, its alpha by bicubic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import torch

from ..imaging.colour import white_of
from ..imaging.histogram import match_histogram
from ..imaging.planes import Array, OpenedImage
from ..ops.hardware import device_of
from ..plugin import Progress
from .memory import empty_image
from .progress import progress_shares
from .tiling import TiledStage

Stages = Sequence[TiledStage]


def upscale_planes(
    opened: OpenedImage, stages: Stages, alpha: TiledStage, matches_histogram: bool, progress: Progress | None
) -> Any:
    """Upscale an image.

    Args:
        opened: The image. If it is neutral, and stays so, it is enlarged as gray.
        stages: What enlarges colours, one after the other.
        alpha: What enlarges alpha.
        matches_histogram: Whether the result's histogram is matched to the image's.
        progress: As in `Upscaler.upscale`.

    Returns:
        The result, of the image's type.
    """
    scale = prod(tiled.stage.scale for tiled in stages)
    opened = opened.gray_if_neutral() if keeps_neutral(stages) else opened
    parts = opened.parts(scale)
    reports = progress_shares(progress, (n for low, _ in parts for n in shares(stages, low.shape, device_of(low))))
    for low, high in parts:
        _upscale_colours(stages, low, high, reports)
        if matches_histogram:
            match_histogram(high, low)
    return finished(opened, scale, alpha)


def keeps_neutral(stages: Stages) -> bool:
    """Whether images without colour stay so: not where one of the models redraws them in colours of its own."""
    return all(tiled.stage.model.domain != "style" for tiled in stages)


def shares(stages: Stages, shape: Sequence[int], device: torch.device) -> Iterator[int]:
    """Yield each stage's share of the work on an image of shape (C, H, W): of the only one, its reports of progress."""
    for tiled in stages:
        steps = tiled.steps(shape, device)  # of every stage: one that cannot be planned is told before any work
        yield steps if len(stages) == 1 else tiled.stage.work(shape)
        shape = (shape[0], *(side * tiled.stage.scale for side in shape[1:]))


def _upscale_colours(stages: Stages, low: Array, high: Array, reports: Iterator[Progress | None]) -> None:
    """Fill ``high`` (C, H * scale, W * scale) from ``low`` (C, H, W), one stage after the other."""
    *earlier, last = stages
    for tiled in earlier:
        shape = low.shape[1] * tiled.stage.scale, low.shape[2] * tiled.stage.scale
        result = empty_image(len(low), shape, device_of(low))
        tiled.upscale(low, result, progress=next(reports), clip=False)
        low = result
    last.upscale(low, high, progress=next(reports))


def finished(opened: OpenedImage, scale: int, alpha: TiledStage) -> Any:
    """Enlarge alpha and return the result, whose colours are already filled."""
    for low, high in opened.alphas(scale):
        white = white_of(low.dtype)
        if (low == white).all():  # opaque, as most are
            high[:] = white
        else:
            alpha.upscale(low, high)
    return opened.result()
