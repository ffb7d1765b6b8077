"""Whether fax images (CCITT) of TIFF files are complete: libtiff makes up the rows that it cannot read."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import IO

from .jpeg_end import FILLERS
from .libtiff_messages import collected_messages
from .metadata.tags import LONG, Tag, pack_block
from .pillow_tiff_file import TiffFile
from .tiff_header import COMPRESSION, HEIGHT, PHOTOMETRIC, STRIP_BYTES, STRIPS, WIDTH, Directory

FAX = {2, 3, 4}  # values of the tag Compression
_ROWS_PER_STRIP = 278
_CODING = COMPRESSION, 266, 292, 293  # the last three: FillOrder, T4Options, T6Options
_MOST_STRIPS = 64  # that are looked at, from the end: it is there that files are cut off
_SLACK = 2**12  # bytes of a strip beside its pixels, of which none takes more than five bits
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)


def is_cut_off(image: TiffFile, page: Directory) -> bool:
    """Whether a strip ends before its rows do.

    It is decoded with different bytes appended: they matter only if data are missing.

    Args:
        image: As Pillow opened it; its file is left where it stood.
        page: The same image.
    """
    file = image.fp
    assert file is not None
    place = file.tell()
    try:
        coding = {tag: int(image.tag_v2[tag]) for tag in _CODING if tag in image.tag_v2}
        rows = int(image.tag_v2.get(_ROWS_PER_STRIP, 0)) or page.one(HEIGHT)
        return any(_depends_on_what_follows(data, size, coding) for data, size in _strips(file, page, rows))
    except _UNREADABLE:
        return False  # reading it will say what is wrong
    finally:
        file.seek(place)


def _strips(file: IO[bytes], page: Directory, rows: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield the data of the last strips, and their widths and heights."""
    offsets, counts = page.tags.get(STRIPS, ()), page.tags.get(STRIP_BYTES, ())
    number = min(len(offsets), len(counts))
    for strip in range(max(0, number - _MOST_STRIPS), number):
        width, height = page.one(WIDTH), min(rows, page.one(HEIGHT) - strip * rows)
        if height > 0 and 0 < counts[strip] <= width * height + _SLACK:
            file.seek(int(offsets[strip]))
            yield file.read(int(counts[strip])), (width, height)


def _depends_on_what_follows(data: bytes, size: tuple[int, int], coding: dict[int, int]) -> bool:
    return _decoded(data + FILLERS[0], size, coding) != _decoded(data + FILLERS[3], size, coding)


def _decoded(data: bytes, size: tuple[int, int], coding: dict[int, int]) -> bytes:
    """Decode a strip by itself, to packed bits."""
    width, height = size
    values = {WIDTH: width, HEIGHT: height, PHOTOMETRIC: 1, _ROWS_PER_STRIP: height, STRIP_BYTES: len(data), STRIPS: 0}
    values |= coding
    block = b""
    for _ in range(2):  # its length, where the data begin, is known once it is built
        values[STRIPS] = len(block)
        block = pack_block({tag: Tag(LONG, 1, struct.pack("<I", value)) for tag, value in values.items()}, "<")
    with collected_messages():
        return TiffFile(io.BytesIO(block + data)).tobytes()
