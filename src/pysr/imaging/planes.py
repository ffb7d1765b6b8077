"""Images as planes: what is read, what is filled, and how the result is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import OutOfMemoryError
from .colour import is_neutral

Array = np.ndarray[Any, Any] | Tensor
Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Planes:
    """The planes of one image: colour, (1 or 3, H, W), and alpha, (1, H, W), if it has any.

    ``neutral`` means that R, G and B are equal everywhere.
    """

    colour: Array
    alpha: Array | None = None
    neutral: bool = False


Scale = int | Fraction | tuple[int, int]
Split = Callable[[Any], tuple[Planes, ...]]


class OpenedImage:
    """An open image: read the low-resolution planes, fill the high-resolution ones, take the result.

    All calls up to `result` use the same scale. `result` gives the memory away: the next call of `parts` begins another
    result from the same image.

    Attributes:
        shape: (height, width) in pixels.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        planes: tuple[Planes, ...],
        empty: Callable[[int, int], Array],
        split: Split,
        finish: Callable[[Any], Any],
    ) -> None:
        """Hold an image's planes, and how to make a result from others.

        Args:
            shape: (height, width) of the image.
            planes: The image's: one for an image, one per item of a batch, two for CMYK.
            empty: Allocates the memory of a result, given its height and width.
            split: Returns views of that memory, in the order of ``planes``.
            finish: Makes the result from the filled memory.
        """
        self.shape = shape
        self._planes, self._empty, self._split, self._finish = planes, empty, split, finish
        self._memory: Array | None = None

    def parts(self, scale: Scale) -> list[tuple[Array, Array]]:
        """Return the colour planes to read and those to fill.

        Args:
            scale: Enlargement per side; a fraction reduces, and sides are rounded up. Or (height, width) of the result.

        Returns:
            Pairs of (C, H, W) and an empty (C, H * scale, W * scale), C being 1 or 3: views with any strides, both
            NumPy arrays or both tensors, of the image's dtype and device. An image is one pair, a batch one per item,
            CMYK two: inverted C, M, Y and inverted K. Neutral colours are one plane, which `result` repeats.

        Raises:
            OutOfMemoryError: There is no room for the result.
        """
        return [
            (low.colour[:1], high.colour[:1]) if low.neutral else (low.colour, high.colour)
            for low, high in self._pairs(scale)
        ]

    def alphas(self, scale: Scale) -> list[tuple[Array, Array]]:
        """Return alpha: pairs like those of `parts`, of (1, H, W) and (1, H * scale, W * scale); often none."""
        pairs = ((low.alpha, high.alpha) for low, high in self._pairs(scale))
        return [(low, high) for low, high in pairs if low is not None and high is not None]

    def result(self) -> Any:
        """Return the filled image, of the type, dtype, mode and device of the image that was opened."""
        if self._memory is None:
            raise RuntimeError("result() was called before parts(): nothing has been filled")
        memory, self._memory = self._memory, None
        for low, high in zip(self._planes, self._split(memory), strict=True):
            if low.neutral:
                colour: Any = high.colour
                colour[1:] = colour[:1]
        return self._finish(memory)

    def gray_if_neutral(self) -> OpenedImage:
        """Return the image with neutral colours (R = G = B in every pixel) as gray: one plane in `parts`."""
        planes = tuple(replace(one, neutral=len(one.colour) == 3 and is_neutral(one.colour)) for one in self._planes)
        return OpenedImage(self.shape, planes, self._empty, self._split, self._finish)

    def _pairs(self, scale: Scale) -> list[tuple[Planes, Planes]]:
        height, width = scale if isinstance(scale, tuple) else (ceil(side * scale) for side in self.shape)
        if self._memory is None:
            try:
                self._memory = self._empty(height, width)
            except (MemoryError, RuntimeError, ValueError) as error:  # NumPy's, torch's, NumPy's for absurd sizes
                raise OutOfMemoryError(
                    f"the result, {width} x {height} pixels, does not fit into memory; choose a smaller scale, or"
                    " upscale parts of the image"
                ) from error
        return list(zip(self._planes, self._split(self._memory), strict=True))


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors as `torch.stack` does, into an ordinary tensor in whatever mode the caller is."""
    with torch.inference_mode(False):
        return torch.stack(list(tensors))
