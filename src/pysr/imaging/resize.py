"""Resizing exactly as MATLAB's ``imresize`` does it: the resizer behind every published super-resolution table.

Filter support grows with the reduction (antialiasing), weights are renormalised per output pixel, borders are
mirrored including the edge pixel. torch's and Pillow's own bicubic differ (a = -0.75; 8-bit rounding): neither
reproduces the literature.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import ceil

import torch
from torch import Tensor

from .mirror import mirrored_index


def _nearest(x: Tensor) -> Tensor:
    return ((x >= -0.5) & (x < 0.5)).to(x.dtype)


def _bicubic(x: Tensor) -> Tensor:
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), torch.zeros_like(x))


_KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {  # name: (function, half width)
    "nearest": (_nearest, 1),
    "bicubic": (_bicubic, 2),
    "lanczos": (_lanczos, 3),
}


def _weights(centre: Tensor, scale: Fraction, kernel: str) -> tuple[Tensor, Tensor, Tensor]:
    """Taps around centres that are given in units of 1 / (2 * scale.numerator) input pixels.

    Returns their first pixels (n), the taps' offsets from there (taps), and the weights (taps, n) in float64. They are
    computed from integers, so that the same pixel gets the same weights in every window that it is computed from.
    """
    function, half_width = _KERNELS[kernel]
    shrink = min(float(scale), 1.0) if kernel != "nearest" else 1.0
    reach = ceil(half_width / shrink)
    left = torch.div(centre, 2 * scale.numerator, rounding_mode="floor")
    fraction = (centre - left * 2 * scale.numerator).double() / (2 * scale.numerator)
    offset = torch.arange(-reach, reach + 1)
    weight = function((fraction - offset[:, None]) * shrink)
    return left, offset, weight / weight.sum(0, keepdim=True)


@lru_cache(maxsize=256)
def _taps(n_in: int, n_out: int, scale: Fraction, kernel: str) -> tuple[Tensor, Tensor]:
    """Source index and weight of every tap: two tensors of shape (taps, n_out), int64 and float64."""
    centre = (2 * torch.arange(n_out) + 1) * scale.denominator - scale.numerator
    left, offset, weight = _weights(centre, scale, kernel)
    used = (weight != 0).any(1)
    return mirrored_index(left + offset[used, None], n_in), weight[used]


def _along(planes: Tensor, dim: int, n_out: int, scale: Fraction, kernel: str) -> Tensor:
    """One axis, by any scale: a gather for each tap."""
    shape = [1] * planes.ndim
    shape[dim] = -1
    index, weight = (taps.to(planes.device) for taps in _taps(planes.shape[dim], n_out, scale, kernel))
    weight = weight.to(planes.dtype)
    total = planes.index_select(dim, index[0]) * weight[0].view(shape)
    for i, w in zip(index[1:], weight[1:], strict=True):
        total.addcmul_(planes.index_select(dim, i), w.view(shape))
    return total


def _enlarged(planes: Tensor, dim: int, scale: int, kernel: str) -> Tensor:
    """One axis, by a whole number: every phase of the output is a sum of shifted views, several times as fast."""
    left, offset, weight = _weights(2 * torch.arange(scale) + 1 - scale, Fraction(scale), kernel)
    length, margin = planes.shape[dim], int(offset[-1]) + 1
    padded = planes.index_select(dim, mirrored_index(torch.arange(-margin, length + margin), length).to(planes.device))
    phases = planes.new_empty(*planes.shape[: dim + 1], scale, *planes.shape[dim + 1 :])
    for phase in range(scale):
        taps = [(margin + int(left[phase] + o), float(w)) for o, w in zip(offset, weight[:, phase], strict=True) if w]
        total = padded.narrow(dim, taps[0][0], length) * taps[0][1]
        for start, w in taps[1:]:
            total.add_(padded.narrow(dim, start, length), alpha=w)
        phases.select(dim + 1, phase).copy_(total)
    return phases.flatten(dim, dim + 1)


def resize(
    planes: Tensor,
    scale: int | Fraction | None = None,
    *,
    size: tuple[int, int] | None = None,
    kernel: str = "bicubic",
) -> Tensor:
    """Resize the last two axes like MATLAB's ``imresize``.

    planes: (..., H, W), float32 or float64, any range; the result has the same dtype and device and is not clipped.
    scale: enlargement per side; the result is (..., ceil(H * scale), ceil(W * scale)). Fractions shrink
        (``Fraction(1, 3)``). Exactly one of ``scale`` and ``size`` (height, width) is given.
    kernel: "nearest", "bicubic" (a = -0.5) or "lanczos" (three lobes).
    Raises ValueError for an unknown kernel, an empty image or result, or both or neither of scale and size.
    """
    if kernel not in _KERNELS:
        raise ValueError(f"unknown resize kernel {kernel!r}; use one of {', '.join(_KERNELS)}")
    if (scale is None) == (size is None):
        raise ValueError("resize takes either scale= or size=, not both and not neither")
    height, width = planes.shape[-2:]
    if not height or not width:
        raise ValueError(f"cannot resize an empty image of shape {tuple(planes.shape)}")
    if size is not None:
        factors = Fraction(size[0], height), Fraction(size[1], width)
    else:
        factors = Fraction(scale or 0), Fraction(scale or 0)
        size = ceil(height * factors[0]), ceil(width * factors[1])
    if min(size) < 1:
        raise ValueError(f"cannot resize to {size[0]} x {size[1]} pixels; give a positive scale or size")
    for dim, side, factor in zip((planes.ndim - 2, planes.ndim - 1), size, factors, strict=True):
        if factor.denominator == 1:
            planes = _enlarged(planes, dim, int(factor), kernel)
        else:
            planes = _along(planes, dim, side, factor, kernel)
    return planes
