"""A `Raster` as planes for the upscaler, and planes back to a `Raster`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..imaging.image import open_pixels, split_array, split_cmyk
from ..imaging.palette import colours_of, nearest_entries
from ..imaging.planes import OpenedImage, Split
from .raster import Pixels, Raster
from .raster_rows import AnyRaster


def open_raster(raster: Raster, convert: Callable[[Raster], Any] = lambda result: result) -> OpenedImage:
    """Open a raster as planes, as `pysr.imaging.image.open_image` does other images.

    Args:
        raster: The image.
        convert: Makes another type of image from the result, which has the kind, the depth and the palette of
            ``raster``, and a copy of its metadata.

    Raises:
        InputError: It is empty, or floats are not in [0, 1].
    """
    known = representation(raster)
    return open_pixels(
        known.before(raster.pixels), known.split, lambda result: convert(raster.with_pixels(known.after(result)))
    )


@dataclass(frozen=True)
class Representation:
    """How the pixels of a raster become planes, row by row.

    Attributes:
        before: Makes (H, W) or (H, W, C) whose channels are levels, of `Raster.pixels`.
        split: Returns their planes as views.
        after: Makes `Raster.pixels` of the same kind of such levels.
    """

    before: Callable[[Pixels], Pixels]
    split: Split
    after: Callable[[Pixels], Pixels]


def representation(raster: AnyRaster) -> Representation:
    """Return how the pixels of a raster become planes."""
    if raster.palette is not None:
        entries = raster.palette
        return Representation(
            partial(colours_of, entries=entries), split_array, partial(nearest_entries, entries=entries)
        )
    if raster.kind == "cmyk":
        return Representation(_inverted, split_cmyk, _inverted)
    return Representation(_unchanged, split_array, _black_and_white if raster.kind == "bilevel" else _unchanged)


def _unchanged(pixels: Pixels) -> Pixels:
    return pixels


def _inverted(pixels: Pixels) -> Pixels:
    inverted: Pixels = 1 - pixels if pixels.dtype.kind == "f" else np.invert(pixels)
    return inverted


def _black_and_white(gray: Pixels) -> Pixels:
    return np.where(gray >= 128, np.uint8(255), np.uint8(0))
