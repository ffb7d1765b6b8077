"""Decode JPEG files row by row by pyvips, whose libvips decodes by libjpeg-turbo as Pillow does."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import IO, Any

import numpy as np

from .jpeg_end import END, SCAN, find_marker
from .metadata.jpeg import segments
from .raster import Pixels

_ROWS = 16  # of the largest blocks that are decoded together
_FETCHED = 2**16  # bytes at a time: between larger ones, the lines that libvips keeps would leave gaps in the heap


def decodes_by_rows(file: IO[bytes]) -> bool:
    """Tell whether `decoded_rows` can be called for a baseline JPEG file.

    It can if pyvips is installed and has libvips, and the pixels are one scan with the end marker behind it: what
    another marker hides would be gray, without an error.
    """
    if not find_spec("pyvips") or not _has_libvips() or not any(marker == SCAN for marker, _ in segments(file)):
        return False
    found = find_marker(file, file.tell())
    return found is not None and found[0] == END


@cache
def _has_libvips() -> bool:
    """Whether pyvips finds a libvips that decodes JPEG files from streams; without its extra it comes without any."""
    try:
        import pyvips
    except (ImportError, OSError):
        return False
    return bool(pyvips.at_least_libvips(8, 12) and pyvips.type_find("VipsOperation", "jpegload_source"))


def decoded_rows(file: IO[bytes], size: tuple[int, int], channels: int, count: int) -> Iterator[Pixels]:
    """Decode a baseline JPEG file from top to bottom.

    Args:
        file: Open, seekable; others may read it between two bands.
        size: (width, height) in pixels.
        channels: 1 for gray, 3 for RGB.
        count: Rows of a band; rounded down to whole blocks.

    Yields:
        Bands of uint8, (h, W) or (h, W, 3).

    Raises:
        OSError: The file cannot be read, or is damaged or cut off.
    """
    import pyvips

    width, height = size
    reading = _Reading(file)
    source = pyvips.SourceCustom()
    source.on_read(reading.read)
    source.on_seek(reading.seek)
    try:
        image = pyvips.Image.jpegload_source(source, access="sequential", fail_on="error")
        if (image.width, image.height, image.bands, image.format) != (width, height, channels, "uchar"):
            raise OSError(f"it is decoded as {image.width} x {image.height} x {image.bands} of {image.format}")
        region = pyvips.Region.new(image)
        step, lines = max(_ROWS, count // _ROWS * _ROWS), max(1, _FETCHED // (width * channels))
        for top in range(0, height, step):
            rows = min(step, height - top)
            pixels = np.empty((rows, width * channels), np.uint8)
            for row in range(0, rows, lines):
                part = region.fetch(0, top + row, width, min(lines, rows - row))
                pixels[row : row + lines] = np.frombuffer(part, np.uint8).reshape(-1, width * channels)
            yield pixels.reshape((rows, width, channels) if channels > 1 else (rows, width))
    except pyvips.Error as error:
        raise reading.error or OSError(_reason(error)) from error


class _Reading:
    """The calls by which libvips reads a file.

    Attributes:
        error: What was raised meanwhile, Ctrl-C included; libvips only knows that the file ended.
    """

    def __init__(self, file: IO[bytes]) -> None:
        logging.getLogger("pyvips").addHandler(logging.NullHandler())  # instead of stderr, where nothing is set up
        self.error: BaseException | None = None
        self._file, self._at = file, 0

    def read(self, count: int) -> bytes:
        """Read up to ``count`` bytes."""
        try:
            self._file.seek(self._at)
            data = self._file.read(count)
        except BaseException as error:
            self.error = error
            return b""
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int) -> int:
        """Move as ``seek`` of files does."""
        start = self._at if whence == os.SEEK_CUR else 0
        try:
            self._at = self._file.seek(offset, whence) if whence == os.SEEK_END else start + offset
        except BaseException as error:
            self.error = error
            return -1
        return self._at


def _reason(error: Any) -> str:
    """Return the last line of what libvips tells, without the name of its function."""
    told = str(error.detail or error.message).strip().splitlines()[-1]
    return str(told.rpartition(": ")[2])
