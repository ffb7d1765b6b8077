"""Read PNG files of 16 bits per channel by imagecodecs, and all others, and those in gray, by Pillow."""

from __future__ import annotations

import logging
import struct
from functools import partial
from importlib.util import find_spec
from typing import IO

from ..errors import InputError
from .interface import Header, ImageReader, WholeImageReader
from .metadata.png import pixels_only
from .pillow import PillowReader
from .png_rows import PngRowsReader
from .raster import Pixels

_GRAY, _COLOUR, _ALPHA = 0, 2, 4  # the bits of IHDR's colour type but for 1, a palette


def open_png(file: IO[bytes], name: str) -> ImageReader:
    """Open a PNG file.

    Args:
        file: Open at its start; it stays open while the reader is used.
        name: Of the file, for messages.

    Raises:
        InputError: It has 16 bits and a transparent colour, and imagecodecs is not installed.
    """
    _, depth, colour = read_ihdr(file)
    plain = PillowReader(file, "PNG", name)
    if depth != 16 or colour == _GRAY:
        return plain if depth < 8 else _by_rows(file, plain, plain, name)
    if find_spec("imagecodecs"):
        return _by_rows(file, plain, DeepPngReader(file, plain), name)
    if "transparency" in plain.image.info:
        raise InputError(
            f"{name!r} is a PNG of 16 bits with a transparent colour, which Pillow does not read; install the library"
            ' for it, with pip install "pysr-sdk[files]", or save it with 8 bits'
        )
    return plain


def _by_rows(file: IO[bytes], plain: PillowReader, reader: ImageReader, name: str) -> ImageReader:
    """Return a reader by rows, where a file allows it."""
    if plain.image.info.get("interlace") or getattr(plain.image, "is_animated", False):
        return reader
    return PngRowsReader(file, reader, partial(open_png, name=name))


def read_ihdr(file: IO[bytes]) -> tuple[tuple[int, int], int, int]:
    """Read (width, height), bits per sample and colour type; the file is left at its start.

    Raises:
        ValueError: The file ends before that.
    """
    file.seek(0)
    start = file.read(26)
    file.seek(0)
    if len(start) < 26:
        raise ValueError("the file ends within its header")
    width, height, depth, colour = struct.unpack(">IIBB", start[16:26])
    return (width, height), depth, colour


class DeepPngReader(WholeImageReader):
    """A PNG file of 16 bits per channel."""

    def __init__(self, file: IO[bytes], plain: PillowReader) -> None:
        """Open the image.

        Args:
            file: Open; it stays open while the reader is used.
            plain: The same file opened by Pillow.
        """
        size, _, colour = read_ihdr(file)
        channels = (3 if colour & _COLOUR else 1) + (bool(colour & _ALPHA) or "transparency" in plain.image.info)
        self.header = Header("PNG", size, "rgb" if channels > 2 else "gray", channels, "uint16", bits=16)
        self._file = file

    def decode(self) -> Pixels:
        """As `WholeImageReader.decode`."""
        from imagecodecs import png_decode

        logging.getLogger("imagecodecs").addHandler(logging.NullHandler())  # instead of stderr, where nothing is set up
        pixels: Pixels = png_decode(pixels_only(self._file).read())  # of other chunks it would complain to the log
        return pixels
