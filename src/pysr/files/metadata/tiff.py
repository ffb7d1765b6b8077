"""Metadata in TIFF files (TIFF 6.0; BigTIFF; Adobe's technical notes on XMP and Photoshop)."""

from __future__ import annotations

import io
import mmap
import re
import shutil
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, Any

from . import exif, photoshop
from .exif import DESCRIPTION, DESCRIPTIVE, ORIENTATION, RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION
from .model import Metadata
from .tags import BYTE, LONG, SHORT, UNDEFINED, DamagedTagsError, Directory, Tag, TagBlock, pack_block, swapped
from .xmp import as_utf8

_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
_PACKETS = (_XMP, _IPTC, _PHOTOSHOP, _ICC)
_RESOLUTION = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
_OF_THE_FILE = {  # how the pixels are stored
    *(*range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 317, *range(320, 348)),
    *(*range(512, 533), 559, 32781, *range(32995, 32999), 34016, 34712, 50674),
}
_RAW = {33421, 33422, 50706}  # what tells a camera's raw file
_SUBFILE, _NO_IMAGE = 254, 5  # NewSubfileType: a thumbnail, a mask
_CODES = {SHORT: "H", LONG: "I"}
_PADDING = 59932  # empty room that Windows leaves
_NAMES = {
    **dict.fromkeys((33550, 33922, 34264, 34735, 34736, 34737), "GeoTIFF"),
    **dict.fromkeys((42112, 42113), "GDAL metadata"),
    **dict.fromkeys((50838, 50839), "ImageJ metadata"),
    **dict.fromkeys((301, 318, 319), "colours of the TIFF"),
    37724: "Photoshop layers",
}
_OF_OLD_PIXELS = re.compile(rb'\s*(?:\{"(?:shape|axes)"|<\?xml.{,2000}?<OME\b|<OME\b|ImageJ=|SCANIMAGE)', re.DOTALL)


def read_tiff(file: IO[bytes], position: int | None = None) -> Metadata:
    """Read the metadata of an image in a TIFF file.

    Args:
        file: Open for reading, seekable.
        position: Where the directory of the image begins; default: that of the first image that is no thumbnail.
    """
    try:
        block = TagBlock(_mapped(file))
        block.first = _find_image(block) if position is None else position
        directory = block.directory(block.first)
    except DamagedTagsError as error:
        return Metadata().with_lost("metadata", f"they are damaged: {error}")
    tags, wrong = exif.descriptive_tags(block)
    found = Metadata(lost=())
    for name in wrong:
        found = found.with_lost(f"TIFF tag {name}", "it is of another type than the standard's, or damaged")
    if DESCRIPTION in tags and _OF_OLD_PIXELS.match(tags[DESCRIPTION].data):
        del tags[DESCRIPTION]
        found = found.with_lost("ImageDescription", "it describes the old pixels")
    packets = block.tags(replace(directory, entries=tuple(e for e in directory.entries if e.tag in _PACKETS)))
    for name, reason in _unknown(directory):
        found = found.with_lost(name, reason)
    found = replace(
        found,
        exif=pack_block(tags, block.order) if tags else b"",
        xmp=as_utf8(packets[_XMP].data) if _XMP in packets else b"",
        icc=packets[_ICC].data if _ICC in packets else b"",
        photoshop=_resources(packets),
    )
    return replace(found, resolution=exif.find_resolution(found.exif))


def is_odd(file: IO[bytes]) -> bool:
    """Tell whether tags that describe the photograph, of wrong types, could keep a decoder from its pixels."""
    try:
        block = TagBlock(_mapped(file))
        block.first = _find_image(block)
        directory = block.directory(block.first)
        wrong = exif.descriptive_tags(block)[1]
    except DamagedTagsError:
        return False
    packets = (directory.get(tag) for tag in (_XMP, _ICC))
    return bool(wrong) or any(packet and packet.type not in (BYTE, UNDEFINED) for packet in packets)


def pixels_only(file: IO[bytes]) -> IO[bytes]:
    """Return a TIFF file whose directories hold nothing but what decoders need."""
    file.seek(0)
    block = TagBlock(bytearray(file.read()))
    position, seen = block.first, set[int]()
    turn = exif.find_orientation(block.data)
    while position and position not in seen:
        seen.add(position)
        directory = block.directory(position)
        block.keep(directory, _OF_THE_FILE | _RAW | ({ORIENTATION} if turn else set()))
        position = directory.next
    return io.BytesIO(block.data)


def _find_image(block: TagBlock) -> int:
    """Find the directory of the first image that is neither a thumbnail nor a mask; else the first there is."""
    position, seen = block.first, set[int]()
    while position and position not in seen:
        seen.add(position)
        directory = block.directory(position)
        kind = directory.get(_SUBFILE)
        if not (kind and kind.type in (SHORT, LONG) and block.unpack(_CODES[kind.type], kind.value) & _NO_IMAGE):
            return position
        position = directory.next
    return block.first


def _mapped(file: IO[bytes]) -> Any:
    """The contents of a file, without reading more of it than is looked at, where the system can do that."""
    if isinstance(file, io.BytesIO):
        return file.getvalue()  # which copies nothing
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # not a file of the disk, or an empty one
        file.seek(0)
        return file.read()


def _resources(packets: Mapping[int, Tag]) -> bytes:
    resources = packets[_PHOTOSHOP].data if _PHOTOSHOP in packets else b""
    if _IPTC in packets and not photoshop.find_iptc(resources):
        records = packets[_IPTC]
        turned = records.type == LONG and not records.data.startswith(b"\x1c")  # some programs swapped the bytes
        resources += photoshop.wrap_iptc((swapped({_IPTC: records})[_IPTC] if turned else records).data)
    return resources


def _unknown(directory: Directory) -> list[tuple[str, str]]:
    """Name the tags that are not kept."""
    known = {*DESCRIPTIVE, *_PACKETS, *_OF_THE_FILE, _PADDING}
    names = {_NAMES.get(entry.tag, f"TIFF tag {entry.tag}") for entry in directory.entries if entry.tag not in known}
    return [(name, "it may speak of the old pixels") for name in sorted(names)]


def describe_left_out(block: TagBlock) -> list[tuple[str, str]]:
    """Name the tags of an EXIF block that its copy in a TIFF file lacks, and say why."""
    _, wrong = exif.descriptive_tags(block)
    reason = "it is of another type than the standard's, or damaged"
    return [(f"EXIF {name}", reason) for name in wrong] + _unknown(block.directory(block.first))


# --- writing ---------------------------------------------------------------------------------------------------------


def embed_tiff(encoded: IO[bytes], target: IO[bytes], metadata: Metadata) -> None:
    """Copy a TIFF file with its metadata replaced, as by `append_tiff`."""
    encoded.seek(0)
    shutil.copyfileobj(encoded, target)
    append_tiff(target, metadata)


def append_tiff(file: IO[bytes], metadata: Metadata) -> None:
    """Replace the metadata of the first image in a TIFF file: its directory is written anew at the end.

    What describes the photograph is replaced as a whole; a resolution stays where ``metadata`` has none.

    Args:
        file: Open for reading and writing.
        metadata: As `fit` returns them for this format.
    """
    file.flush()
    block = TagBlock(_mapped(file))
    directory = block.directory(block.first)
    tags = tiff_tags(metadata, block.order)
    replaced = {*DESCRIPTIVE, *_PACKETS} - ({*_RESOLUTION} - {*tags})
    length, link, position_format = len(block.data), block.link, block.order + block.position_code
    position = length + length % 2
    behind = block.merged(directory, tags, position, replaced)
    del block, directory  # and the mapping, as Windows changes no file that is mapped
    file.seek(0, io.SEEK_END)
    file.write(bytes(length % 2) + behind)
    file.seek(link)
    file.write(struct.pack(position_format, position))
    file.seek(0, io.SEEK_END)


def tiff_tags(metadata: Metadata, order: str) -> dict[int, Tag]:
    """Return metadata as tags of the first directory of a TIFF file, in the byte order "<" or ">"."""
    tags: dict[int, Tag] = {}
    if exif.is_readable(metadata.exif):
        block = TagBlock(metadata.exif)
        tags = exif.descriptive_tags(block)[0]
        tags = tags if block.order == order else swapped(tags)
    if metadata.resolution:
        tags |= exif.resolution_tags(metadata.resolution, order)
    packets = ((_XMP, BYTE, metadata.xmp), (_IPTC, UNDEFINED, metadata.iptc), (_ICC, UNDEFINED, metadata.icc))
    tags |= {tag: Tag(type, len(data), data) for tag, type, data in packets if data}
    if photoshop.has_more_than_iptc(metadata.photoshop):
        tags[_PHOTOSHOP] = Tag(UNDEFINED, len(metadata.photoshop), metadata.photoshop)
    return tags
