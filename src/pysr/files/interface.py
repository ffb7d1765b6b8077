"""What every reader and every writer of image files offers, whatever library does the work."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .metadata import Metadata
from .orientation import TRANSPOSED, turned
from .raster import Kind, Pixels, Raster, mode_of
from .raster_rows import RasterRows

_log = logging.getLogger(__name__)
BAND = 2**23  # bytes that are decoded at a time, if the format leaves the choice


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before its pixels are decoded.

    Attributes:
        format: The format's name, such as "PNG".
        size: (width, height) in pixels, as stored.
        kind: What the channels of the pixels mean, as `Raster.kind`.
        channels: Of the pixels that are read, alpha included.
        dtype: Of the pixels that are read: "uint8", "uint16" or "float32".
        bits: Per channel, as stored.
        orientation: As in EXIF, 1 to 8: how the stored pixels must be turned to be upright.
        lossless: Whether the file holds its pixels without loss.
    """

    format: str
    size: tuple[int, int]
    kind: Kind
    channels: int
    dtype: str = "uint8"
    bits: int = 8
    orientation: int = 1
    lossless: bool = True

    @property
    def mode(self) -> str:
        """As `Raster.mode`."""
        return mode_of(self.kind, self.channels, self.dtype)


class ImageReader(ABC):
    """An open image file.

    Attributes:
        header: What is known before decoding.
        palette: As `Raster.palette`.
        metadata: What the file says beside the pixels.
        compression: TIFF's number for it; None for other formats.
        turns: Whether `window` turns the pixels itself.
        images: How many images the file holds, thumbnails left out; it is 1 for animations, too (see `frames`).
        by_rows: Whether `rows` can be called.
        any_rows: Whether `window` decodes little more than the rows of the window, wherever they are.
        any_columns: Likewise the columns.
        length: Bytes of the image, if they lie in other files than the one that is open, too.
        losses: What the pixels lack that the file has, known before decoding: in words, for the log.
    """

    header: Header
    palette: NDArray[np.uint8] | None = None
    metadata: Metadata = Metadata()
    compression: int | None = None
    turns: bool = False
    images: int = 1
    by_rows: bool = False
    any_rows: bool = False
    any_columns: bool = False
    length: int | None = None
    losses: Sequence[str] = ()

    @property
    def held_because(self) -> str | None:
        """Why the image is in memory as a whole while its rows are taken; None if it is not."""
        return None

    def warn_of_losses(self) -> None:
        """Log `losses`: once, when the pixels are wanted, as a file may be opened several times."""
        for loss in self.losses:
            _log.warning("%s", loss)

    def describe(self, metadata: Metadata) -> None:
        """Take what the file says beside the pixels, the orientation among it."""
        width, height = self.header.size
        orientation = metadata.orientation
        if not self.turns:
            self.header = replace(self.header, orientation=orientation)
            if orientation in TRANSPOSED:
                width, height = height, width
        self.metadata = replace(metadata, size=(width, height), turned=orientation)

    @abstractmethod
    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Decode a part of the image.

        Args:
            x: Left border of the part in stored pixels.
            y: Upper border.
            width: Of the part.
            height: Of the part.

        Returns:
            Pixels as in `Raster.pixels`, as stored: not turned by the orientation.
        """

    def bands(self) -> Iterator[Pixels]:
        """Decode the image as stored from top to bottom, in bands of rows that are as high as suits the format."""
        width, height = self.header.size
        rows = self.band_height()
        for top in range(0, height, rows):
            yield self.window(0, top, width, min(rows, height - top))

    def band_height(self) -> int:
        """How many rows `bands` decodes at a time."""
        header = self.header
        return max(1, BAND // (header.size[0] * header.channels * np.dtype(header.dtype).itemsize))

    def band_width(self) -> int:
        """How many columns are decoded at a time, where `any_columns` holds."""
        header = self.header
        return max(1, BAND // (header.size[1] * header.channels * np.dtype(header.dtype).itemsize))

    @property
    def turns_by_rows(self) -> bool:
        """Whether the image can be turned upright without being in memory as a whole."""
        orientation = self.header.orientation
        if orientation in TRANSPOSED:
            return self.any_columns
        return orientation in (1, 2) or self.any_rows

    def _upright_bands(self) -> Iterator[Pixels]:
        orientation = self.header.orientation
        stored = self.bands() if orientation in (1, 2) else self._parts(orientation)
        return (turned(band, orientation) for band in stored)

    def _parts(self, orientation: int) -> Iterator[Pixels]:
        """Decode rows, or columns, as stored, in the order in which they are seen once the image is upright."""
        width, height = self.header.size
        by_columns = orientation in TRANSPOSED
        step = self.band_width() if by_columns else self.band_height()
        starts = range(0, width if by_columns else height, step)
        for start in reversed(starts) if orientation in (3, 4, 7, 8) else starts:
            if by_columns:
                yield self.window(start, 0, min(step, width - start), height)
            else:
                yield self.window(0, start, width, min(step, height - start))

    def rows(self) -> RasterRows:
        """Return the image, upright, as rows that are decoded when they are taken; see `turns_by_rows`."""
        header = self.header
        width, height = header.size[::-1] if header.orientation in TRANSPOSED else header.size
        shape = (0, width, *([header.channels] if header.channels > 1 else []))
        return RasterRows(
            self._upright_bands,
            height,
            np.empty(shape, header.dtype),
            *(header.kind, self.palette, self.metadata, header.format, header.lossless),
        )

    def read(self) -> Raster:
        """Decode the whole image, upright."""
        header = self.header
        pixels = turned(self.window(0, 0, *header.size), header.orientation)
        return Raster(pixels, header.kind, self.palette, self.metadata, header.format, header.lossless)


class WholeImageReader(ImageReader):
    """An open image file whose format, or library, decodes only whole images."""

    _decoded: Pixels | None = None

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """As `ImageReader.window`; the first call decodes the whole image."""
        if self._decoded is None:
            self._decoded = self.decode()
        return self._decoded[y : y + height, x : x + width]

    @abstractmethod
    def decode(self) -> Pixels:
        """Decode the whole image as stored, and complete `palette`."""


class ImageWriter(ABC):
    """An image file that is being written: pixels only, to which metadata are added afterwards."""

    @abstractmethod
    def write(self, bands: Iterable[Pixels]) -> None:
        """Encode an image.

        Args:
            bands: Its rows in bands of any height from top to bottom, each as `Raster.pixels`. They are taken one by
                one, so that the whole image need not be in memory.
        """
