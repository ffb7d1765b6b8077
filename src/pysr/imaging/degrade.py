"""Degradation: how low-resolution inputs are made from ground-truth images."""

from fractions import Fraction

from torch import Tensor

from ..errors import InputError
from .resize import resize


def crop_to_multiple(planes: Tensor, multiple: int) -> Tensor:
    """Crop an image so that ``multiple`` divides its sides.

    Args:
        planes: (..., H, W) of any dtype.
        multiple: A positive number of pixels.

    Returns:
        A view without the excess rows at the bottom and columns on the right.

    Raises:
        InputError: A side is shorter than ``multiple``.
    """
    height, width = (side - side % multiple for side in planes.shape[-2:])
    if not height or not width:
        raise InputError(
            f"an image of {planes.shape[-1]} x {planes.shape[-2]} pixels is too small for x{multiple}; leave it out"
        )
    return planes[..., :height, :width]


def bicubic(planes: Tensor, scale: int) -> Tensor:
    """Reduce an image by MATLAB's antialiased bicubic, the degradation of the literature.

    Args:
        planes: (..., H, W) float32 or float64 of any range.
        scale: Reduction per side.

    Returns:
        (..., ceil(H / scale), ceil(W / scale)) of the same dtype and device, neither rounded nor clipped.
    """
    return resize(planes, Fraction(1, scale))
