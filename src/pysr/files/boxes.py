"""The boxes of ISO base media files (ISO/IEC 14496-12), of which AVIF, HEIC and JPEG 2000 files consist."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_FULL = {b"meta": 4}  # bytes before the boxes inside
_CONTAINERS = {b"meta", b"iprp", b"ipco", b"jp2h"}
_MOST_LEVELS = 4  # of boxes inside each other


def boxes(data: bytes, levels: int = _MOST_LEVELS) -> Iterator[tuple[bytes, bytes]]:
    """Walk the boxes of a file, and those inside containers that describe images.

    Args:
        data: The file, or as much of it as holds what is sought; incomplete boxes at the end are cut off.
        levels: How many boxes inside each other are walked.

    Yields:
        The type of each box and its content.
    """
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1 and at + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = len(data) if length == 0 else at + length
        if end < start:
            return
        content = data[start:end]
        yield kind, content
        if kind in _CONTAINERS and levels > 1:
            yield from boxes(content[_FULL.get(kind, 0) :], levels - 1)
        at = end
