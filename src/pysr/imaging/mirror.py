"""Images continued beyond their borders by mirroring, the edge pixel included: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ..."""

import torch
from torch import Tensor


def mirrored_index(index: Tensor, length: int) -> Tensor:
    """Map positions on an endless mirrored axis to the pixels that are seen there.

    Args:
        index: Integers of any shape, at any distance before or beyond the axis.
        length: Pixels of the axis.

    Returns:
        Indices from 0 to length - 1, in the shape of ``index``.
    """
    period = index.new_full((), 2 * length)  # a tensor, as ONNX has no remainder of a side that is yet unknown
    index = index % period
    return torch.minimum(index, period - 1 - index)
