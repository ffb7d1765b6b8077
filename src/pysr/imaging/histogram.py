"""Histogram matching: give one image the tones of another.

Gonzalez and Woods, Digital Image Processing, section 3.3, with ranks in place of a fixed number of bins.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .planes import Array


def match_histogram(planes: Array, reference: Array) -> None:
    """Give each plane of an image the distribution of values of the same plane of another, in place.

    Each value becomes the reference's value of the same rank. Equal values stay equal, and their order is kept;
    integers are rounded half to even. The whole image is processed at once, in float64.

    Args:
        planes: The image to change, (C, H, W), of any real dtype.
        reference: The image to match, (C, h, w), of the same kind and dtype.
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
    """Replace each value by the reference's value of the same rank, with linear interpolation between two ranks."""
    _, index, counts = np.unique(plane, return_inverse=True, return_counts=True)
    targets, target_counts = np.unique(reference, return_counts=True)
    matched: NDArray[np.float64] = np.interp(_ranks(counts), _ranks(target_counts), targets)
    return matched[index].reshape(plane.shape)


def _ranks(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the ranks, 0 to 1, of sorted values from how often each occurs.

    A value's rank is the middle of those that its copies take: half of them lie on either side, so that a value which
    occurs often is neither brightened nor darkened as a whole.
    """
    ranks: NDArray[np.float64] = (np.cumsum(counts) - counts / 2) / counts.sum()
    return ranks
