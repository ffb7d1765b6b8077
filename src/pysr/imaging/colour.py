"""ITU-R BT.601 luma and chroma in the studio range, as MATLAB's ``rgb2ycbcr`` and the super-resolution literature.

All values are in units where 1.0 is 8-bit 255: luma lies in [16, 235] / 255, chroma in [16, 240] / 255.
"""

import torch
from torch import Tensor

_FORWARD = torch.tensor(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], dtype=torch.float64
)
_OFFSET = torch.tensor([16.0, 128.0, 128.0], dtype=torch.float64) / 255
_INVERSE = torch.linalg.inv(_FORWARD / 255)


def _mix(planes: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("oc,...chw->...ohw", matrix.to(planes), planes)


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """(..., 3, H, W) RGB in [0, 1] to (..., 3, H, W) Y, Cb, Cr; float32 or float64, same device."""
    return _mix(rgb, _FORWARD / 255) + _OFFSET.to(rgb).view(3, 1, 1)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """The exact inverse of `rgb_to_ycbcr`; the result is not clipped."""
    return _mix(ycbcr - _OFFSET.to(ycbcr).view(3, 1, 1), _INVERSE)


def luma(rgb: Tensor) -> Tensor:
    """(..., 3, H, W) RGB in [0, 1] to its (..., 1, H, W) luma in [16, 235] / 255."""
    return _mix(rgb, _FORWARD[:1] / 255) + _OFFSET[0].to(rgb)
