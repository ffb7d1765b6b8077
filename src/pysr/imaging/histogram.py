"""Histogram matching: the colours of one image for another."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .image import Array


def match_histogram(planes: Array, reference: Array) -> None:
    """Give each plane of an image the distribution of values that the same plane of another has, in place.

    planes: (C, H, W). reference: (C, h, w) of the same kind and dtype. Equal values stay equal and none overtakes
    another; integers are rounded half to even. Takes the whole image at once, in float64.
    """
    for plane, wanted in zip(planes, reference, strict=True):
        matched = _matched(_numbers(plane), _numbers(wanted))
        if isinstance(plane, Tensor):
            rounded = matched if plane.is_floating_point() else matched.round()
            plane.copy_(torch.from_numpy(rounded).to(plane.dtype))
        else:
            plane[...] = matched if plane.dtype.kind == "f" else matched.round()


def _numbers(plane: Array) -> NDArray[np.float64]:
    return plane.cpu().double().numpy() if isinstance(plane, Tensor) else plane.astype(np.float64)


def _matched(plane: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value becomes the reference's value of the same rank, between two by linear interpolation."""
    _, places, counts = np.unique(plane, return_inverse=True, return_counts=True)
    targets, target_counts = np.unique(reference, return_counts=True)
    matched: NDArray[np.float64] = np.interp(_ranks(counts), _ranks(target_counts), targets)
    return matched[places].reshape(plane.shape)


def _ranks(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The middle ranks of sorted values that occur so often, 0 to 1."""
    ranks: NDArray[np.float64] = (np.cumsum(counts) - counts / 2) / counts.sum()
    return ranks
