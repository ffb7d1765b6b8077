"""Courses of a learning rate: from the share of a training that is done, 0 to 1, to what rates are multiplied by."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(done: float) -> float:
    """Always one."""
    return 1.0


def cosine(done: float) -> float:
    """From one to zero along half a cosine (Loshchilov and Hutter 2017, without restarts)."""
    return (1 + math.cos(math.pi * done)) / 2


def stepped(*times: float, factor: float = 0.1) -> Schedule:
    """Multiplied by ``factor`` at each of these times, shares between 0 and 1."""
    return lambda done: factor ** sum(done >= time for time in times)


def trapezoid(rise: float = 0.01, fall: float = 0.4) -> Schedule:
    """From a hundredth up to one in the first share ``rise``, then one, then linearly to zero in the last, ``fall``."""
    return lambda done: min(1.0, (done + rise / 100) / rise if rise else 1.0, (1 - done) / fall if fall else 1.0)
