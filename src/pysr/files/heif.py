"""Read AVIF and HEIC files: AVIF by Pillow and, beyond 8 bits, by imagecodecs; HEIC by pillow-heif if installed."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.util import find_spec
from typing import IO, Any

import numpy as np

from ..errors import InputError
from .boxes import boxes
from .depth import full_range
from .interface import Header, ImageReader, WholeImageReader
from .pillow import PillowReader
from .raster import Kind, Pixels

_log = logging.getLogger(__name__)
_HEADER = 2**20  # bytes, more than the boxes before the pixels take


def open_avif(file: IO[bytes], name: str) -> ImageReader:
    """Open an AVIF file.

    Args:
        file: Open at its start; it stays open while the reader is used.
        name: Of the file, for messages.
    """
    plain = PillowReader(file, "AVIF", name)
    bits = _bits_of_avif(file)
    if bits == 8:
        return plain
    if find_spec("imagecodecs"):
        return DeepAvifReader(file, plain, bits)
    _log.warning("%r has %d bits per colour; only the upper 8 are used", name, bits)
    return plain


def _bits_of_avif(file: IO[bytes]) -> int:
    """Read the depth from the first AV1 configuration (AV1 in ISOBMFF, section 2.3)."""
    file.seek(0)
    start = file.read(_HEADER)
    file.seek(0)
    configuration = next((content for kind, content in boxes(start) if kind == b"av1C"), b"\0\0\0")
    deep, twelve = configuration[2] & 64, configuration[2] & 32
    return (12 if twelve else 10) if deep else 8


class DeepAvifReader(WholeImageReader):
    """An AVIF file of 10 or 12 bits."""

    def __init__(self, file: IO[bytes], plain: PillowReader, bits: int) -> None:
        """Open the image.

        Args:
            file: Open; it stays open while the reader is used.
            plain: The same file opened by Pillow, for its header.
            bits: Per channel.
        """
        self._file = file
        self.header = replace(plain.header, dtype="uint16", bits=bits)

    def decode(self) -> Pixels:
        """As `WholeImageReader.decode`."""
        from imagecodecs import avif_decode

        self._file.seek(0)
        pixels: Pixels = avif_decode(self._file.read())
        pixels = pixels[0] if pixels.ndim == 4 else pixels
        return full_range(pixels, (1 << self.header.bits) - 1)


def open_heic(file: IO[bytes], name: str) -> ImageReader:
    """Open a HEIC file.

    Args:
        file: Open at its start; it stays open while the reader is used.
        name: Of the file, for messages.

    Raises:
        InputError: pillow-heif is not installed.
    """
    if not find_spec("pillow_heif"):
        raise InputError(
            f"{name!r} is a HEIC file, which takes a library of its own; install it, with pip install pillow-heif, or"
            " convert the file to JPEG or PNG, for example with heif-convert"
        )
    return HeicReader(file, name)


class HeicReader(WholeImageReader):
    """A HEIC file, whose rotation libheif applies itself."""

    turns = True

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Open the image.

        Args:
            file: Open; it stays open while the reader is used.
            name: Of the file, for the log.
        """
        import pillow_heif

        self._heif: Any = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
        mode, _, deep = self._heif.mode.partition(";")
        kind: Kind = "gray" if mode in ("L", "LA") else "rgb"
        bits = int(self._heif.info["bit_depth"])
        if len(self._heif) > 1:
            _log.warning("%r holds several images; only the main one is used", name)
        dtype = "uint16" if deep else "uint8"
        self.header = Header("HEIC", self._heif.size, kind, len(mode), dtype, bits, lossless=False)

    def decode(self) -> Pixels:
        """As `WholeImageReader.decode`."""
        pixels = np.asarray(self._heif)
        if pixels.dtype == np.uint8:
            return pixels
        bits = self.header.bits
        return full_range(pixels >> (16 - bits), (1 << bits) - 1)  # pillow-heif shifts samples to the left
