"""Metadata of photographs (EXIF, XMP): the orientation is applied, and the rest is kept unchanged."""

from __future__ import annotations

import logging
import re
import struct
from typing import Any

from PIL import ExifTags, Image

from ..errors import format_error

_log = logging.getLogger(__name__)

_TURN_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, name: str) -> Image.Image:
    """Turn an image as its EXIF orientation says, and set the orientation in the kept EXIF and XMP to 1.

    `PIL.ImageOps.exif_transpose` cannot be used here: it rebuilds the EXIF block, which moves the maker note, and many
    cameras address its contents by offsets from the start of the block. So only the few bytes that must change are
    changed, in place.

    Args:
        image: A decoded image; EXIF is read from its ``info`` or, in TIFF, from its tags.
        name: The file's name, for the log: damaged EXIF is left out of ``info`` with a warning.

    Returns:
        The upright image, or ``image`` itself where it is upright already, with the EXIF as ``info["exif"]``.
    """
    orientation, exif = 1, b""
    try:
        Image.Exif().load(image.info.get("exif", b""))  # raises if damaged, and getexif() not always
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        exif = _upright_exif(image, orientation)
    except Exception as error:  # damaged EXIF raises anything, and must not cost the image
        _log.warning("the EXIF data of %r are damaged and left out: %s", name, format_error(error))
    if orientation in _TURN_BACK:
        image = image.transpose(_TURN_BACK[orientation])
        for key in ("xmp", "XML:com.adobe.xmp"):
            if isinstance(image.info.get(key), str | bytes):
                image.info[key] = _upright_xmp(image.info[key])
    image.info.pop("exif", None)
    if exif:
        image.info["exif"] = exif
    return image


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
    if orientation not in _TURN_BACK:
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
