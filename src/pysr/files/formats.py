"""The formats of image files: what each holds, and how a file's content tells which it is."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import IO

from ..errors import InputError


@dataclass(frozen=True)
class Format:
    """A format that pysr writes.

    Attributes:
        name: As Pillow calls it.
        endings: Of files' names.
        modes: Which images it holds, as `Raster.mode`.
        longest_side: Limit on width and height in pixels.
        most_bytes: Limit on the uncompressed pixels.
    """

    name: str
    endings: tuple[str, ...]
    modes: tuple[str, ...]
    longest_side: int = 2**31 - 1
    most_bytes: float = math.inf


_4_GB = 4.2e9  # TIFF and BMP count bytes in 32 bits, up to 4.29e9; the rest is room for headers and metadata
FORMATS = (
    Format("PNG", (".png",), ("1", "L", "LA", "P", "I;16", "RGB", "RGBA")),
    Format("TIFF", (".tif", ".tiff"), ("1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK"), most_bytes=_4_GB),
    Format("WEBP", (".webp",), ("1", "L", "LA", "P", "RGB", "RGBA"), 16383),  # 14 bits
    Format("AVIF", (".avif",), ("L", "LA", "RGB", "RGBA"), 16384),  # libavif decodes at most 2^28 pixels, this squared
    Format("JPEG", (".jpg", ".jpeg"), ("L", "RGB", "CMYK"), 65500),  # JPEG_MAX_DIMENSION of libjpeg
    Format("BMP", (".bmp",), ("1", "L", "P", "RGB"), most_bytes=_4_GB),
    Format("PPM", (".ppm",), ("1", "L", "I;16", "RGB")),
)
WRITABLE = tuple(ending for kind in FORMATS for ending in kind.endings)
READABLE = (*WRITABLE, ".gif", ".pgm", ".pbm", ".pnm")

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"....ftyp(avi[fs]|mif1)", "AVIF"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"GIF8[79]a", "GIF"),
    (rb"BM", "BMP"),
    (rb"P[1-6]\s", "PPM"),
)


def detect_format(file: IO[bytes], name: str) -> str:
    """Tell the format of an open image file by its content.

    Args:
        file: At its start, where it is left.
        name: Of the file, for the message.

    Returns:
        The format's name, such as "PNG".

    Raises:
        InputError: It is not an image that pysr reads.
    """
    start = file.read(16)  # more than any of the patterns needs
    file.seek(0)
    for magic, kind in _MAGIC:
        if re.match(magic, start, re.DOTALL):
            return kind
    what = "is empty" if not start else "is not an image that pysr can read"
    raise InputError(f"{name!r} {what}; give a PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF or PPM file")
