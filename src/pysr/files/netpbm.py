"""Read binary PGM and PPM files of any depth, by windows, and their text forms; Pillow reads PBM."""

from __future__ import annotations

import re
from typing import IO

import numpy as np

from ..errors import InputError
from .depth import full_range
from .interface import Header, ImageReader
from .pillow import PillowReader
from .raster import Kind, Pixels

_HEADER = rb"P([2356])(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s*#[^\n]*\n)*\s"
_LONGEST_HEADER = 2**16  # with comments


def open_netpbm(file: IO[bytes], name: str) -> ImageReader:
    """Open a PBM, PGM or PPM file.

    Args:
        file: Open at its start; it stays open while the reader is used.
        name: Of the file, for messages.

    Raises:
        InputError: Its header is damaged.
    """
    start = file.read(_LONGEST_HEADER)
    file.seek(0)
    if start[1:2] in b"14":
        return PillowReader(file, "PPM", name)
    found = re.match(_HEADER, start)
    if not found or not 0 < int(found[4]) < 65536:
        raise InputError(f"the header of {name!r} is damaged; use another copy of it")
    return NetpbmReader(file, found, name)


class NetpbmReader(ImageReader):
    """A PGM or PPM file."""

    def __init__(self, file: IO[bytes], header: re.Match[bytes], name: str) -> None:
        """Open the image.

        Args:
            file: Open; it stays open while the reader is used.
            header: Of the file: kind, width, height and largest value.
            name: Of the file, for messages.
        """
        kind, width, height, self._white = (int(number) for number in header.groups())
        self._file, self._name, self._start = file, name, header.end()
        self._channels, self._is_text = 3 if kind in (3, 6) else 1, kind < 4
        dtype, bits = ("uint8", 8) if self._white < 256 else ("uint16", 16)
        colours: Kind = "rgb" if self._channels == 3 else "gray"
        self.by_rows = not self._is_text
        self.header = Header("PPM", (width, height), colours, self._channels, dtype, bits)

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """As `ImageReader.window`; only the rows of the window are read from binary files."""
        across = self.header.size[0]
        count = across * height * self._channels
        values = self._text(count, y * across * self._channels) if self._is_text else self._binary(count, y)
        if len(values) < count:
            raise InputError(f"{self._name!r} is incomplete: it ends within its pixels; use another copy of it")
        if values.max(initial=0) > self._white:
            raise InputError(f"{self._name!r} has values above {self._white}, its white: it is damaged")
        shape = (height, across, self._channels) if self._channels == 3 else (height, across)
        return full_range(values.reshape(shape)[:, x : x + width], self._white)

    def _binary(self, count: int, top: int) -> Pixels:
        dtype = np.dtype(">u2" if self._white > 255 else "u1")
        self._file.seek(self._start + top * self.header.size[0] * self._channels * dtype.itemsize)
        data = self._file.read(count * dtype.itemsize)
        return np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)

    def _text(self, count: int, skipped: int) -> Pixels:
        self._file.seek(self._start)
        words = re.sub(rb"#[^\n]*", b"", self._file.read()).split(maxsplit=skipped + count)
        return np.array(words[skipped : skipped + count], dtype=np.uint32)
