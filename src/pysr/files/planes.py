"""A `Raster` as planes for the upscaler, and planes back to a `Raster`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..imaging.image import open_pixels, split_array, split_cmyk
from ..imaging.palette import colours_of, nearest_entries
from ..imaging.planes import OpenedImage, Split
from .raster import Pixels, Raster


def open_raster(raster: Raster, convert: Callable[[Raster], Any] = lambda result: result) -> OpenedImage:
    """Open a raster as planes, as `pysr.imaging.image.open_image` does other images.

    Args:
        raster: The image.
        convert: Makes another type of image from the result, which has the kind, the depth and the palette of
            ``raster``, and a copy of its metadata.

    Raises:
        InputError: It is empty, or floats are not in [0, 1].
    """
    pixels = raster.pixels
    split: Split = split_array
    back: Callable[[Pixels], Pixels] = _unchanged
    if raster.palette is not None:
        pixels = colours_of(pixels, raster.palette)
        back = partial(nearest_entries, entries=raster.palette)
    elif raster.kind == "cmyk":
        pixels, split, back = _inverted(pixels), split_cmyk, _inverted
    elif raster.kind == "bilevel":
        back = _black_and_white
    return open_pixels(pixels, split, lambda result: convert(raster.with_pixels(back(result))))


def _unchanged(pixels: Pixels) -> Pixels:
    return pixels


def _inverted(pixels: Pixels) -> Pixels:
    inverted: Pixels = 1 - pixels if pixels.dtype.kind == "f" else np.invert(pixels)
    return inverted


def _black_and_white(gray: Pixels) -> Pixels:
    return np.where(gray >= 128, np.uint8(255), np.uint8(0))
