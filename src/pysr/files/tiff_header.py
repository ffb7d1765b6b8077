"""The directories of a TIFF or BigTIFF file: what each of its images is, before anything decodes it.

TIFF 6.0 (Adobe 1992), TIFF/EP and BigTIFF. Only the tags that say how pixels are stored are read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

_TYPES = {
    1: "B",
    2: "B",
    3: "H",
    4: "I",
    5: "rational",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
}
_MOST_VALUES = 2**24  # of a tag that is read; strips of an image of that many rows
_MOST_PAGES = 2**16
_SLACK = 2**16  # bytes that may be read more than twice

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIPS, SAMPLES, STRIP_BYTES, PLANAR, SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT = 273, 277, 279, 284, 330, 338, 339
LARGEST_SAMPLE, TILES, TILE_BYTES, INK_SET, CFA, DNG, ORIENTATION = 341, 324, 325, 332, 33422, 50706, 274
COEFFICIENTS, SUBSAMPLING, RANGES = 529, 530, 532  # of YCbCr
_READ = {
    *(SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, SAMPLES, STRIP_BYTES, PLANAR, SUB_IFDS),
    *(EXTRA_SAMPLES, SAMPLE_FORMAT, LARGEST_SAMPLE, TILES, TILE_BYTES, INK_SET, CFA, DNG, ORIENTATION),
    *(COEFFICIENTS, SUBSAMPLING, RANGES),
}
_RAW_PHOTOMETRIC = {32803, 34892}  # colour filter array, linear raw
_RAW_COMPRESSION = {32767, 34713, 65000, 65535}  # Sony, Nikon, Kodak, Pentax


@dataclass(frozen=True)
class Directory:
    """One image of a TIFF file.

    Attributes:
        number: Its place in the chain of images, from 0.
        offset: Where it begins in the file.
        tags: The values of the tags that are read.
    """

    number: int
    offset: int
    tags: dict[int, tuple[float, ...]]

    def one(self, tag: int, default: int = 0) -> int:
        """Return the first value of a tag."""
        values = self.tags.get(tag)
        return int(values[0]) if values else default

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.one(WIDTH), self.one(HEIGHT)

    @property
    def samples(self) -> int:
        """Number of channels as stored."""
        return self.one(SAMPLES, 1)

    @property
    def bits(self) -> int | None:
        """Bits per sample; None if the samples differ."""
        depths = set(self.tags.get(BITS, (1,)))
        return int(depths.pop()) if len(depths) == 1 else None

    @property
    def sample_format(self) -> int | None:
        """1: unsigned, 2: signed, 3: float; None if the samples differ."""
        formats = set(self.tags.get(SAMPLE_FORMAT, (1,)))
        return int(formats.pop()) if len(formats) == 1 else None

    @property
    def orientation(self) -> int:
        """As in EXIF, 1 to 8."""
        orientation = self.one(ORIENTATION, 1)
        return orientation if orientation in range(1, 9) else 1

    @property
    def is_image(self) -> bool:
        """Whether it is neither a thumbnail nor a transparency mask (NewSubfileType)."""
        return not self.one(SUBFILE) & 5

    @property
    def end(self) -> int:
        """Where the last byte of its pixels ends in the file."""
        offsets = self.tags.get(TILES) or self.tags.get(STRIPS) or (0,)
        counts = self.tags.get(TILE_BYTES) or self.tags.get(STRIP_BYTES) or (0,)
        return max(int(offset + count) for offset, count in zip(offsets, counts, strict=False))


def read_directories(file: IO[bytes]) -> tuple[list[Directory], list[Directory]]:
    """Read the directories of a TIFF file.

    Args:
        file: Open at its start, where it is left.

    Returns:
        The images of the chain, and those that they refer to as parts of their own (SubIFDs), which is where cameras
        put the image from the sensor.

    Raises:
        ValueError: It is damaged.
    """
    try:
        reader = _Reader(file)
        chain = list(reader.chain())
        offsets = dict.fromkeys(int(offset) for page in chain for offset in page.tags.get(SUB_IFDS, ()))
        parts = [reader.directory(0, offset)[0] for offset in offsets if 0 < offset < reader.length]
    except (struct.error, OverflowError) as error:
        raise ValueError("its directory of images is incomplete") from error
    finally:
        file.seek(0)
    if not chain:
        raise ValueError("it holds no image")
    return chain, parts


def is_raw(directories: list[Directory]) -> bool:
    """Tell whether a TIFF file is a camera's raw file (DNG, NEF, ARW, CR2, ...): its images are not photographs yet."""
    return any(
        DNG in page.tags
        or CFA in page.tags
        or page.one(PHOTOMETRIC, -1) in _RAW_PHOTOMETRIC
        or page.one(COMPRESSION) in _RAW_COMPRESSION
        for page in directories
    )


class _Reader:
    """Byte order and widths of one file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.length = file.seek(0, os.SEEK_END)
        self._room = 2 * self.length + _SLACK
        file.seek(0)
        start = file.read(4)
        self._order = "<" if start[:2] == b"II" else ">"
        self._big = 43 in start[2:]
        self._count, self._offset = ("Q", "Q") if self._big else ("H", "I")
        self._first = self._unpack(self._offset, 8 if self._big else 4)[0]

    def chain(self) -> Iterator[Directory]:
        offset, seen = self._first, set[int]()
        while offset and offset not in seen and len(seen) < _MOST_PAGES:
            seen.add(offset)
            page, offset = self.directory(len(seen) - 1, offset)
            yield page

    def directory(self, number: int, offset: int) -> tuple[Directory, int]:
        """Read the directory at an offset, and the offset of the next one."""
        (count,) = self._unpack(self._count, offset)
        entry = 20 if self._big else 12
        start = offset + struct.calcsize(self._count)
        block = self._read(start, count * entry)
        tags: dict[int, tuple[float, ...]] = {}
        for at in range(0, len(block) - entry + 1, entry):
            tag, kind, length = struct.unpack_from(self._order + ("HHQ" if self._big else "HHI"), block, at)
            if tag in _READ and kind in _TYPES and 0 < length <= _MOST_VALUES:
                tags[tag] = self._values(_TYPES[kind], length, block, at)
        end = start + count * entry
        (following,) = self._unpack(self._offset, end) if end < self.length else (0,)
        return Directory(number, offset, tags), following

    def _values(self, code: str, length: int, block: bytes, at: int) -> tuple[float, ...]:
        rational = code == "rational"
        layout = f"{self._order}{length * (1 + rational)}{'I' if rational else code}"
        place = at + (12 if self._big else 8)
        if struct.calcsize(layout) <= (8 if self._big else 4):
            values = struct.unpack_from(layout, block, place)
        else:
            values = self._unpack(layout[1:], struct.unpack_from(self._order + self._offset, block, place)[0])
        if rational:
            return tuple(top / bottom if bottom else 0.0 for top, bottom in zip(values[::2], values[1::2], strict=True))
        return values

    def _unpack(self, layout: str, offset: int) -> tuple[Any, ...]:
        layout = self._order + layout
        return struct.unpack(layout, self._read(offset, struct.calcsize(layout)))

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        self._room -= len(data)
        if self._room < 0:
            raise ValueError("its directories of images lie over each other")
        return data
