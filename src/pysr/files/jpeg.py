"""Read JPEG files: large ones row by row by pyvips, others by Pillow, those without an end marker included."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from functools import cached_property
from typing import IO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from .interface import ImageReader
from .jpeg_rows import END, MARKER, SCAN, decoded_rows, decodes_by_rows
from .pillow import PillowReader
from .raster import Pixels
from .raster_rows import RasterRows

_log = logging.getLogger(__name__)
_END = b"\xff\xd9"
_FRAMES = 0xC0, 0xC1, 0xC2  # markers of Huffman-coded images
_BARE = 0x01, 0xD8  # markers without a length behind them
_BANDS = 8  # in a band of other formats, as rows of pixels lie twice in memory while they are decoded
_NOTHING = {127, 128}  # levels of what libjpeg fills in for missing data: gray
_FILLERS = [unit * 64 for unit in (b"\x00", b"\xaa", b"\x55", b"\x13\x37", b"\xfe\x01\x6d")]  # data of unlike images


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
        self._is_checked = False

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
        for band in decoded_rows(self._file, header.size, header.channels, self.band_height() // _BANDS):
            yield band
        self._check_end(np.atleast_1d(band[-1, -1]))

    def loaded(self) -> Image.Image:
        """As `PillowReader.loaded`.

        A file that lacks nothing but its end marker, or half of it, is read, with a warning. Whether its last scan is
        complete is told by decoding it with different bytes appended: they matter only if data of pixels are missing.
        """
        try:
            image = super().loaded()
        except OSError:
            self._file.seek(0)
            data = self._file.read().removesuffix(_END[:1])  # half of an end marker, or else a missing end of the data
            if not _has_all_scans(data):
                raise
            if not (completed := self._completed(data)):
                raise
            _log.warning("%r lacks its end marker; the image in it is complete", self._name)
            return completed
        width, height = image.size
        self._check_end(np.asarray(image.crop((width - 1, height - 1, width, height))).reshape(-1))
        return image

    def _completed(self, data: bytes, *, reduced: bool = False) -> Image.Image | None:
        """Decode a file that ends without an end marker; None if data of pixels are missing."""
        first: Image.Image | None = None
        for filler in _FILLERS:
            image = JpegImageFile(io.BytesIO(data + filler + _END))
            if reduced:  # to an eighth, by which less is computed
                image.draft(None, (1, 1))
            image.load()
            first = first or image
            if first.tobytes() != image.tobytes():
                return None
        return first

    def _check_end(self, last: Pixels) -> None:
        """Warn if the data of pixels end early although an end marker follows.

        libjpeg fills in gray then, without an error, so that only where the last pixel is gray a closer look is taken;
        of progressive files, it is told whether there are all scans.

        Args:
            last: The last pixel, (C,).
        """
        progressive = "progressive" in self.image.info
        if self._is_checked or not (progressive or _NOTHING.issuperset(last.tolist())):
            return
        self._is_checked = True
        place = self._file.tell()
        self._file.seek(0)
        data = self._file.read()
        self._file.seek(place)
        if progressive and not _has_all_scans(data):
            _log.warning("%r is incomplete: it ends within its pixels, and fine detail is missing", self._name)
        elif not progressive and not self._completed(data[: _end_of_scans(data)], reduced=True):
            _log.warning("%r is incomplete: it ends within its pixels, and the rest is gray", self._name)


def _end_of_scans(data: bytes) -> int:
    """Where the end marker of the image in a JPEG file begins."""
    at = 2
    while marker := MARKER.search(data, at):
        if marker[1][0] == END:
            return marker.start()
        length = int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        at = marker.end() + (length if marker[1][0] not in _BARE else 0)
    return len(data)


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans of a JPEG file together hold every bit of every coefficient (ITU-T T.81, B.2.3 and G.1.1.1)."""
    components: set[int] = set()
    found: set[tuple[int, int]] = set()  # component and coefficient
    at = 2
    while marker := MARKER.search(data, at):
        at = marker.end()
        kind, length = marker[1][0], int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + length]
        if kind == END:
            break
        if kind in _FRAMES and len(body) > 6:
            components = set(body[6::3])
        elif kind == SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, precision = body[-3:]
            if not precision & 15:
                found |= {(one, number) for one in body[1:-3:2] for number in range(first, last + 1)}
        at += length if kind not in _BARE else 0
    return bool(components) and len(found) == 64 * len(components)
