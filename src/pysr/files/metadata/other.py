"""Metadata in the formats that have little of it: GIF and BMP."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

from .model import Metadata
from .resolution import Resolution
from .xmp import as_utf8

_XMP = b"XMP DataXMP"
_MAGIC_TRAILER = 257  # bytes behind XMP in a GIF, which lead readers that do not know it to its end


def read_gif(file: IO[bytes]) -> Metadata:
    """Read the comments and the XMP of a GIF file (GIF89a, 24; XMP, part 3)."""
    file.seek(10)
    flags = file.read(3)
    if len(flags) < 3:
        return Metadata()
    file.seek(_palette_size(flags[0]), 1)
    comments, xmp = [], b""
    while kind := file.read(1):
        if kind == b"\x2c":
            file.seek(_palette_size(file.read(9)[-1:].ljust(1, b"\0")[0]) + 1, 1)
            list(_blocks(file))
        elif kind == b"\x21":
            label, blocks = file.read(1), list(_blocks(file))
            if label == b"\xfe":
                comments.append(b"".join(block[1:] for block in blocks))
            elif label == b"\xff" and blocks and blocks[0][1:] == _XMP:
                xmp = b"".join(blocks[1:])[:-_MAGIC_TRAILER]
        else:
            break
    found = Metadata(xmp=as_utf8(xmp))
    for comment in comments:
        found = found.with_comment(comment)
    return found


def _palette_size(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the sub-blocks of an extension, each with the byte that gives its length."""
    while (length := file.read(1)) not in (b"", b"\0"):
        yield length + file.read(length[0])


def read_bmp(file: IO[bytes]) -> Metadata:
    """Read the resolution of a BMP file."""
    file.seek(14)
    header = file.read(32)
    if len(header) < 32 or struct.unpack_from("<I", header)[0] < 40:
        return Metadata()
    x, y = struct.unpack_from("<ii", header, 24)
    return Metadata(resolution=Resolution.checked(x, y, "metre"))


def embed_bmp(encoded: IO[bytes], target: IO[bytes], metadata: Metadata) -> None:
    """Copy a BMP file with its resolution replaced."""
    encoded.seek(0)
    start = bytearray(encoded.read(46))
    x, y = metadata.resolution.per("metre") if metadata.resolution and metadata.resolution.unit else (0, 0)
    struct.pack_into("<ii", start, 38, *(min(round(value), 2**31 - 1) for value in (x, y)))
    target.write(start)
    while part := encoded.read(2**20):
        target.write(part)
