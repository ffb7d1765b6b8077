"""Learning-rate schedules: functions from training progress (0 to 1) to a factor on each optimizer's base rate."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]
"""How far a training is, 0 to 1, to a factor for its learning rates."""

WARM_UP_RATIO = 100  # a trapezoid begins at a hundredth: small beside 1, and the first step still learns


def constant(progress: float) -> float:
    """Keep the rate: 1 at any training progress."""
    return 1.0


def cosine(progress: float) -> float:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter, SGDR, ICLR 2017; without restarts).

    Args:
        progress: Training progress, 0 to 1.
    """
    return (1 + math.cos(math.pi * progress)) / 2


def stepped(*times: float, factor: float = 0.1) -> Schedule:
    """Build a schedule that starts at 1 and is multiplied by ``factor`` at each of the given times.

    Args:
        times: Points in training progress, 0 to 1.
        factor: Multiplier of the rate at each of them.

    Returns:
        A function from training progress, 0 to 1, to the factor on the base rate.
    """
    return lambda progress: factor ** sum(progress >= time for time in times)


def trapezoid(rise: float = 0.01, fall: float = 0.4) -> Schedule:
    """Build a schedule that rises linearly from 0.01 to 1, stays there, and falls linearly to 0.

    Args:
        rise: Share of the training that the rise takes; 0 for none.
        fall: Share of the training that the fall takes, at its end; 0 for none.

    Returns:
        A function from training progress, 0 to 1, to the factor on the base rate.
    """

    def factor(progress: float) -> float:
        warm_up = (progress + rise / WARM_UP_RATIO) / rise if rise else 1.0
        return min(1.0, warm_up, (1 - progress) / fall if fall else 1.0)

    return factor
