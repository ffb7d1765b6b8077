"""Read TIFF and BigTIFF files of every depth by tifffile and imagecodecs, which the extra ``files`` installs."""

from __future__ import annotations

import logging
import math
from typing import IO, Any

import numpy as np

from ..errors import InputError
from .interface import BAND, Header, ImageReader
from .raster import Pixels
from .tiff_coded import check_coded, is_cut_off
from .tiff_header import COMPRESSION, PLANAR, Directory
from .tiff_layout import LOSSY, TiffLayout, describe_compression, palette_of, to_pixels, unsupported
from .tiff_lzw import LARGEST, LZW, decode_lzw

_LARGEST_PART = 2**28  # bytes of a strip or tile that may be decoded as a whole where rows are read one by one


class TiffReader(ImageReader):
    """One image of a TIFF file, decoded by strips or tiles."""

    def __init__(self, file: IO[bytes], page: Directory, layout: TiffLayout, name: str) -> None:
        """Open the image.

        Args:
            file: Open; it stays open while the reader is used.
            page: The image of the file to read.
            layout: Of that image.
            name: Of the file, for messages.

        Raises:
            InputError: Its compression is not known, or too large to be undone.
        """
        from tifffile import TIFF, TiffFile, TiffPage

        try:
            TIFF.DECOMPRESSORS[page.one(COMPRESSION, 1)]
        except KeyError:
            raise unsupported(name, describe_compression(page)) from None
        logging.getLogger("tifffile").addHandler(logging.NullHandler())  # instead of stderr, where nothing is set up
        self._file, self._layout, self._name = file, layout, name
        file.seek(0)
        whole = TiffFile(file)
        whole.filehandle.seek(page.offset)
        self._page: Any = TiffPage(whole, index=page.number)
        self._channels_apart = page.one(PLANAR, 1) == 2 and page.samples > 1
        self._plain = self._has_plain_rows()
        self._fill_order = self._page.fillorder if self._page.compression == LZW else 0
        if self._fill_order and max([self._segment_bytes(0), *self._page.databytecounts]) > LARGEST:
            raise InputError(f"{name!r} has strips of 4 GiB or more, in LZW; save it with smaller ones, or in tiles")
        if self._fill_order:  # then tifffile gets what is decoded already
            self._page.compression = self._page.fillorder = 1
        self.by_rows = self._plain or self._row_bytes() * self._page.chunks[0] <= _LARGEST_PART
        self.any_rows, self.any_columns = self.by_rows, bool(self._page.is_tiled)
        if layout.kind == "palette":
            self.palette = palette_of(np.asarray(self._page.colormap).astype(np.uint16))
        self.header = Header(
            *("TIFF", page.size, layout.kind, layout.channels, layout.dtype, layout.bits),
            lossless=page.one(COMPRESSION, 1) not in LOSSY,
        )

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """As `ImageReader.window`: only the strips or tiles that the window touches are decoded."""
        page = self._page
        tile_rows, tile_columns = page.chunks[:2]
        samples = np.zeros((height, width, page.samplesperpixel), page.dtype)
        across = math.ceil(page.imagewidth / tile_columns)
        down = math.ceil(page.imagelength / tile_rows)
        for row in range(y // tile_rows, math.ceil((y + height) / tile_rows)):
            for column in range(x // tile_columns, math.ceil((x + width) / tile_columns)):
                for plane in range(page.samplesperpixel if self._channels_apart else 1):
                    number = (plane * down + row) * across + column
                    top, left = row * tile_rows - y, column * tile_columns - x
                    if self._plain:
                        seen = max(0, -top), min(tile_rows, height - top)
                        part, top = self._rows_of(number, *seen), max(0, top)
                    else:
                        part = self._segment(number)
                    target = samples[..., plane : plane + 1] if self._channels_apart else samples
                    _paste(part, target, top, left)
        return to_pixels(samples[..., 0] if page.samplesperpixel == 1 else samples, self._layout)

    def band_height(self) -> int:
        """As `ImageReader.band_height`: whole strips or tiles, so that none is decoded twice."""
        tile_rows = 1 if self._plain else self._page.chunks[0]
        return int(max(1, BAND // (self._row_bytes() * tile_rows)) * tile_rows)

    def band_width(self) -> int:
        """As `ImageReader.band_width`: whole tiles."""
        page = self._page
        column = page.imagelength * page.samplesperpixel * page.dtype.itemsize
        return int(max(1, BAND // (column * page.chunks[1])) * page.chunks[1])

    def _row_bytes(self) -> int:
        """Of a row of the image, as decoded."""
        page = self._page
        return int(page.imagewidth * page.samplesperpixel * page.dtype.itemsize)

    def _has_plain_rows(self) -> bool:
        """Whether rows of pixels lie in the file as they are in memory, so that any of them can be read."""
        page = self._page
        plain = page.compression == 1 and not page.is_tiled and page.fillorder == 1
        return bool(plain and page.bitspersample == 8 * page.dtype.itemsize)

    def _rows_of(self, number: int, first: int, last: int) -> Pixels:
        """Read the rows [first, last) of a strip of plain rows, (rows, columns, samples)."""
        page = self._page
        samples = 1 if self._channels_apart else page.samplesperpixel
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        stride = page.imagewidth * samples * dtype.itemsize
        count, given, needed = last - first, page.databytecounts[number], last * stride
        if given < needed:
            raise InputError(
                f"{self._name!r} is damaged: a strip has {given} bytes, and its rows need {needed}; use another copy"
            )
        data = self._read(page.dataoffsets[number] + first * stride, count * stride)
        return np.frombuffer(data, dtype).reshape(count, page.imagewidth, samples)

    def _segment(self, number: int) -> Pixels:
        """Decode one strip or tile to (rows, columns, samples)."""
        page = self._page
        data = self._read(page.dataoffsets[number], page.databytecounts[number])
        if self._fill_order:
            data = decode_lzw(data, self._segment_bytes(number), self._fill_order)
        rows, columns = page.chunks[:2]
        check_coded(data, page.compression, (columns, rows), self._name)
        part = self._decoded(data, number)
        if is_cut_off(data, page.compression, lambda data: self._decoded(data, number), part):
            raise self._incomplete()
        return part

    def _decoded(self, data: bytes, number: int) -> Pixels:
        tables = {"jpegtables": self._page.jpegtables, "jpegheader": self._page.jpegheader}
        part: Pixels = self._page.decode(data, number, **tables)[0][0]
        return part

    def _segment_bytes(self, number: int) -> int:
        """How many bytes a strip or tile holds, as decoded."""
        page = self._page
        rows, columns = page.chunks[:2]
        if not page.is_tiled:
            rows = min(rows, page.imagelength - number % math.ceil(page.imagelength / rows) * rows)
        samples = 1 if self._channels_apart else page.samplesperpixel
        return int(rows * math.ceil(columns * samples * page.bitspersample / 8))

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length)
        if not data or len(data) < length:
            raise self._incomplete()
        return data

    def _incomplete(self) -> InputError:
        return InputError(f"{self._name!r} is incomplete: it ends within its pixels; use another copy of it")


def _paste(part: Pixels, target: Pixels, top: int, left: int) -> None:
    """Copy the part of a strip or tile that lies within a window, given where it begins there."""
    first, start = max(0, -top), max(0, -left)
    inside = part[first : target.shape[0] - top, start : target.shape[1] - left]
    rows, columns = inside.shape[:2]
    target[top + first : top + first + rows, left + start : left + start + columns] = inside
