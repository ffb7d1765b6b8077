"""Read JPEG files by Pillow, those without an end marker included."""

from __future__ import annotations

import io
import logging
from typing import IO

from .pillow import PillowReader
from .raster import Pixels

_log = logging.getLogger(__name__)
_END = b"\xff\xd9"
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

    def decode(self) -> Pixels:
        """As `WholeImageReader.decode`.

        A file that lacks nothing but its end marker is read, with a warning. Whether more is missing is told by
        decoding it with different bytes appended: they matter only if data of pixels are missing.
        """
        try:
            return super().decode()
        except OSError:
            self._file.seek(0)
            data = self._file.read()
            if _END in data[-2:]:
                raise
            first, second = (self._completed(data, filler) for filler in _FILLERS)
            if first.tobytes() != second.tobytes():
                raise
        _log.warning("%r lacks its end marker; the image in it is complete", self._name)
        return first

    def _completed(self, data: bytes, filler: bytes) -> Pixels:
        reader = PillowReader(io.BytesIO(data + filler * 64 + _END), "JPEG", self._name)
        return reader.decode()
