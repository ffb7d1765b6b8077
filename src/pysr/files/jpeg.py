"""Read JPEG files: large ones row by row by pyvips, others by Pillow, those without an end marker included."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import cached_property
from typing import IO

import numpy as np
from PIL import Image

from ..errors import InputError
from .interface import ImageReader
from .jpeg_end import END_MARKER, completed, end_of_scans, has_all_scans, has_too_many_scans
from .jpeg_rows import decoded_rows, decodes_by_rows
from .pillow import PillowReader
from .raster import Pixels
from .raster_rows import RasterRows

_log = logging.getLogger(__name__)
_BANDS = 8  # in a band of other formats, as rows of pixels lie twice in memory while they are decoded
_NOTHING = {127, 128}  # levels of what libjpeg fills in for missing data: gray


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

        A file that lacks nothing but its end marker, or half of it, is read, with a warning.
        """
        image: Image.Image | None
        if has_too_many_scans(self._file):
            raise InputError(
                f"{self._name!r} has more scans than any program writes: it is damaged, or made to take long; use"
                " another copy of it"
            )
        try:
            image = super().loaded()
        except OSError:
            if not has_all_scans(self._file) or not (image := completed(self._file, self._length())):
                raise
            _log.warning("%r lacks its end marker; the image in it is complete", self._name)
            return image
        width, height = image.size
        self._check_end(np.asarray(image.crop((width - 1, height - 1, width, height))).reshape(-1))
        return image

    def _length(self) -> int:
        """Of the file, without half of an end marker."""
        length = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(length - 1, 0))
        return length - (self._file.read(1) == END_MARKER[:1])

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
        if progressive and not has_all_scans(self._file):
            _log.warning("%r is incomplete: it ends within its pixels, and fine detail is missing", self._name)
        elif not progressive and not completed(self._file, end_of_scans(self._file), reduced=True):
            _log.warning("%r is incomplete: it ends within its pixels, and the rest is gray", self._name)
        self._file.seek(place)
