"""CIE L*a*b* (D50) to sRGB, for TIFF files that hold it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .raster import Pixels

_D50 = np.array([0.96422, 1.0, 0.82521])  # the white point of ICC profiles
_XYZ_TO_LINEAR = np.array(  # XYZ of D50 to linear sRGB, adapted by Bradford's method (ICC sRGB v4)
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
_EPSILON = 6 / 29


def lab_to_srgb(lab: NDArray[np.float64], dtype: np.dtype[np.unsignedinteger]) -> Pixels:
    """Convert (H, W, 3) L* in 0 to 100, a* and b* to (H, W, 3) sRGB of an integer type; what is beyond is clipped."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = _D50 * np.where(f > _EPSILON, f**3, 3 * _EPSILON**2 * (f - 4 / 29))
    linear = (xyz @ _XYZ_TO_LINEAR.T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    pixels: Pixels = np.rint(srgb * np.iinfo(dtype).max).astype(dtype)
    return pixels
