"""Colour: ITU-R BT.601 luma and chroma, gray <-> RGB, and the value of white.

Two different lumas are in use. `luma` and `rgb_to_ycbcr` give BT.601 in the studio range, as MATLAB's ``rgb2ycbcr`` and
the super-resolution literature do: in units where 1.0 is 8-bit 255, luma lies in [16, 235] / 255 and chroma in
[16, 240] / 255. Luma models and metrics take it. `to_channels` gives full-range gray, as gray image files hold it.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_FORWARD = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
_OFFSET = np.array([16.0, 128.0, 128.0]) / 255
_INVERSE = torch.linalg.inv(torch.from_numpy(_FORWARD)).numpy()
GRAY = (0.299, 0.587, 0.114)  # BT.601 weights of full-range R, G and B in gray, as Pillow's convert("L")
_STRIP = 8  # rows that are looked at first for colour
_WHITE = {"uint8": 255, "uint16": 65535}


def white_of(dtype: torch.dtype | np.dtype[Any]) -> int:
    """Return the value that stands for white: 255 for uint8, 65535 for uint16, 1 for floats."""
    return _WHITE.get(str(dtype).removeprefix("torch."), 1)


def to_channels(image: Tensor, channels: int) -> Tensor:
    """Convert between gray and RGB: gray is repeated in R, G and B; RGB becomes full-range BT.601 gray.

    Used in both directions where a network's channels differ from the image's: for its input and for its output.

    Args:
        image: (..., C, H, W), C being 1 or 3; floats, or integer levels.
        channels: 1 or 3.

    Returns:
        (..., channels, H, W) of the same dtype, integers rounded half to even; the image itself or a view of it where
        no sums are needed.
    """
    if image.shape[-3] == channels:
        return image
    if channels == 3:
        return image.expand(*image.shape[:-3], 3, -1, -1)
    values = image if image.is_floating_point() else image.float()
    gray = (values * values.new_tensor(GRAY).view(3, 1, 1)).sum(-3, keepdim=True)
    return gray if image.is_floating_point() else gray.round().to(image.dtype)


def is_neutral(colour: NDArray[Any] | Tensor) -> bool:
    """Whether R, G and B are equal in every pixel.

    Rows are compared in strips that grow, so that a photograph in colour costs next to nothing.

    Args:
        colour: (3, H, W) of any dtype, with any strides; on any device.
    """
    first, rows, height = 0, _STRIP, colour.shape[1]
    while first < height:
        red, green, blue = colour[:, first : first + rows]
        if not (bool((red == green).all()) and bool((green == blue).all())):
            return False
        first, rows = first + rows, 2 * rows
    return True


def _mix(image: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    return torch.einsum("oc,...chw->...ohw", torch.from_numpy(matrix).to(image), image)


def _offset(image: Tensor) -> Tensor:
    return torch.from_numpy(_OFFSET).to(image).view(3, 1, 1)


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Convert (..., 3, H, W) RGB in [0, 1] to (..., 3, H, W) Y, Cb, Cr; float32 or float64, on the same device."""
    return _mix(rgb, _FORWARD) + _offset(rgb)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """Convert back: the exact inverse of `rgb_to_ycbcr`; the result is not clipped."""
    return _mix(ycbcr - _offset(ycbcr), _INVERSE)


def luma(image: Tensor) -> Tensor:
    """Return studio-range luma, (..., 1, H, W), of RGB in [0, 1], (..., 3, H, W); one channel is returned as it is."""
    if image.shape[-3] == 1:
        return image
    return _mix(image, _FORWARD[:1]) + float(_OFFSET[0])
