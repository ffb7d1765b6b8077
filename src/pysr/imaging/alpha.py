"""Alpha bleeding: colours hidden under transparent pixels must not shine through after enlarging."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

STRIP = 2**20  # pixels converted to float32 at a time: 16 MiB of RGBA
_LEAST_WEIGHT = 1e-6  # of a visible pixel; products with the smallest float32 numbers would lose its colour


def bleed(colour: np.ndarray[Any, Any] | Tensor, alpha: np.ndarray[Any, Any] | Tensor) -> Any:
    """Give fully transparent pixels the colours around them: pull-push (Gortler et al., The Lumigraph, 1996).

    Averages weighted by alpha are halved until every pixel has a colour, and fill the gaps on the way back.

    Args:
        colour: (C, H, W), a NumPy array or tensor of uint8, uint16, float16, bfloat16 or float32, with any strides.
        alpha: (1, H, W) of the same kind.

    Returns:
        A new array or tensor of the same shape, dtype and device: pixels with alpha above 0 are unchanged, the others
        get an average of the nearest of them. ``colour`` itself if no pixel is transparent, or all are.
    """
    strips = list(_strips(*colour.shape[1:]))
    if not any(bool((_float(alpha[:, rows]) <= 0).any()) for rows in strips):
        return colour
    halves = [_halve(*_weighted(colour[:, rows], alpha[:, rows])) for rows in strips]
    sums, weight = (torch.cat(strip, dim=1) for strip in zip(*halves, strict=True))
    if not bool((weight > 0).any()):
        return colour
    filled = _fill(sums, weight)
    if isinstance(colour, Tensor):
        out = torch.empty(colour.shape, dtype=colour.dtype, device=colour.device)
    else:
        out = torch.from_numpy(np.empty(colour.shape, colour.dtype))
    for rows in strips:
        behind = _double(filled[:, rows.start // 2 : (rows.stop + 1) // 2], "nearest", out[:, rows].shape)
        mixed = torch.where(_float(alpha[:, rows]) > 0, _float(colour[:, rows]), behind)
        out[:, rows] = (mixed if out.is_floating_point() else mixed.round()).to(out.dtype)
    return out if isinstance(colour, Tensor) else out.numpy()


def _strips(height: int, width: int) -> Iterator[slice]:
    rows = max(1, STRIP // (2 * width)) * 2
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _float(values: np.ndarray[Any, Any] | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.float()
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def _weighted(colour: np.ndarray[Any, Any] | Tensor, alpha: np.ndarray[Any, Any] | Tensor) -> tuple[Tensor, Tensor]:
    weight = _float(alpha)
    weight = torch.where(weight > 0, weight.clamp(min=_LEAST_WEIGHT), 0)
    return _float(colour) * weight, weight


def _halve(sums: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return avg_pool2d(sums, 2, ceil_mode=True), avg_pool2d(weight, 2, ceil_mode=True)


def _double(planes: Tensor, mode: str, shape: torch.Size) -> Tensor:
    return interpolate(planes[None], scale_factor=2, mode=mode)[0, :, : shape[1], : shape[2]]


def _fill(sums: Tensor, weight: Tensor) -> Tensor:
    """Compute the colour of every pixel, (C, h, w): its own where it has weight, else that of the half-size image."""
    known = weight > 0
    colour = sums / torch.where(known, weight, 1)
    if bool(known.all()):
        return colour
    return torch.where(known, colour, _double(_fill(*_halve(sums, weight)), "bilinear", colour.shape))
