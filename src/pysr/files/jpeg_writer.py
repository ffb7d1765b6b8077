"""Write JPEG files by strips: each is encoded by itself, and they are joined by restart markers (ITU-T T.81, B.2.1).

The coefficients, and so the pixels, are those of the image encoded as a whole.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from functools import partial
from typing import IO

import numpy as np

from .bands import in_threads, rebanded
from .interface import ImageWriter
from .metadata import Metadata, embed
from .raster import Kind, Pixels, Raster

_BLOCK = 8  # pixels per side, as all channels have full resolution
_STRIP = 2**21  # bytes of pixels that are encoded at a time
_MOST_BLOCKS = 2**16 - 1  # between two restart markers
_FRAME, _SCAN = 0xC0, 0xDA
_RESTARTS = 8  # markers, used in turn


class JpegWriter(ImageWriter):
    """A baseline JPEG file in full colour resolution that is being written."""

    def __init__(self, file: IO[bytes], size: tuple[int, int], kind: Kind, *, quality: int, metadata: Metadata) -> None:
        """Prepare to write.

        Args:
            file: Open for writing.
            size: (width, height) in pixels.
            kind: "gray", "rgb" or "cmyk".
            quality: 1 to 100.
            metadata: As `fit` returns them for JPEG.
        """
        self._file, self._size, self._kind = file, size, kind
        self._quality, self._metadata = quality, metadata

    def write(self, bands: Iterable[Pixels]) -> None:
        """As `ImageWriter.write`; of uint8."""
        width, height = self._size
        across = -(-width // _BLOCK)
        blocks = max(1, min(_MOST_BLOCKS // across, _STRIP // (across * _BLOCK**2)))  # rows of blocks in a strip
        strips = in_threads(partial(_encoded, kind=self._kind, quality=self._quality), rebanded(bands, blocks * _BLOCK))
        for number, encoded in enumerate(strips):
            scan = _scan_start(encoded)
            if number == 0:
                header = _with_height(encoded[:scan], height, across * blocks)
                embed(io.BytesIO(header), self._file, "JPEG", self._metadata)
            else:
                self._file.write(bytes([0xFF, 0xD0 + (number - 1) % _RESTARTS]))
            self._file.write(memoryview(encoded)[scan:-2])  # without the end marker
        self._file.write(b"\xff\xd9")


def _encoded(rows: Pixels, kind: Kind, quality: int) -> bytes:
    encoded = io.BytesIO()
    image = Raster(np.ascontiguousarray(rows), kind).to_pil()
    image.save(encoded, "JPEG", quality=quality, subsampling="4:4:4")
    return encoded.getvalue()


def _segment_starts(encoded: bytes) -> dict[int, int]:
    """Return where the marker of each segment up to the pixels begins."""
    starts, at = {}, 2
    while _SCAN not in starts:
        starts[encoded[at + 1]] = at
        at += 2 + struct.unpack_from(">H", encoded, at + 2)[0]
    return starts


def _scan_start(encoded: bytes) -> int:
    """Return where the data of the pixels begin."""
    at = _segment_starts(encoded)[_SCAN]
    return int(at + 2 + struct.unpack_from(">H", encoded, at + 2)[0])


def _with_height(header: bytes, height: int, interval: int) -> bytes:
    """Return the header of a strip as that of the whole image, with a number of blocks between restart markers."""
    starts = _segment_starts(header)
    changed = bytearray(header)
    struct.pack_into(">H", changed, starts[_FRAME] + 5, height)
    changed[starts[_SCAN] : starts[_SCAN]] = struct.pack(">HHH", 0xFFDD, 4, interval)
    return bytes(changed)
