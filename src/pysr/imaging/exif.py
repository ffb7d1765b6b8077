"""What photographs say about themselves (EXIF, XMP): which way is up, and the rest, kept as it is."""

from __future__ import annotations

import logging
import re
import struct
from typing import Any

from PIL import ExifTags, Image

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
    """The image turned as its EXIF orientation says; its kept EXIF and XMP say 1.

    EXIF that cannot be understood is left out of ``info``, with a log warning that names the file ``name``.
    """
    orientation, exif = 1, b""
    try:
        Image.Exif().load(image.info.get("exif", b""))  # raises if damaged, and getexif() not always
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        exif = _upright_exif(image, orientation)
    except Exception as error:  # as for decoders: damaged EXIF raises anything, and must not cost the image
        _log.warning("the EXIF data of %r are damaged and left out: %s", name, error)
    if orientation in _TURN_BACK:
        image = image.transpose(_TURN_BACK[orientation])
        for key in ("xmp", "XML:com.adobe.xmp"):
            if isinstance(image.info.get(key), str | bytes):
                image.info[key] = _upright_xmp(image.info[key])
    image.info.pop("exif", None)
    if exif:
        image.info["exif"] = exif
    return image


def _upright_exif(image: Image.Image, orientation: int) -> bytes:
    """The EXIF bytes as they are, except that a turned image gets orientation 1 and loses its turned thumbnail."""
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
            struct.pack_into(order + "HIHH", data, entry + 2, 3, 1, 1, 0)
    if end + 4 <= len(data):
        struct.pack_into(order + "I", data, end, 0)
    return bytes(data)


def _upright_xmp(xmp: str | bytes) -> str | bytes:
    if isinstance(xmp, str):
        return re.sub(r'(tiff:Orientation(?:="|>))[2-8]', r"\g<1>1", xmp)
    return re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", xmp)


_DESCRIPTIVE = (  # tags that say something about the photograph, not about the layout of the file
    *(270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316),  # description, camera, orientation, resolution, who, when
    *(18246, 18249, 33432),  # rating, copyright
    *(ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo),
)


def described(exif: Image.Exif) -> Image.Exif:
    """A copy of the tags that describe the photograph."""
    kept = Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) and tag in exif:
            kept[tag] = {inner: _bytes(value) for inner, value in exif.get_ifd(tag).items()}
        elif tag in exif:
            kept[tag] = _bytes(exif[tag])
    return kept


def _bytes(value: Any) -> Any:
    """Text as it stood in the file: Pillow reads it as Latin-1 and would write it as ASCII."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value
