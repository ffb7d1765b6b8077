"""An image resized from top to bottom, few rows of it being in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..files.planes import representation
from ..files.raster import Pixels
from ..files.raster_rows import RasterRows
from ..imaging.colour import white_of
from ..imaging.resize import resized_rows
from .rows import SlidingRows

VALUES = 2**20  # of the result that are computed at a time, in float64


def resize_rows(raster: RasterRows, size: tuple[int, int]) -> RasterRows:
    """Make an image smaller by MATLAB's antialiased bicubic, to the same pixels as in memory.

    Args:
        raster: The image, without alpha.
        size: (width, height) of the result in pixels; no side is larger than that of the image.
    """
    sample = np.empty((0, size[0], *raster.sample.shape[2:]), raster.dtype)
    return replace(raster, bands=lambda: _bands(raster, size), height=size[1], sample=sample)


def _bands(raster: RasterRows, size: tuple[int, int]) -> Iterator[Pixels]:
    known, (width, height) = representation(raster), raster.size
    sample = known.before(np.zeros((1, *raster.sample.shape[1:]), raster.dtype))
    channels = sample.shape[2] if sample.ndim == 3 else 1
    planes = (known.before(band).reshape(len(band), width, channels).transpose(2, 0, 1) for band in raster.bands())
    held = SlidingRows(planes, (channels, height, width))

    def rows(first: int, last: int) -> Tensor:
        return torch.from_numpy(np.asarray(held.take(first, last), np.float64))

    count = max(1, VALUES // (max(size[0], width) * channels))
    for top in range(0, size[1], count):
        last = min(top + count, size[1])
        exact = resized_rows(rows, (height, width), (size[1], size[0]), top, last).clamp_(0, white_of(sample.dtype))
        levels = exact if sample.dtype.kind == "f" else exact.round_()
        shape = last - top, size[0], *sample.shape[2:]
        yield known.after(np.ascontiguousarray(levels.permute(1, 2, 0)).reshape(shape).astype(sample.dtype))
