"""Read JPEG 2000 files: 8 bits by Pillow, more by imagecodecs; both use OpenJPEG."""

from __future__ import annotations

import struct
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


def _check_colours(colour: bytes, name: str) -> None:
    """Check that a box "colr" has a profile, or says sRGB or gray."""
    if colour and colour[0] == 1 and (space := struct.unpack_from(">I", colour, 3)[0]) not in (_SRGB, _GRAY):
        raise _unsupported(name, f"of the colour space {space}")


def _unsupported(name: str, what: str) -> InputError:
    return InputError(
        f"{name!r} is a JPEG 2000 file {what}, which pysr does not read; convert it to PNG or TIFF, for example with"
        " opj_decompress"
    )
