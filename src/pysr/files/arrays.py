"""Which arrays are images: shapes and types that files of arrays, NPY and Zarr, may have."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from .interface import Header
from .raster import Kind, Pixels

_DTYPES = {
    "u1": ("uint8", 8),
    "u2": ("uint16", 16),
    "f2": ("float32", 16),
    "f4": ("float32", 32),
    "f8": ("float32", 64),
}
_MOST_CHANNELS = 4


def is_image(shape: tuple[int, ...], stored: np.dtype[Any]) -> bool:
    """Tell whether an array is an image: (H, W) or (H, W, C), with C as in `Raster.pixels`."""
    channels = shape[2] if len(shape) == 3 else 1
    return stored.str[1:] in _DTYPES and len(shape) in (2, 3) and 1 <= channels <= _MOST_CHANNELS


def array_header(format: str, shape: tuple[int, ...], stored: np.dtype[Any], name: str, order: str = "C") -> Header:
    """Describe the image that an array is.

    Args:
        format: Of the file.
        shape: Of the array.
        stored: The type of its numbers in the file.
        name: Of the file, for the message.
        order: "F" if columns come first; such arrays are refused.

    Raises:
        InputError: The array is no image.
    """
    if not is_image(shape, stored) or order == "F":
        fortran = " in Fortran's order" if order == "F" else ""
        raise InputError(
            f"{name!r} is an array of shape {shape} and type {stored}{fortran}, which is no image; save one of"
            " shape (H, W) or (H, W, C), C from 1 to 4, of uint8, uint16 or floats from 0 to 1, in C's order"
        )
    channels = shape[2] if len(shape) == 3 else 1
    kind: Kind = "gray" if channels < 3 else "rgb"
    return Header(format, (shape[1], shape[0]), kind, channels, *_DTYPES[stored.str[1:]])


def native(pixels: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Return pixels in this computer's byte order, as native code takes them.

    Args:
        pixels: Of any byte order. An equal one may be named in the type, as by Zarr, which buffers pass on as foreign.
        dtype: To return.
    """
    return pixels.astype(dtype, copy=False).view(dtype)
