"""Pixels turned as EXIF's orientation says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TRANSPOSED = (5, 6, 7, 8)  # of EXIF's orientations, those in which rows and columns are exchanged


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn pixels as EXIF's orientation says, so that they are upright.

    Args:
        pixels: (H, W) or (H, W, C).
        orientation: 1 to 8 (EXIF 2.32, section 4.6.4 A); at 1 nothing is turned.

    Returns:
        A contiguous array, (W, H) or (W, H, C) for orientations from 5 on.
    """
    if orientation in TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
