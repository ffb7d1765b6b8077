"""Metadata of photographs (EXIF, XMP): the orientation is applied, and the rest is kept unchanged."""

from __future__ import annotations

import logging
import re
import struct
from contextlib import suppress
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ..errors import format_error

_log = logging.getLogger(__name__)

_TURNS = range(2, 9)  # of EXIF's orientations, those that are not upright


def make_upright(image: Image.Image, name: str) -> int:
    """Set the orientation in an image's EXIF and XMP to 1, and return what it was.

    `PIL.ImageOps.exif_transpose` cannot be used here: it rebuilds the EXIF block, which moves the maker note, and many
    cameras address its contents by offsets from the start of the block. So only the few bytes that must change are
    changed, in place.

    Args:
        image: An image opened from a file, whose ``info`` is changed; EXIF is read from it or, in TIFF, from the tags.
        name: The file's name, for the log: damaged EXIF is left out of ``info`` with a warning.

    Returns:
        How the pixels must be turned to be upright, 1 to 8; see `turned`.
    """
    orientation, exif = 1, b""
    try:
        Image.Exif().load(image.info.get("exif", b""))  # raises if damaged, and getexif() not always
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        exif = _upright_exif(image, orientation)
    except Exception as error:  # damaged EXIF raises anything, and must not cost the image
        _log.warning("the EXIF data of %r are damaged and left out: %s", name, format_error(error))
    if orientation in _TURNS:
        for key in ("xmp", "XML:com.adobe.xmp"):
            if isinstance(image.info.get(key), str | bytes):
                image.info[key] = _upright_xmp(image.info[key])
    image.info.pop("exif", None)
    if exif:
        image.info["exif"] = exif
    return orientation if orientation in _TURNS else 1


def tiff_info(file: IO[bytes], offset: int, name: str) -> dict[Any, Any]:
    """Read the metadata of a TIFF file's image as Pillow's ``info``: profile, EXIF, XMP and resolution.

    Args:
        file: The open file.
        offset: Where the image's directory begins.
        name: Of the file, for the log.
    """
    info: dict[Any, Any] = {}
    exif = Image.Exif()
    try:
        file.seek(0)
        exif.load_from_fp(file)  # learns the byte order
        exif.load_from_fp(file, offset)
        for key, tag in (("icc_profile", ExifTags.Base.InterColorProfile), ("xmp", ExifTags.Base.XMLPacket)):
            if isinstance(exif.get(tag), bytes):
                info[key] = exif[tag]
        unit = {2: 1.0, 3: 2.54}.get(exif.get(ExifTags.Base.ResolutionUnit, 2))
        across, down = exif.get(ExifTags.Base.XResolution), exif.get(ExifTags.Base.YResolution)
        if unit and across and down:
            info["dpi"] = float(across) * unit, float(down) * unit
        tags = described(exif)
        if ExifTags.Base.Orientation in tags:
            tags[ExifTags.Base.Orientation] = 1
        if len(tags):
            info["exif"] = tags.tobytes()
    except Exception as error:  # damaged EXIF raises anything, and must not cost the image
        _log.warning("the EXIF data of %r are damaged and left out: %s", name, format_error(error))
    return info


def header_orientation(image: Image.Image) -> int:
    """Return the orientation that an image's header notes, 1 to 8, without decoding the image."""
    exif = Image.Exif()
    with suppress(Exception):  # damaged EXIF raises anything, and turns nothing
        if "exif" in image.info:
            exif.load(image.info["exif"])
        elif image.format == "TIFF":
            exif = image.getexif()
        return int(exif.get(ExifTags.Base.Orientation, 1)) if exif.get(ExifTags.Base.Orientation) in _TURNS else 1
    return 1


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn pixels as EXIF's orientation says, so that they are upright.

    Args:
        pixels: (H, W) or (H, W, C).
        orientation: 1 to 8 (EXIF 2.32, section 4.6.4 A); at 1 nothing is turned.

    Returns:
        A contiguous array, (W, H) or (W, H, C) for orientations from 5 on.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def readable_exif(exif: bytes) -> bool:
    """Tell whether Pillow can read EXIF bytes."""
    try:
        Image.Exif().load(exif)
    except Exception:  # damaged EXIF raises anything
        return False
    return True


_SHORT = 3  # the TIFF type of a 16-bit number


def _upright_exif(image: Image.Image, orientation: int) -> bytes:
    """Return the EXIF bytes unchanged, except that a rotated image gets orientation 1 and loses its old thumbnail.

    The bytes are a TIFF file (TIFF 6.0, section 2), perhaps behind "Exif\\0\\0": byte order, 42, and the offset of the
    first directory; there a count (2 bytes), entries of 12 bytes (tag, type, count, value or its offset), and the
    offset of the next directory, which describes the thumbnail.
    """
    exif: bytes = image.info.get("exif", b"")
    if not exif:
        tags = described(image.getexif())
        if ExifTags.Base.Orientation in tags:
            tags[ExifTags.Base.Orientation] = 1
        return tags.tobytes() if len(tags) else b""
    if orientation not in _TURNS:
        return exif
    data = bytearray(exif)
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    order = "<" if data[start : start + 2] == b"II" else ">"
    directory = start + struct.unpack_from(order + "I", data, start + 4)[0]
    end = directory + 2 + 12 * struct.unpack_from(order + "H", data, directory)[0]
    for entry in range(directory + 2, end, 12):
        if struct.unpack_from(order + "H", data, entry)[0] == ExifTags.Base.Orientation:
            struct.pack_into(order + "HIHH", data, entry + 2, _SHORT, 1, 1, 0)  # one value, and it is 1
    if end + 4 <= len(data):
        struct.pack_into(order + "I", data, end, 0)  # no next directory
    return bytes(data)


def _upright_xmp(xmp: str | bytes) -> str | bytes:
    if isinstance(xmp, str):
        return re.sub(r'(tiff:Orientation(?:="|>))[2-8]', r"\g<1>1", xmp)
    return re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", xmp)


_Tag = ExifTags.Base
_DESCRIPTIVE: tuple[int, ...] = (  # tags that describe the photograph, not the layout of the file
    *(_Tag.ImageDescription, _Tag.Make, _Tag.Model, _Tag.Orientation),
    *(_Tag.XResolution, _Tag.YResolution, _Tag.ResolutionUnit),
    *(_Tag.Software, _Tag.DateTime, _Tag.Artist, _Tag.HostComputer),
    *(_Tag.Rating, _Tag.RatingPercent, _Tag.Copyright),
    *(ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo),
)


def described(exif: Image.Exif) -> Image.Exif:
    """Copy the tags that describe the photograph, not the layout of its file."""
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) and tag in exif:
            kept[tag] = {inner: _bytes(value) for inner, value in exif.get_ifd(tag).items()}
        elif tag in exif:
            kept[tag] = _bytes(exif[tag])
    return kept


def _bytes(value: Any) -> Any:
    """Return text as the bytes that were in the file: Pillow reads them as Latin-1 and would write ASCII."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value
