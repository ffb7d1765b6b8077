"""How low-resolution inputs are made from pictures that serve as the truth."""

from fractions import Fraction

from torch import Tensor

from ..errors import InputError
from .resize import resize


def crop_to_multiple(planes: Tensor, multiple: int) -> Tensor:
    """(..., H, W) without the bottom rows and right columns beyond a multiple of ``multiple``."""
    height, width = (side - side % multiple for side in planes.shape[-2:])
    if not height or not width:
        raise InputError(f"an image of {planes.shape[-1]} x {planes.shape[-2]} pixels is too small for x{multiple}")
    return planes[..., :height, :width]


def bicubic(planes: Tensor, scale: int) -> Tensor:
    """(..., H, W) float -> (..., H / scale, W / scale): MATLAB's antialiased bicubic, neither rounded nor clipped."""
    return resize(planes, Fraction(1, scale))
