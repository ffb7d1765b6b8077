"""The core's losses that torch does not have."""

import math
from collections.abc import Callable

from torch import Tensor

from ..errors import InputError


def charbonnier(epsilon: str = "0.001") -> Callable[[Tensor, Tensor], Tensor]:
    """Mean of sqrt(d^2 + epsilon^2), a smooth absolute error (Lai et al., LapSRN, CVPR 2017, section 3.3).

    Args:
        epsilon: A number above 0, relative to the pixel range 0 to 1; the default is that of the paper.

    Returns:
        The loss: a scalar for an output and a target, (N, C, H, W) float each.

    Raises:
        InputError: ``epsilon`` is not a number above 0.
    """
    try:
        smooth = float(epsilon)
    except ValueError:
        smooth = 0.0
    if not 0 < smooth < math.inf:
        raise InputError(f"epsilon of charbonnier is {epsilon!r}; give a number above 0, such as charbonnier:0.001")

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target).square() + smooth**2).sqrt().mean()

    return loss
