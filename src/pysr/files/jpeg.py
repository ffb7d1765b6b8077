"""Read JPEG files: large ones row by row by pyvips, others by Pillow, those without an end marker included."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from functools import cached_property
from typing import IO

from PIL import Image

from .interface import ImageReader
from .jpeg_rows import decoded_rows, decodes_by_rows
from .pillow import PillowReader
from .raster import Pixels
from .raster_rows import RasterRows

_log = logging.getLogger(__name__)
_END = b"\xff\xd9"
_FRAMES, _SCAN = (0xC0, 0xC1, 0xC2), 0xDA  # markers of Huffman-coded images
_BARE = (0x00, 0x01, *range(0xD0, 0xD9), 0xFF)  # without a length behind them
_BANDS = 8  # in a band of other formats, as rows of pixels lie twice in memory while they are decoded
_FILLERS = (b"\x00", b"\xaa")  # data of two images that have nothing in common


class JpegReader(PillowReader):
    """A JPEG file; of several images in it (MPO) the first."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Read the header.

        Args:
            file: Open at its start; it stays open while the reader is used.
            name: Of the file, for the log.
        """
        super().__init__(file, "JPEG", name)
        self._file = file

    @cached_property
    def held_because(self) -> str | None:
        """As `ImageReader.held_because`."""
        if not self.turns_by_rows:
            return "the image has to be turned upright"
        if "progressive" in self.image.info:
            return "a progressive JPEG file is decoded as a whole"
        place = self._file.tell()
        by_rows = self.image.mode in ("L", "RGB") and decodes_by_rows(self._file)
        self._file.seek(place)
        return None if by_rows else super().held_because

    def rows(self) -> RasterRows:
        """As `ImageReader.rows`."""
        return super().rows() if self.held_because else ImageReader.rows(self)

    def bands(self) -> Iterator[Pixels]:
        """As `ImageReader.bands`."""
        header = self.header
        return decoded_rows(self._file, header.size, header.channels, self.band_height() // _BANDS)

    def loaded(self) -> Image.Image:
        """As `PillowReader.loaded`.

        A file that lacks nothing but its end marker, or half of it, is read, with a warning. Whether its last scan is
        complete is told by decoding it with different bytes appended: they matter only if data of pixels are missing.
        """
        try:
            return super().loaded()
        except OSError:
            self._file.seek(0)
            data = self._file.read().removesuffix(_END[:1])  # half of an end marker, or else a missing end of the data
            if not _has_all_scans(data):
                raise
            first, second = (self._completed(data, filler) for filler in _FILLERS)
            if first.tobytes() != second.tobytes():
                raise
        _log.warning("%r lacks its end marker; the image in it is complete", self._name)
        return first

    def _completed(self, data: bytes, filler: bytes) -> Image.Image:
        return PillowReader(io.BytesIO(data + filler * 64 + _END), "JPEG", self._name).loaded()


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans of a JPEG file together hold every bit of every coefficient (ITU-T T.81, B.2.3 and G.1.1.1)."""
    components: set[int] = set()
    found: set[tuple[int, int]] = set()  # component and coefficient
    at = 2
    while at + 4 <= len(data):
        at = data.find(b"\xff", at)
        marker = data[at + 1] if 0 <= at < len(data) - 1 else 0
        if at < 0 or at + 4 > len(data):
            break
        if marker in _BARE:  # stuffing, restart markers
            at += 2 if marker != 0xFF else 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker in _FRAMES and len(body) > 6:
            components = set(body[6::3])
        elif marker == _SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, precision = body[-3:]
            if not precision & 15:
                found |= {(one, number) for one in body[1:-3:2] for number in range(first, last + 1)}
        at += 2 + length
    return bool(components) and len(found) == 64 * len(components)
