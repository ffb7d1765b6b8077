"""The formats of image files: what each holds, and how a file's content tells which it is."""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO

from ..errors import InputError
from .zarr_store import is_description


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


_4_GB = 4.2e9  # BMP counts bytes in 32 bits, up to 4.29e9; the rest is room for headers and metadata
_INTEGERS = ("L", "I;16", "LA", "LA;16", "RGB", "RGB;16", "RGBA", "RGBA;16")
_FLOATS = ("F", "LA;F", "RGB;F", "RGBA;F")
FORMATS = (
    Format("PNG", (".png",), ("1", "P", *_INTEGERS)),
    Format("TIFF", (".tif", ".tiff"), ("1", "P", *_INTEGERS, *_FLOATS, "CMYK", "CMYK;16", "CMYK;F")),
    Format("WEBP", (".webp",), ("1", "L", "LA", "P", "RGB", "RGBA"), 16383),  # 14 bits
    Format("AVIF", (".avif",), ("L", "LA", "RGB", "RGBA"), 16384),  # libavif decodes at most 2^28 pixels, this squared
    Format("JPEG", (".jpg", ".jpeg", ".jfif", ".jpe"), ("L", "RGB", "CMYK"), 65500),  # JPEG_MAX_DIMENSION of libjpeg
    Format("BMP", (".bmp",), ("1", "L", "P", "RGB"), most_bytes=_4_GB),
    Format("PPM", (".ppm",), ("1", "L", "I;16", "RGB", "RGB;16")),
    Format("NPY", (".npy",), (*_INTEGERS, *_FLOATS)),
    Format("ZARR", (".zarr",), (*_INTEGERS, *_FLOATS)),
)
WRITABLE = tuple(ending for kind in FORMATS for ending in kind.endings)
ENDINGS = {kind.name: kind.endings for kind in FORMATS}
ANIMATIONS = {".gif": "GIF", ".apng": "PNG"}  # endings that are written for animations only
_HEIC = (".heic", ".heif", ".hif") if find_spec("pillow_heif") else ()
READABLE = (*WRITABLE, ".mpo", ".gif", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpf", ".jpx", *_HEIC)

DEVELOP = "develop it first, for example with darktable or RawTherapee, and give the TIFF or JPEG"
_DRAW = "draw it as PNG, for example with rsvg-convert or Inkscape"
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"....ftyp(avi[fs]|(mif1|msf1)....(....)*?avi[fs])", "AVIF"),
    (rb"....ftyp(hei[cxms]|hev[cxms]|(mif1|msf1)....(....)*?(hei|hev)[cxms])", "HEIC"),
    (rb"....ftypmif1", "AVIF"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG2000"),
    (rb"II[*+]\0(?!....CR)|MM\0[*+]", "TIFF"),
    (rb"GIF8[79]a", "GIF"),
    (rb"BM", "BMP"),
    (rb"P[1-6]\s", "PPM"),
    (rb"\x93NUMPY", "NPY"),
)
_ELSEWHERE: tuple[tuple[bytes, str, str], ...] = (  # a pattern, what such a file is, and what to do
    (rb"\xff\n|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL file", "convert it to PNG with djxl"),
    (rb"8BPS", "a Photoshop file", "save it as TIFF or PNG"),
    (
        rb"\x76\x2f\x31\x01",
        "an OpenEXR file of linear light",
        "convert it to a TIFF of sRGB, for example with oiiotool",
    ),
    (rb"II\*\0....CR|....ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb|\0MRM", "a camera's raw file", DEVELOP),
    (rb"%PDF|%!PS", "a document", "convert its pages to PNG, for example with pdftoppm"),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg\b", "a drawing (SVG)", _DRAW),
    (rb"PK\x03\x04", "a ZIP archive", "unpack it, a Zarr store into a folder of its own, such as map.zarr"),
    (rb"(?i)\s*<(!doctype html|html)\b", "a web page", "download the image itself"),
    (rb"version https://git-lfs", "a pointer of Git LFS", "fetch the image that it stands for, with git lfs pull"),
)
_KNOWN = 4096  # bytes at the start of a file that tell what it is


def format_of(start: bytes) -> str | None:
    """Tell a format, such as "PNG" or "JPEG", by the first 64 bytes of a file; None if they tell of none."""
    return next((kind for magic, kind in _MAGIC if re.match(magic, start[:64], re.DOTALL)), None)


def name_of_ending(ending: str) -> str:
    """Return the name of the format of files that end so, those for animations only included.

    Raises:
        InputError: pysr does not write such files.
    """
    return ANIMATIONS.get(f".{ending.lower().lstrip('.')}") or format_of_ending(ending).name


def format_of_ending(ending: str) -> Format:
    """Return the format of files that end so, such as JPEG for ".jpg" or "jpg".

    Raises:
        InputError: pysr does not write such files.
    """
    for kind in FORMATS:
        if f".{ending.lower().lstrip('.')}" in kind.endings:
            return kind
    raise InputError(f"pysr cannot write the format {ending!r}; it can write {', '.join(WRITABLE)}")


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
    if is_description(file):
        return "ZARR"
    start = file.read(_KNOWN)
    file.seek(0)
    if kind := format_of(start):
        return kind
    for magic, what, remedy in _ELSEWHERE:
        if re.match(magic, start, re.DOTALL):
            raise InputError(f"{name!r} is {what}, which pysr does not read; {remedy}")
    if _is_targa(file, start):
        return "TGA"
    what = "is empty" if not start else "is not an image that pysr can read"
    raise InputError(
        f"{name!r} {what}; give a PNG, JPEG, WebP, AVIF, TIFF, JPEG 2000, BMP, TGA, GIF, PPM, NPY or Zarr file"
    )


def _is_targa(file: IO[bytes], start: bytes) -> bool:
    """Recognise a TGA file, which has no magic number: by its footer, or a header whose every field makes sense."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - 26))
    footer = file.read()
    file.seek(0)
    if len(start) < 18:
        return False
    mapped, kind, width, height, depth, flags = start[1], start[2], *struct.unpack_from("<HHBB", start, 12)
    depths = {1: (8,), 9: (8,), 2: (15, 16, 24, 32), 10: (15, 16, 24, 32), 3: (8, 16), 11: (8, 16)}
    if depth not in depths.get(kind, ()) or not width or not height or flags & 0xC0 or mapped != (kind in (1, 9)):
        return False
    if footer[8:] == b"TRUEVISION-XFILE.\0":
        return True
    colour_map = struct.unpack_from("<HHB", start, 3)
    pixels = 18 + start[0] + colour_map[1] * ((colour_map[2] + 7) // 8) + width * height * ((depth + 7) // 8)
    return length == pixels if kind < 8 else colour_map == (0, 0, 0) and start[8:12] == bytes(4)
