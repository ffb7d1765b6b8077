"""How lossily an image file is compressed: JPEG's quality, and whether WebP, AVIF or TIFF threw anything away."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, JpegImagePlugin

from .jpeg_image import JpegImage
from .metadata.jpeg import segments
from .streams import Source, open_for_reading
from .tiff_header import COMPRESSION, read_directories
from .tiff_layout import LOSSY

HEADER = 1 << 16  # bytes; a WebP file names its codec in the first chunk but for metadata, which may come before it

# ITU-T T.81 (JPEG), table K.1, luma, in rows from top left: what libjpeg scales by its quality.
LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.int64,
).ravel()


@dataclass(frozen=True)
class Compression:
    """What a file's encoding costs.

    Attributes:
        lossy: Whether pixels were changed when the file was written.
        quality: Of a JPEG file, 1 to 100 on libjpeg's scale; None for other formats.
        name: For messages, such as "JPEG of quality 75".
    """

    lossy: bool
    quality: int | None
    name: str


LOSSLESS = Compression(False, None, "lossless")


def compression_of(source: Source) -> Compression:
    """Tell how a file was compressed, by its content.

    Args:
        source: An image file, or one that is open for reading.

    Returns:
        What its headers say. Formats that are not known to lose anything count as lossless.

    Raises:
        InputError: The file is missing or unreadable.
    """
    with open_for_reading(source) as file:
        head = file.read(HEADER)
        if head.startswith(b"\xff\xd8"):
            return _jpeg(file)
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(file)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        lossy = _has_chunk(head, b"VP8 ")
        return Compression(lossy, None, "lossy WebP" if lossy else "lossless WebP")
    if head[4:8] == b"ftyp" and any(brand in head[8:64] for brand in (b"avif", b"avis", b"heic", b"heix", b"mif1")):
        return Compression(True, None, "AVIF" if b"avi" in head[8:64] else "HEIC")
    return LOSSLESS


def compression_of_image(image: Image.Image) -> Compression:
    """Tell how an image was compressed that Pillow has opened from a file.

    Args:
        image: Of any kind. What Pillow made of another image (cropped, converted, turned) says nothing of its file,
            and counts as lossless.

    Returns:
        As `compression_of`. WebP that was not opened by its name counts as lossy, as nearly all of it is.
    """
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return _of_tables(image.quantization)
    name = getattr(image, "filename", "")
    if image.format and name and Path(name).is_file():
        return compression_of(Path(name))
    if image.format in ("WEBP", "AVIF", "HEIF"):
        return Compression(True, None, image.format)
    return LOSSLESS


def jpeg_quality(table: list[int]) -> int:
    """The quality, 1 to 100, whose luma table comes nearest to a JPEG file's (64 numbers in rows).

    libjpeg multiplies table K.1 by 5000 / quality up to 50 and by 200 - 2 * quality from there on, in percent.
    Encoders with tables of their own get the quality of libjpeg that quantises about as coarsely.
    """
    qualities = np.arange(1, 101)
    percent = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    tables = np.clip((LUMA * percent[:, None] + 50) // 100, 1, 255)
    return int(qualities[np.abs(tables - np.array(table)).sum(1).argmin()])


def _jpeg(file: IO[bytes]) -> Compression:
    file.seek(0)
    try:
        deque(segments(file), 0)  # so that no crowd of them reaches Pillow
        file.seek(0)
        with JpegImage(file) as image:  # PIL.Image.open refuses large images
            tables = image.quantization
    except (OSError, SyntaxError, ValueError):
        tables = {}  # a damaged file is reported where it is decoded
    return _of_tables(tables)


def _of_tables(tables: dict[int, list[int]]) -> Compression:
    if 0 not in tables:
        return Compression(True, None, "JPEG")
    quality = jpeg_quality(tables[0])
    return Compression(True, quality, f"JPEG of quality {quality}")


def is_lossy_webp(file: IO[bytes]) -> bool:
    """Tell whether the pixels of an open WebP file went through the lossy codec; its position is kept."""
    place = file.tell()
    file.seek(0)
    head = file.read(HEADER)
    file.seek(place)
    return _has_chunk(head, b"VP8 ")


def _has_chunk(head: bytes, name: bytes) -> bool:
    """Whether a RIFF file has a chunk of that name among those that begin within ``head``, or one in a frame."""
    at = 12
    while at + 8 <= len(head):
        kind, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if kind == name or (kind == b"ANMF" and head[at + 24 : at + 28] == name):  # after 16 bytes of frame header
            return True
        at += 8 + length + length % 2
    return False


def _tiff(file: IO[bytes]) -> Compression:
    file.seek(0)
    try:
        pages = read_directories(file)[0]
        compression = next((page for page in pages if page.is_image), pages[0]).one(COMPRESSION, 1)
    except (OSError, ValueError, OverflowError):
        return LOSSLESS  # a damaged file is reported where it is decoded
    return Compression(True, None, f"TIFF with {LOSSY[compression]} inside") if compression in LOSSY else LOSSLESS
