"""Decode the LZW of TIFF files by libtiff, inside imagecodecs.

imagecodecs' own decoder, up to 2026.3 at least, trusts the code that follows a Clear code: one above 255 makes it read
and write wherever the memory happens to say.
"""

from __future__ import annotations

import struct

LZW = 5  # the number of the compression
LARGEST = 2**32 - 2**10  # bytes of a strip or tile, in the file or decoded: a TIFF file counts up to 4 GiB
_TAGS = "<4sI H" + "HHII" * 9 + "I"


def decode_lzw(data: bytes, size: int, fill_order: int) -> bytes:
    """Decode a strip or tile.

    Args:
        data: The strip or tile.
        size: How many bytes it holds; at most `LARGEST`, as of ``data``.
        fill_order: 2 where the bits of each byte are in reverse, else 1.

    Raises:
        RuntimeError: It is damaged, or holds fewer bytes.
    """
    from imagecodecs import tiff_decode

    long, short = 4, 3
    tags = [(256, long, size), (257, long, 1), (258, short, 8), (259, short, LZW), (262, short, 1)]
    tags += [(266, short, fill_order), (273, long, struct.calcsize(_TAGS)), (278, long, 1), (279, long, len(data))]
    entries = [number for tag, kind, value in tags for number in (tag, kind, 1, value)]
    header = struct.pack(_TAGS, b"II*\0", 8, len(tags), *entries, 0)
    return bytes(tiff_decode(header + data).tobytes())
