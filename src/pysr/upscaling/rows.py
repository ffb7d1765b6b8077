"""Where the rows of an image come from: from memory, or one band after the other, so that few are held at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch

from ..errors import InputError
from ..imaging.planes import Array
from ..ops.hardware import device_of


class Rows(Protocol):
    """The rows of an image.

    Attributes:
        shape: (C, H, W) of the image.
        device: Where the rows are.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def device(self) -> torch.device: ...

    def take(self, first: int, last: int) -> Array:
        """Return the rows [first, last), (C, last - first, W); ``first`` never decreases from call to call."""
        ...


class WholeRows:
    """The rows of an image in memory, (C, H, W)."""

    def __init__(self, image: Array) -> None:
        self._image = image

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the image."""
        channels, height, width = self._image.shape
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where the image is."""
        return device_of(self._image)

    def take(self, first: int, last: int) -> Array:
        """As `Rows.take`, in any order."""
        return self._image[:, first:last]


class SlidingRows:
    """The rows of an image that come from top to bottom in bands; those above the last ones taken are forgotten."""

    def __init__(self, bands: Iterable[Array], shape: tuple[int, int, int]) -> None:
        """Take an image by its bands.

        Args:
            bands: NumPy arrays (C, h, W) of any heights, which together have all rows. They are taken as needed.
            shape: (C, H, W) of the image.
        """
        self.shape, self.device = shape, torch.device("cpu")
        self._bands = iter(bands)
        self._first = 0  # the image's row at which the held ones begin
        self._held: Array = np.empty((shape[0], 0, shape[2]))

    def take(self, first: int, last: int) -> Array:
        """As `Rows.take`.

        Raises:
            InputError: The bands end before.
        """
        parts = [self._held[:, max(0, first - self._first) :]]
        end = self._first + self._held.shape[1]
        self._first = min(first, end)
        while end < last:
            band = next(self._bands, None)
            if band is None:
                raise InputError(f"the image ends at row {end} of {self.shape[1]}; use a complete copy of it")
            skipped = max(0, first - end)
            self._first += min(skipped, band.shape[1])
            end += band.shape[1]
            parts.append(band[:, skipped:])
        filled = [part for part in parts if part.shape[1]]
        self._held = filled[0] if len(filled) == 1 else np.concatenate(filled, axis=1)
        return self._held[:, first - self._first : last - self._first]
