"""`RasterRows`: an image as a file holds it, like a `Raster`, whose rows come in bands and are never all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metadata import Metadata
from .raster import Described, Kind, Pixels, Raster


@dataclass(frozen=True)
class RasterRows(Described):
    """An image that is read, computed or written from top to bottom. The other attributes are those of `Raster`.

    Attributes:
        bands: Begins anew with the first rows at each call, and yields bands of any heights, each as `Raster.pixels`.
        height: Of the image in pixels.
        sample: A band without rows: (0, W) or (0, W, C), of the dtype.
    """

    bands: Callable[[], Iterator[Pixels]]
    height: int
    sample: Pixels
    kind: Kind
    palette: NDArray[np.uint8] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str = ""
    lossless: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """As `Described.size`."""
        return self.sample.shape[1], self.height

    @property
    def channels(self) -> int:
        """As `Described.channels`."""
        return self.sample.shape[2] if self.sample.ndim == 3 else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """As `Described.dtype`."""
        return self.sample.dtype

    def mapped(self, function: Callable[[Pixels], Pixels], **changes: Any) -> RasterRows:
        """As `Described.mapped`; the function is called for each band when it is taken."""
        bands = self.bands
        sample = function(np.zeros((1, *self.sample.shape[1:]), self.dtype))[:0]
        return replace(self, bands=lambda: map(function, bands()), sample=sample, **changes)

    def every(self, holds: Callable[[Pixels], bool]) -> bool:
        """As `Described.every`; bands are read up to the first of which it does not hold."""
        return all(map(holds, self.bands()))

    def cropped(self, size: tuple[int, int]) -> RasterRows:
        """As `Described.cropped`."""
        bands, (width, height) = self.bands, size

        def upper_left() -> Iterator[Pixels]:
            left = height
            for band in bands():
                yield band[:left, :width]
                left -= len(band)
                if left <= 0:
                    return

        return replace(self, bands=upper_left, height=height, sample=self.sample[:, :width])

    def whole(self) -> Raster:
        """Return the image in memory."""
        width, height = self.size
        pixels = np.empty((height, width, *self.sample.shape[2:]), self.dtype)
        top = 0
        for band in self.bands():
            pixels[top : top + len(band)] = band
            top += len(band)
        return Raster(pixels, self.kind, self.palette, self.metadata, self.format, self.lossless)


AnyRaster = Raster | RasterRows


class Taken:
    """Bands that are taken, and why no further ones came.

    Attributes:
        error: What was raised where a band was computed.
    """

    def __init__(self, bands: Callable[[], Iterator[Pixels]]) -> None:
        self.error: Exception | None = None
        self._bands = bands

    def __call__(self) -> Iterator[Pixels]:
        """As `RasterRows.bands`."""
        try:
            yield from self._bands()
        except Exception as error:
            self.error = error
            raise
