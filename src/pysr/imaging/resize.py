"""Resizing exactly as MATLAB's ``imresize`` does it: the resizer behind every published super-resolution table.

The filter's support grows with the reduction (antialiasing), weights are renormalised for each output pixel, and
borders are mirrored, including the edge pixel. The bicubic of torch (a = -0.75) and of Pillow (rounding to 8 bits)
reproduce no published figure.
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
    """The cubic convolution kernel with a = -0.5 (Keys 1981, equation 15)."""
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
    """Compute the taps around centres given in units of 1 / (2 * scale.numerator) input pixels.

    Integers give an output pixel the same weights in every window that it is computed from.

    Returns:
        The input pixel left of each centre, (n,); the offsets of the taps from it, (taps,); and the weights,
        (taps, n) float64.
    """
    function, half_width = _KERNELS[kernel]
    shrink = min(float(scale), 1.0) if kernel != "nearest" else 1.0
    reach = ceil(half_width / shrink)
    left = torch.div(centre, 2 * scale.numerator, rounding_mode="floor")
    fraction = (centre - left * 2 * scale.numerator).double() / (2 * scale.numerator)
    offset = torch.arange(-reach, reach + 1, device="cpu")
    weight = function((fraction - offset[:, None]) * shrink)
    return left, offset, weight / weight.sum(0, keepdim=True)


@torch.inference_mode(False)  # what is kept must serve callers of every kind
@lru_cache(maxsize=256)  # both axes of the few shapes that a training or a test set has
def _taps(n_in: int, n_out: int, scale: Fraction, kernel: str) -> tuple[Tensor, Tensor]:
    """Compute the source index and weight of every tap: (taps, n_out) int64 and float64."""
    centre = (2 * torch.arange(n_out, device="cpu") + 1) * scale.denominator - scale.numerator
    left, offset, weight = _weights(centre, scale, kernel)
    used = (weight != 0).any(1)
    return mirrored_index(left + offset[used, None], n_in), weight[used]


def _along(planes: Tensor, dim: int, n_out: int, scale: Fraction, kernel: str) -> Tensor:
    """Resize one axis by any scale."""
    return _combined(planes, dim, *_taps(planes.shape[dim], n_out, scale, kernel))


def _combined(planes: Tensor, dim: int, index: Tensor, weight: Tensor) -> Tensor:
    """Add up what each tap sees along one axis: one gather per tap."""
    shape = [1] * planes.ndim
    shape[dim] = -1
    index, weight = index.to(planes.device), weight.to(planes.device, planes.dtype)
    total = planes.index_select(dim, index[0]) * weight[0].view(shape)
    for i, w in zip(index[1:], weight[1:], strict=True):
        total.addcmul_(planes.index_select(dim, i), w.view(shape))
    return total


@lru_cache(maxsize=64)
def enlarging_taps(scale: int, kernel: str) -> tuple[tuple[tuple[int, float], ...], ...]:
    """Compute how an axis is enlarged by a whole number.

    Args:
        scale: Output pixels per input pixel.
        kernel: "nearest", "bicubic" or "lanczos".

    Returns:
        For each phase its taps, (offset, weight): output pixel ``i * scale + phase`` is the sum of input pixels
        ``i + offset``, each times its weight.
    """
    left, offset, weight = _weights(2 * torch.arange(scale, device="cpu") + 1 - scale, Fraction(scale), kernel)
    return tuple(
        tuple((int(left[phase] + o), float(w)) for o, w in zip(offset, weight[:, phase], strict=True) if w)
        for phase in range(scale)
    )


def _enlarged(planes: Tensor, dim: int, scale: int, kernel: str) -> Tensor:
    """Enlarge one axis by a whole number: each phase of the output is a sum of shifted views, several times as fast."""
    taps = enlarging_taps(scale, kernel)
    length, margin = planes.shape[dim], max(abs(offset) for phase in taps for offset, _ in phase)
    seen = mirrored_index(torch.arange(-margin, length + margin, device="cpu"), length)
    padded = planes.index_select(dim, seen.to(planes.device))
    phases = planes.new_empty(*planes.shape[: dim + 1], scale, *planes.shape[dim + 1 :])
    for phase, ((first, first_weight), *others) in enumerate(taps):
        total = padded.narrow(dim, margin + first, length) * first_weight
        for offset, weight in others:
            total.add_(padded.narrow(dim, margin + offset, length), alpha=weight)
        phases.select(dim + 1, phase).copy_(total)
    return phases.flatten(dim, dim + 1)


def resize(
    planes: Tensor,
    scale: int | Fraction | None = None,
    *,
    shape: tuple[int, int] | None = None,
    kernel: str = "bicubic",
) -> Tensor:
    """Resize the last two axes as MATLAB's ``imresize`` does.

    Args:
        planes: (..., H, W) float32 or float64 of any range.
        scale: Enlargement per side; a fraction, such as ``Fraction(1, 3)``, reduces. The result has the shape
            (..., ceil(H * scale), ceil(W * scale)).
        shape: (height, width) of the result, in place of ``scale``.
        kernel: "nearest", "bicubic" (a = -0.5) or "lanczos" (three lobes).

    Returns:
        A tensor of the same dtype and device; it is not clipped.

    Raises:
        ValueError: An unknown kernel, an empty image or result, or both or neither of ``scale`` and ``shape``.
    """
    if kernel not in _KERNELS:
        raise ValueError(f"unknown resize kernel {kernel!r}; use one of {', '.join(_KERNELS)}")
    if (scale is None) == (shape is None):
        raise ValueError("resize takes either scale= or shape=; give one of the two")
    height, width = planes.shape[-2:]
    if not height or not width:
        raise ValueError(f"cannot resize an empty image of shape {tuple(planes.shape)}; every side needs a pixel")
    if shape is not None:
        factors = Fraction(shape[0], height), Fraction(shape[1], width)
    else:
        factor = Fraction(scale or 0)
        factors = factor, factor
        above, below = factor.numerator, factor.denominator
        shape = -(-height * above // below), -(-width * above // below)  # rounded up; sides may be symbols of a trace
    if min(shape) < 1:
        raise ValueError(f"cannot resize to {shape[1]} x {shape[0]} pixels; give a positive scale or shape")
    for dim, side, factor in zip((planes.ndim - 2, planes.ndim - 1), shape, factors, strict=True):
        if factor.denominator == 1:
            planes = _enlarged(planes, dim, int(factor), kernel)
        else:
            planes = _along(planes, dim, side, factor, kernel)
    return planes


def resized_rows(
    rows: Callable[[int, int], Tensor], before: tuple[int, int], after: tuple[int, int], first: int, last: int
) -> Tensor:
    """Compute some rows of what `resize` makes of an image by bicubic.

    Args:
        rows: Returns the rows [first, last) of the image, (..., last - first, W) float32 or float64.
        before: (height, width) of the image.
        after: (height, width) of the result; no side is larger than before.
        first: Of the rows of the result.
        last: One behind the last of them.

    Returns:
        (..., last - first, width): the same values as in the whole result.
    """
    index, weight = _taps(before[0], after[0], Fraction(after[0], before[0]), "bicubic")
    index, weight = index[:, first:last], weight[:, first:last]
    lowest, highest = int(index.min()), int(index.max())
    planes = _combined(seen := rows(lowest, highest + 1), seen.ndim - 2, index - lowest, weight)
    return resize(planes, shape=(last - first, after[1]))
