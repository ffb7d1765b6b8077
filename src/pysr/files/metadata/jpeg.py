"""Metadata in JPEG files (ITU-T T.81, annex B; JFIF; Exif; XMP, part 3)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO

from . import exif, xmp
from .model import Metadata, TooManyPartsError
from .resolution import Resolution
from .tags import DamagedTagsError, TagBlock

MOST = 65_533  # bytes in a segment
_APP0, _APP1, _APP2, _APP11, _APP13, _COMMENT, _SCAN = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xFE, 0xDA
_END = b"\xff\xd9"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # but for tables
_NUMBER_OF_IMAGES = 0xB001
_JFIF, _EXIF, _XMP = b"JFIF\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_ICC, _PHOTOSHOP, _MPF = b"ICC_PROFILE\0", b"Photoshop 3.0\0", b"MPF\0"
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
_OWN = ((_APP1, _EXIF), (_APP1, _XMP), (_APP1, _EXTENSION), (_APP2, _ICC), (_APP13, _PHOTOSHOP), (_COMMENT, b""))
_OF_THE_FILE = (b"Adobe", b"Ducky", b"JFXX\0", b"JFIF\0")  # how the pixels were encoded, and the oldest thumbnails
MOST_EXIF, MOST_XMP = MOST - len(_EXIF), MOST - len(_XMP)
MOST_ICC, MOST_COMMENT = 255 * (MOST - len(_ICC) - 2), MOST
_MOST_EXTENSION = 2**26
_UNITS = ("", "inch", "cm")
_MOST_SEGMENTS = 10_000  # extended XMP of that length takes 1,024


@dataclass
class _Found:
    """The parts of metadata that are spread over several segments."""

    metadata: Metadata = field(default_factory=Metadata)
    icc: dict[int, bytes] = field(default_factory=dict)
    icc_count: int = 0
    photoshop: list[bytes] = field(default_factory=list)
    extension: dict[int, bytes] = field(default_factory=dict)
    extension_size: int = 0


def read_jpeg(file: IO[bytes]) -> Metadata:
    """Read the metadata of a JPEG file; what is damaged is left out and named."""
    found = _Found()
    for marker, data in segments(file):
        if marker == _SCAN:
            found.metadata = _with_rest(found.metadata, file)
        else:
            _take(found, marker, data)
    return _joined(found)


def segments(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, data) of each segment up to the pixels, where the file then stands.

    Raises:
        TooManyPartsError: There are more than any file needs.
    """
    file.seek(0)
    if file.read(2) != b"\xff\xd8":
        return
    count = 0
    while (byte := file.read(1)) == b"\xff":
        count += 1
        if count > _MOST_SEGMENTS:
            raise TooManyPartsError(f"it has over {_MOST_SEGMENTS} segments before its pixels")
        while byte == b"\xff":  # any number of them may come before a marker
            byte = file.read(1)
        size = file.read(2)
        if len(size) < 2 or not byte:
            return
        data = file.read(max(struct.unpack(">H", size)[0] - 2, 0))
        yield byte[0], data
        if byte[0] == _SCAN:
            return


def jpeg_size(file: IO[bytes]) -> tuple[int, int]:
    """Return the (width, height) that a JPEG file declares; zeros if there is none."""
    frames = (data for marker, data in segments(file) if marker in _FRAMES and len(data) > 4)
    height, width = struct.unpack_from(">HH", next(frames, bytes(5)), 1)
    return width, height


def _take(found: _Found, marker: int, data: bytes) -> None:
    known = found.metadata
    if marker == _APP0 and data.startswith(_JFIF) and len(data) >= 12:
        unit, x, y = struct.unpack_from(">BHH", data, 7)
        if unit < len(_UNITS):
            known = replace(known, resolution=Resolution.checked(x, y, _UNITS[unit]))
    elif marker == _APP1 and data.startswith(_EXIF):
        known = known if known.exif else replace(known, exif=data.removeprefix(_EXIF))
    elif marker == _APP1 and data.startswith(_XMP):
        known = replace(known, xmp=xmp.as_utf8(data.removeprefix(_XMP)))
    elif marker == _APP1 and data.startswith(_EXTENSION) and len(data) >= 75:
        found.extension_size, start = struct.unpack_from(">II", data, 67)
        found.extension[start] = data[75:]
    elif marker == _APP2 and data.startswith(_ICC) and len(data) >= 14:
        found.icc_count = data[13]
        found.icc[data[12]] = data[14:]
    elif marker == _APP13 and data.startswith(_PHOTOSHOP):
        found.photoshop.append(data.removeprefix(_PHOTOSHOP))
    elif marker == _COMMENT:
        known = known.with_comment(data)
    elif marker == _APP2 and data.startswith(_MPF):
        if count := _further_images(data.removeprefix(_MPF)):
            what = "a further image" if count == 1 else f"{count} further images"
            known = known.with_lost(what, "only the first image is enlarged")
    elif 0xE0 <= marker <= 0xEF and not data.startswith(_OF_THE_FILE):
        known = known.with_lost(*_unknown(marker, data))
    found.metadata = known


def _further_images(index: bytes) -> int:
    """Read the number of images beside the first from an index (MPF, CIPA DC-007, section 5.2.3.2)."""
    try:
        block = TagBlock(index)
        count = block.numbers(block.directory(block.first).get(_NUMBER_OF_IMAGES))
    except DamagedTagsError:
        return 0
    return int(count[0]) - 1 if count else 0


def _unknown(marker: int, data: bytes) -> tuple[str, str]:
    """Name a segment that cannot be kept, and say why."""
    if marker == _APP2 and data.startswith(_GAIN_MAP):
        return "gain map", "it belongs to the old image"
    if marker == _APP11 and b"c2pa" in data:
        return "C2PA manifest", "its signature holds for the old image only"
    name = data.partition(b"\0")[0][:16].decode("latin-1")
    return f"JPEG segment APP{marker - 0xE0} {name!r}", "its contents are not known"


def _with_rest(known: Metadata, file: IO[bytes]) -> Metadata:
    """Name what follows the end of the image: a motion photo's video, trailers of the maker.

    The pixels are only read if the file does not end as an image does; other images behind this one are listed before
    it (see `_unknown` and `xmp.COMPANIONS`).
    """
    start = file.tell()
    file.seek(max(file.seek(0, io.SEEK_END) - 64, start))
    if file.read().rstrip(b"\0").endswith(_END):
        return known
    file.seek(start)
    pixels = file.read()
    end = pixels.find(_END)
    rest = pixels[end + 2 :].strip(b"\0\xff") if end >= 0 else b""
    what = "video" if b"ftyp" in rest[:64] else f"{len(rest)} bytes behind the image"
    return known.with_lost(what, "only the image is enlarged") if rest else known


def _joined(found: _Found) -> Metadata:
    known = replace(found.metadata, photoshop=b"".join(found.photoshop))
    if found.icc:
        if sorted(found.icc) == list(range(1, found.icc_count + 1)):
            known = replace(known, icc=b"".join(found.icc[number] for number in sorted(found.icc)))
        else:
            known = known.with_lost("colour profile", "it is damaged: parts of it are missing")
    if found.extension:
        known = _with_extension(known, b"".join(found.extension[start] for start in sorted(found.extension)), found)
    return known if known.resolution else replace(known, resolution=exif.find_resolution(known.exif))


def _with_extension(known: Metadata, extension: bytes, found: _Found) -> Metadata:
    if len(extension) > _MOST_EXTENSION or xmp.is_too_large(extension, by_parts=True):
        return known.with_lost("extended XMP", f"its {len(extension)} bytes are more than pysr reads")
    if len(extension) != found.extension_size:
        return known.with_lost("extended XMP", "it is damaged: parts of it are missing")
    extension, companions = xmp.remove_companions(extension)
    for name in sorted(companions):
        known = known.with_lost(name, "it belongs to the old image")
    joined = xmp.merge(known.xmp, extension)
    return known.with_lost("extended XMP", "it is damaged") if joined is None else replace(known, xmp=joined)


# --- writing ---------------------------------------------------------------------------------------------------------


def embed_jpeg(encoded: IO[bytes], target: IO[bytes], metadata: Metadata) -> None:
    """Copy a JPEG file with its metadata replaced."""
    target.write(b"\xff\xd8" + _jfif(metadata.resolution) if _is_jfif(encoded) else b"\xff\xd8")
    target.write(jpeg_segments(metadata))
    for marker, data in segments(encoded):
        if (marker, _JFIF) != (_APP0, data[:5]) and not any(marker == m and data.startswith(s) for m, s in _OWN):
            target.write(_segment(marker, data))
    while part := encoded.read(2**20):
        target.write(part)


def _is_jfif(encoded: IO[bytes]) -> bool:
    return any(marker == _APP0 and data.startswith(_JFIF) for marker, data in segments(encoded))


def _jfif(resolution: Resolution | None) -> bytes:
    unit, x, y = 0, 1, 1
    if resolution:
        unit = _UNITS.index("cm" if resolution.unit == "cm" else "inch" if resolution.unit else "")
        x, y = (min(max(round(value), 1), 2**16 - 1) for value in resolution.per(_UNITS[unit] or "inch"))
    return _segment(_APP0, _JFIF + struct.pack(">HBHHBB", 0x0101, unit, x, y, 0, 0))


def jpeg_segments(metadata: Metadata) -> bytes:
    """Return metadata as the segments that stand at the start of a JPEG file.

    Each kind must fit; see `MOST_EXIF`, `MOST_ICC` and `MOST_COMMENT`.
    """
    parts = [_segment(_APP1, _EXIF + metadata.exif)] if metadata.exif else []
    main, extension = metadata.xmp, b""
    if len(main) > MOST_XMP:
        main, extension = xmp.split(main, MOST_XMP) or (b"", b"")
    if main:
        parts.append(_segment(_APP1, _XMP + main))
    if extension:
        digest = xmp.digest(extension)
        size = MOST - 75
        for start in range(0, len(extension), size):
            head = _EXTENSION + digest.encode() + struct.pack(">II", len(extension), start)
            parts.append(_segment(_APP1, head + extension[start : start + size]))
    parts += _numbered(metadata.icc)
    size = MOST - len(_PHOTOSHOP)
    for start in range(0, len(metadata.photoshop), size):  # readers join them
        parts.append(_segment(_APP13, _PHOTOSHOP + metadata.photoshop[start : start + size]))
    return b"".join(parts + [_segment(_COMMENT, comment) for comment in metadata.comments])


def _numbered(icc: bytes) -> list[bytes]:
    size = MOST - len(_ICC) - 2
    count = -(-len(icc) // size)
    return [
        _segment(_APP2, _ICC + bytes([number + 1, count]) + icc[number * size : (number + 1) * size])
        for number in range(count)
    ]


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data
