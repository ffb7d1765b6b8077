"""Bring samples of any depth to the depths that pysr computes in: 8 or 16 bits, full range, or float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from .raster import Pixels


def full_range(values: Pixels, white: int) -> Pixels:
    """Scale integers so that white is the largest number of their new type.

    Args:
        values: Unsigned integers from 0 (black) to ``white``.
        white: At least 1.

    Returns:
        uint8 if white is at most 255, else uint16; rounded to the nearest.
    """
    dtype = np.uint8 if white <= 255 else np.uint16
    largest = int(np.iinfo(dtype).max)
    if white == largest:
        return values.astype(dtype, copy=False)
    if white > 65535:  # by strips, as float64 takes eight bytes per sample
        wide: Pixels = np.empty(values.shape, dtype)
        for top in range(0, len(values), 64):
            wide[top : top + 64] = np.rint(values[top : top + 64] * (largest / white))
        return wide
    table = np.rint(np.arange(white + 1) * (largest / white)).astype(dtype)
    scaled: Pixels = table[np.minimum(values, white)]
    return scaled


def from_signed(values: Pixels) -> Pixels:
    """Convert signed integers to unsigned ones of the same width, the lowest becoming 0."""
    unsigned = values.astype(values.dtype.newbyteorder("=")).view(f"u{values.dtype.itemsize}")
    lowest = unsigned.dtype.type(1 << (8 * values.dtype.itemsize - 1))
    shifted: Pixels = unsigned ^ lowest
    return shifted


def white_of_dtype(dtype: np.dtype[Any]) -> int:
    """Return the value of white of pixels: 1 for floats."""
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 1


def divided_by_alpha(pixels: Pixels) -> Pixels:
    """Undo the multiplication of colours by alpha ("associated" or "premultiplied" alpha).

    Args:
        pixels: (H, W, C), the last channel being alpha.

    Returns:
        The same type; integers are rounded. Where alpha is 0, the colours are 0.
    """
    result = pixels.copy()
    white = white_of_dtype(pixels.dtype)
    for top in range(0, len(pixels), 64):
        rows = pixels[top : top + 64]
        alpha = rows[..., -1:].astype(np.float64)
        colours = np.divide(rows[..., :-1] * float(white), alpha, out=np.zeros(rows[..., :-1].shape), where=alpha > 0)
        result[top : top + 64, ..., :-1] = colours if white == 1 else np.minimum(np.rint(colours), white)
    return result
