"""The resolution of an image in print."""

from __future__ import annotations

import math
from dataclasses import dataclass

_PER_METRE = {"inch": 100 / 2.54, "cm": 100.0, "metre": 1.0}  # units of length in a metre


@dataclass(frozen=True)
class Resolution:
    """Pixels per unit of length in print.

    Attributes:
        x: Horizontally, above 0.
        y: Vertically, above 0.
        unit: "inch", "cm" or "metre"; "" where only the shape of a pixel is known, y : x.
    """

    x: float
    y: float
    unit: str

    @classmethod
    def checked(cls, x: float, y: float, unit: str) -> Resolution | None:
        """Return a resolution; None where the numbers cannot be one, or only say that pixels are square."""
        sensible = all(math.isfinite(value) and 0 < value < 2**31 for value in (x, y))
        return cls(x, y, unit) if sensible and (unit or x != y) else None

    def per(self, unit: str) -> tuple[float, float]:
        """(x, y) in pixels per inch, cm or metre; as they are where no unit is known."""
        factor = _PER_METRE[self.unit] / _PER_METRE[unit] if self.unit else 1.0
        return self.x * factor, self.y * factor
