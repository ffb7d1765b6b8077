"""Read JPEG 2000 files: 8 bits by Pillow, more by imagecodecs; both use OpenJPEG."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO

import numpy as np
from PIL import Jpeg2KImagePlugin

from ..errors import InputError
from .boxes import boxes
from .depth import full_range
from .interface import Header, ImageReader, WholeImageReader
from .raster import Kind, Pixels

_SRGB, _GRAY = 16, 17  # enumerated colour spaces of the box "colr" (ISO/IEC 15444-1, annex I)
_CODESTREAM = b"\xff\x4f\xff\x51"
_END = b"\xff\xd9"
_MOST_PADDING = 16  # bytes that some programs write behind the end
_DEEPEST = 16
_SIZE, _CODING_STYLE, _TILE_PART = b"\xff\x51", b"\xff\x52", b"\xff\x90"  # markers (A.2)
_TILE = 14  # bytes of the segments that a tile begins with


@dataclass(frozen=True)
class _Codestream:
    """What the header of the pixels says."""

    size: tuple[int, int]
    bits: int
    channels: int


def open_jpeg2000(file: IO[bytes], name: str) -> ImageReader:
    """Open a JPEG 2000 file (.jp2, .j2k).

    Args:
        file: Open at its start; it stays open while the reader is used.
        name: Of the file, for messages.

    Raises:
        InputError: It is of a variant that pysr does not read.
    """
    data = file.read()
    file.seek(0)
    found = dict(boxes(data)) if data[4:8] == b"jP  " else {}
    start = data.find(_CODESTREAM)
    if start < 0:
        raise ValueError("it has no pixels")
    described = _describe(data[start:], name)
    if found.get(b"ihdr", b"")[:8] not in (b"", struct.pack(">II", *described.size[::-1])):
        raise InputError(f"{name!r} is damaged: it says two different sizes; use another copy of it")
    if (least := least_bytes(data[start:])) > len(data):
        raise InputError(f"{name!r} has {len(data)} bytes, and its parts need {least}; use another copy of it")
    if _END not in found.get(b"jp2c", data)[-_MOST_PADDING:]:  # OpenJPEG would make do with what there is
        raise InputError(f"{name!r} is incomplete: it ends within its pixels; use another copy of it")
    if b"pclr" in found:
        raise _unsupported(name, "with a palette")
    _check_colours(found.get(b"colr", b""), name)
    if described.bits > 8 and not find_spec("imagecodecs"):
        raise InputError(
            f"{name!r} is a JPEG 2000 file of {described.bits} bits, which Pillow does not read exactly; install the"
            ' library for it, with pip install "pysr-sdk[files]", or save it with 8 bits'
        )
    return Jpeg2000Reader(file, described)


class Jpeg2000Reader(WholeImageReader):
    """A JPEG 2000 file of gray or RGB, with or without alpha."""

    def __init__(self, file: IO[bytes], described: _Codestream) -> None:
        kind: Kind = "gray" if described.channels < 3 else "rgb"
        dtype = "uint8" if described.bits <= 8 else "uint16"
        self._file, self._bits = file, described.bits
        self.header = Header(
            "JPEG2000", described.size, kind, described.channels, dtype, described.bits, lossless=False
        )

    def decode(self) -> Pixels:
        """As `WholeImageReader.decode`."""
        self._file.seek(0)
        if self._bits == 8:
            return np.asarray(Jpeg2KImagePlugin.Jpeg2KImageFile(self._file))
        from imagecodecs import jpeg2k_decode

        return full_range(jpeg2k_decode(self._file.read()), (1 << self._bits) - 1)


def _describe(codestream: bytes, name: str) -> _Codestream:
    """Read the marker segment SIZ (ISO/IEC 15444-1, A.5.1)."""
    _, _, width, height, left, top, *_, count = struct.unpack_from(">HHIIIIIIIIH", codestream, 4)
    channels = [struct.unpack_from("BBB", codestream, 42 + 3 * number) for number in range(count)]
    depths = {depth for depth, _, _ in channels}
    if count not in (1, 2, 3, 4) or len(depths) != 1 or any(channel[1:] != (1, 1) for channel in channels):
        raise _unsupported(name, f"of {count} channels of differing kinds or sizes")
    (depth,) = depths
    if depth >= _DEEPEST:  # the upper bit says signed
        raise _unsupported(name, "of signed samples" if depth & 128 else f"of {depth + 1} bits")
    return _Codestream((width - left, height - top), depth + 1, count)


def least_bytes(codestream: bytes) -> int:
    """Tell how many bytes a codestream has at least, by its tiles and precincts.

    For these OpenJPEG takes memory and time before it looks for their data. A tile begins with the
    segments SOT and SOD (ISO/IEC 15444-1, A.4.2), and a precinct has a packet of a byte or more
    in every component (B.9); components of fewer samples do not count here.
    """
    found = dict(_segments(codestream))
    size: tuple[int, ...] = struct.unpack_from(">IIIIIIIIH", found[_SIZE], 2)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, count = size
    sides = (right - tile_left, tile_width), (bottom - tile_top, tile_height)
    tiles = math.prod(math.ceil(length / max(1, step)) for length, step in sides)
    whole = sum(found[_SIZE][37 + 3 * number :][:2] == b"\1\1" for number in range(count))
    style = found.get(_CODING_STYLE, bytes(10))
    levels = style[5]
    precincts = 0
    if style[0] & 1:  # else each is 2^15 samples wide and high
        for level, exponent in zip(range(levels, -1, -1), style[10:], strict=False):
            sides = (right - left, exponent & 15), (bottom - top, exponent >> 4)
            precincts += math.prod(length >> (level + power) for length, power in sides)
    return tiles * _TILE + precincts * whole


def _segments(codestream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the markers of the main header, and what their segments hold."""
    at = 2
    while (marker := codestream[at : at + 2]) != _TILE_PART:
        (length,) = struct.unpack_from(">H", codestream, at + 2)
        yield marker, codestream[at + 4 : at + 2 + length]
        at += 2 + length


def _check_colours(colour: bytes, name: str) -> None:
    """Check that a box "colr" has a profile, or says sRGB or gray."""
    if colour and colour[0] == 1 and (space := struct.unpack_from(">I", colour, 3)[0]) not in (_SRGB, _GRAY):
        raise _unsupported(name, f"of the colour space {space}")


def _unsupported(name: str, what: str) -> InputError:
    return InputError(
        f"{name!r} is a JPEG 2000 file {what}, which pysr does not read; convert it to PNG or TIFF, for example with"
        " opj_decompress"
    )
