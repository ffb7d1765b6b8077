"""Directories of EXIF and GPS in TIFF files whose pixels libtiff has compressed: Pillow cannot have it write them."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import IO, Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_LONG = 4  # the TIFF type of a 32-bit number
_HEADER = 8  # bytes: byte order, 42, offset of the first directory


def add_directories(file: IO[bytes], directories: Mapping[int, Mapping[int, Any]]) -> None:
    """Add directories to the first image of a TIFF file, which so far has none of them.

    Its own directory is copied to the end of the file, with an entry for each of them (TIFF 6.0, section 2): a count
    (2 bytes), entries of 12 bytes sorted by their tags (tag, type, count, value or its offset), and the offset of the
    next directory.

    Args:
        file: A classic TIFF file, open for reading and writing.
        directories: Values by their tags, by the tag of the directory.
    """
    file.seek(0)
    header = file.read(_HEADER)
    order = "<" if header[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", header, 4)
    file.seek(first)
    (count,) = struct.unpack(order + "H", file.read(2))
    entries = [file.read(12) for _ in range(count)]
    following = file.read(4)
    for tag, values in directories.items():
        start = _even_end(file)
        directory = ImageFileDirectory_v2(header, group=tag)
        for inner, value in values.items():
            directory[inner] = value
        file.write(directory.tobytes(start))
        entries.append(struct.pack(order + "HHII", tag, _LONG, 1, start))
    start = _even_end(file)
    entries.sort(key=lambda entry: struct.unpack_from(order + "H", entry))
    file.write(struct.pack(order + "H", len(entries)) + b"".join(entries) + following)
    file.seek(4)
    file.write(struct.pack(order + "I", start))
    file.seek(0, os.SEEK_END)


def _even_end(file: IO[bytes]) -> int:
    """Go to the end of a file, with a byte before it if its offset would be odd, and return the offset."""
    end = file.seek(0, os.SEEK_END)
    return end + file.write(b"\0" * (end % 2))
