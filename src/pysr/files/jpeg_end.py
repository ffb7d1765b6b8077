"""How a JPEG file ends: where, with which scans, and whether they are complete. The file is read in pieces."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from typing import IO

from PIL import Image

from .jpeg_image import JpegImage

SCAN, END = 0xDA, 0xD9
END_MARKER = b"\xff\xd9"
_MARKER = re.compile(rb"(?<!\xff)\xff+([^\x00\xff\xd0-\xd7])")  # but those within pixels; each run is tried once
_FRAMES = 0xC0, 0xC1, 0xC2  # markers of Huffman-coded images
_PROGRESSIVE = 0xC2
_MOST_SCANS = 200  # encoders write about ten
_BARE = 0x01, 0xD8  # markers without a length behind them
_FIRST_PIECE, _PIECE = 2**8, 2**16  # bytes that are searched at a time, at first and then
FILLERS = [unit * 64 for unit in (b"\x00", b"\xaa", b"\x55", b"\x13\x37", b"\xfe\x01\x6d")]  # data of unlike images


def find_marker(file: IO[bytes], start: int) -> tuple[int, int, int] | None:
    """Find the next marker that is not within pixels, from a place in a file.

    Returns:
        The marker, where it begins, and where what follows it does; None if there is none.
    """
    file.seek(start)
    data, run = b"", start  # the run of 0xff at the end of what was read before, and where it begins
    size = _FIRST_PIECE
    while piece := file.read(size):
        if found := _MARKER.search(data + piece):
            at = start - len(data) + found.start()
            return found[1][0], run if data and not found.start() else at, start - len(data) + found.end()
        if others := len(piece.rstrip(b"\xff")):
            data, run = b"", start + others
        if others < len(piece):
            data = b"\xff"  # of however many
        start += len(piece)
        size = min(4 * size, _PIECE)
    return None


def _markers(file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield each marker up to the end marker, that included, with where it begins and the data of its segment."""
    at = 2
    while found := find_marker(file, at):
        marker, start, at = found
        file.seek(at)
        length = int.from_bytes(file.read(2), "big") if marker not in (*_BARE, END) else 0
        yield marker, start, file.read(max(length - 2, 0))
        if marker == END:
            return
        at += length


def end_of_scans(file: IO[bytes]) -> int:
    """Return where the end marker of the image begins; the file's length if there is none."""
    ends = (start for marker, start, _ in _markers(file) if marker == END)
    return next(ends, None) or file.seek(0, os.SEEK_END)


def has_all_scans(file: IO[bytes]) -> bool:
    """Whether the scans of a file together hold every bit of every coefficient (ITU-T T.81, B.2.3 and G.1.1.1)."""
    components: set[int] = set()
    found: set[tuple[int, int]] = set()  # component and coefficient
    for marker, _, body in _markers(file):
        if marker in _FRAMES and len(body) > 6:
            components = set(body[6::3])
        elif marker == SCAN and body and body[0] <= 4 and len(body) == 4 + 2 * body[0]:
            first, last, precision = body[-3:]
            if not precision & 15:
                found |= {(one, number) for one in body[1:-3:2] for number in range(first, last + 1)}
    return bool(components) and len(found) == 64 * len(components)


def is_progressive(file: IO[bytes]) -> bool:
    """Whether the image comes in scans that add detail to each other."""
    return any(marker == _PROGRESSIVE for marker, _, _ in _markers(file))


def has_too_many_scans(file: IO[bytes]) -> bool:
    """Whether a file has more scans than any program writes: each, however short, costs the time for a whole image."""
    components, count = 0, 0
    for marker, _, body in _markers(file):
        if marker in _FRAMES and len(body) > 6:
            components = body[5] if marker != _PROGRESSIVE else 256
        elif marker == SCAN:
            count += 1
            if count > _MOST_SCANS or (body and body[0] == components):  # the only scan, which holds all components
                return count > _MOST_SCANS
    return False


def completed(file: IO[bytes], end: int, *, reduced: bool = False) -> Image.Image | None:
    """Decode a file up to a place as if its end marker came there; None if data of pixels are missing.

    It is decoded with different bytes appended: they matter only if data are missing.

    Args:
        file: The file; it may stand anywhere, and does so afterwards.
        end: Where its scans end.
        reduced: Whether to decode to an eighth of the size, by which less is computed.
    """
    first: Image.Image | None = None
    for filler in FILLERS:
        image = JpegImage(io.BufferedReader(_Ended(file, end, filler + END_MARKER)))
        if reduced:
            image.draft(None, (1, 1))
        image.load()
        first = first or image
        if first.tobytes() != image.tobytes():
            return None
    return first


class _Ended(io.RawIOBase):
    """A file up to a place, and other bytes behind it."""

    def __init__(self, file: IO[bytes], end: int, behind: bytes) -> None:
        super().__init__()
        self._file, self._end, self._behind, self._at = file, end, behind, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as ``seek`` of files does."""
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end + len(self._behind)}
        self._at = bases[whence] + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as `BufferedReader` calls it
        """Read into a buffer what there is up to the next join."""
        if self._at < self._end:
            self._file.seek(self._at)
            data = self._file.read(min(len(buffer), self._end - self._at))
        else:
            data = self._behind[self._at - self._end :][: len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
