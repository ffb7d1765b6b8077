"""Whether a file can hold the pixels that its header declares: else it is refused before they cost memory and time."""

from __future__ import annotations

import re
from typing import IO

from ..errors import InputError
from .interface import Header

FREE = 2**24  # pixels that any file may declare: a quarter of a second and some 100 MB
_MOST = 2**16  # pixels that a byte may stand for in formats without a limit of their own: areas of one colour
_DENSEST = {  # pixels that a byte may stand for, by the format's compression
    "PNG": 8 * 1032,  # deflate repeats 258 bytes by 2 bits; a byte holds 8 black-and-white pixels
    "GIF": 4096,  # LZW of 12 bits
    "JPEG": 1024,  # twice the 64 pixels of a block by one bit
    "PPM": 8,
    "NPY": 1,
    "TGA": 128,
}
_DENSEST_TIFF = {1: 8, 5: 8 * 4096, 8: 8 * 1032, 32773: 8 * 128, 32946: 8 * 1032}  # by the tag Compression
_ARITHMETIC = re.compile(rb"\xff[\xc9-\xcb]")  # frames of JPEG files whose codes may be shorter than one bit
_HEADER = 2**16  # bytes in which such a frame is looked for


def check_plausible(
    header: Header, file: IO[bytes], name: str, compression: int | None = None, length: int | None = None
) -> None:
    """Check that a file is long enough for the pixels that its header declares.

    Args:
        header: Of the file.
        file: Open at any place, where it is left.
        name: Of the file, for the message.
        compression: TIFF's number for it.
        length: Bytes of the image, if they lie in other files, too.

    Raises:
        InputError: It is far too short.
    """
    width, height = header.size
    if width * height <= FREE:
        return
    place = file.tell()
    length = file.seek(0, 2) if length is None else length
    if header.format == "TIFF":
        densest = _DENSEST_TIFF.get(compression or 0, _MOST)
    else:
        densest = _DENSEST.get(header.format, _MOST)
    file.seek(0)
    if header.format == "JPEG" and _ARITHMETIC.search(file.read(_HEADER)):
        densest = _MOST
    file.seek(place)
    if width * height > length * densest:
        raise InputError(
            f"{name!r} has {length} bytes for {width} x {height}, {width * height / 1e6:.1f} million pixels: it is cut"
            " off, or made to exhaust memory; use another copy of it"
        )
