"""Metadata in AVIF and HEIC files (HEIF, ISO 23008-12), and in JPEG 2000 files (ISO 15444-1, annex I)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO

from ..boxes import boxes
from . import exif
from .exif import ORIENTATION
from .model import Metadata
from .photoshop import wrap_iptc
from .tags import SHORT, Tag, TagBlock
from .xmp import as_utf8

_MOST_BOX, _MOST_ITEM = 2**24, 2**28
_XMP, _EXIF = bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), b"JpgTiffExif->JP2"
_IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_TURNS = {  # (quarter turns anticlockwise, whether and how it is mirrored): EXIF's orientation
    (0, None): 1,
    (1, None): 8,
    (2, None): 3,
    (3, None): 6,
    (0, 0): 4,
    (1, 0): 5,
    (2, 0): 2,
    (3, 0): 7,
    (0, 1): 2,
    (1, 1): 7,
    (2, 1): 4,
    (3, 1): 5,
}


@dataclass
class _Items:
    """The items of a file: images and metadata.

    ``extents`` are (method, start, length) of an item's parts, ``described`` the items that an item of metadata is for.
    """

    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    of_item: dict[int, list[int]] = field(default_factory=dict)
    described: dict[int, set[int]] = field(default_factory=dict)
    primary: int = 0
    contents: bytes = b""


def read_heif(file: IO[bytes]) -> Metadata:
    """Read the metadata of an AVIF or HEIC file.

    The orientation in the EXIF is that of the file's own transformations, which readers of this format must use.
    """
    items, found = _Items(), Metadata()
    try:
        for kind, data in _top_boxes(file):
            if kind == b"meta":
                _read_boxes(data[4:], items)
            elif data.startswith(_C2PA):
                found = found.with_lost("C2PA manifest", "its signature holds for the old image only")
        return _with_items(file, items, found)
    except (struct.error, IndexError, ValueError):
        return found.with_lost("metadata", "they are damaged")


def avif_arguments(metadata: Metadata) -> dict[str, bytes]:
    """Return metadata as arguments with which Pillow writes an AVIF file.

    The EXIF has no orientation then: Pillow would take it out, and rebuild the block.
    """
    parts = {"icc_profile": metadata.icc, "xmp": metadata.xmp}
    if metadata.exif:
        block = TagBlock(bytearray(metadata.exif))
        block.remove(block.directory(block.first), ORIENTATION)
        parts["exif"] = bytes(block.data)
    return {name: data for name, data in parts.items() if data}


def read_jpeg2000(file: IO[bytes]) -> Metadata:
    """Read the metadata of a JPEG 2000 file: the colour profile, and boxes of other programs."""
    found = Metadata()
    for kind, data in _top_boxes(file):
        if kind == b"jp2h":
            profiles = [box[3:] for inner, box in boxes(data) if inner == b"colr" and box[:1] in (b"\2", b"\3")]
            found = replace(found, icc=profiles[0] if profiles else b"")
        elif data.startswith(_XMP):
            found = replace(found, xmp=as_utf8(data[16:]))
        elif data.startswith(_EXIF):
            found = replace(found, exif=data[16:].removeprefix(b"Exif\0\0"))
        elif data.startswith(_IPTC):
            found = replace(found, photoshop=wrap_iptc(data[16:]))
    return replace(found, resolution=exif.find_resolution(found.exif))


def _top_boxes(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, contents) of the boxes that hold metadata."""
    position = 0
    while True:
        file.seek(position)
        if len(header := file.read(8)) < 8:
            return
        size, kind = struct.unpack(">I4s", header)
        start = 8
        if size == 1:
            size, start = struct.unpack(">Q", file.read(8))[0], 16
        if kind in (b"meta", b"uuid", b"jp2h") and start <= size <= _MOST_BOX:
            yield kind, file.read(size - start)
        if size < start:  # 0: it goes on to the end of the file
            return
        position += size


def _read_boxes(data: bytes, items: _Items) -> None:
    for kind, box in boxes(data):
        if kind == b"ipco":
            items.properties = list(boxes(box))
        elif kind == b"pitm":
            items.primary = _Fields(box, 4).number(2 if box[0] == 0 else 4)
        elif kind == b"iinf":
            for _, entry in boxes(box[6 if box[0] == 0 else 8 :]):
                fields = _Fields(entry, 4)
                number = fields.number(2 if entry[0] < 3 else 4)
                items.kinds[number] = entry[fields.at + 2 :]
        elif kind == b"iloc":
            items.extents = dict(_locations(box))
        elif kind == b"idat":
            items.contents = box
        elif kind == b"iref":
            items.described = _descriptions(box)
        elif kind == b"ipma":
            items.of_item = dict(_associations(box))


def _with_items(file: IO[bytes], items: _Items, found: Metadata) -> Metadata:
    usual = {items.primary}  # what an item is for that does not say it
    own = [(item, kind) for item, kind in items.kinds.items() if usual & items.described.get(item, usual)]
    blocks = [item for item, kind in own if kind.startswith(b"Exif")]
    packets = [item for item, kind in own if kind.startswith(b"mime") and b"rdf+xml" in kind]
    if blocks:
        data = _item(file, items, blocks[-1])
        start = 4 + struct.unpack_from(">I", data)[0]
        found = replace(found, exif=data[start:].removeprefix(b"Exif\0\0"))
    if packets:
        found = replace(found, xmp=as_utf8(_item(file, items, packets[-1])))
    properties = [items.properties[at] for at in items.of_item.get(items.primary, ())]
    profiles = [box[4:] for kind, box in properties if kind == b"colr" and box[:4] in (b"prof", b"rICC")]
    found = replace(found, icc=profiles[0] if profiles else b"", exif=_with_orientation(found.exif, dict(properties)))
    for name in sorted({_auxiliary(box) for kind, box in items.properties if kind == b"auxC"} - {"alpha"}):
        found = found.with_lost(name, "it belongs to the old image")
    if any(kind.startswith(b"tmap") for kind in items.kinds.values()):
        found = found.with_lost("gain map", "it belongs to the old image")
    return replace(found, resolution=exif.find_resolution(found.exif))


def _item(file: IO[bytes], items: _Items, item: int) -> bytes:
    parts, extents = [], items.extents.get(item, [])
    if sum(length for _, _, length in extents) > min(_MOST_ITEM, file.seek(0, io.SEEK_END)):
        raise ValueError("an item is longer than the file, or than any metadata")
    for method, start, length in extents:
        if method == 1:
            parts.append(items.contents[start : start + length])
        else:
            file.seek(start)
            parts.append(file.read(length))
    return b"".join(parts)


def _auxiliary(box: bytes) -> str:
    urn = box[4:].partition(b"\0")[0]
    if b"alpha" in urn or urn.endswith(b"auxid:1"):
        return "alpha"
    if b"depth" in urn or b"disparity" in urn or urn.endswith(b"auxid:2"):
        return "depth map"
    return "gain map" if b"gainmap" in urn else "further images"


def _with_orientation(block: bytes, own: dict[bytes, bytes]) -> bytes:
    """Write the file's own transformations into the EXIF block, as an orientation."""
    angle = own[b"irot"][0] & 3 if own.get(b"irot") else 0
    axis = own[b"imir"][0] & 1 if own.get(b"imir") else None
    orientation = _TURNS[angle, axis]
    if (exif.find_orientation(block) or 1) == orientation:
        return block
    order = TagBlock(block).order if exif.is_readable(block) else "<"
    return exif.with_tags(block, {ORIENTATION: Tag(SHORT, 1, struct.pack(order + "H", orientation))})


class _Fields:
    """Numbers read one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def number(self, size: int) -> int:
        self.at += size
        if self.at > len(self.data):
            raise ValueError("a box is too short")
        return int.from_bytes(self.data[self.at - size : self.at], "big")


def _locations(box: bytes) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    version, fields = box[0], _Fields(box, 4)
    sizes = fields.number(2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(fields.number(2 if version < 2 else 4)):
        item = fields.number(2 if version < 2 else 4)
        method = fields.number(2) & 15 if version else 0
        fields.number(2)
        start = fields.number(base)
        extents = []
        count = fields.number(2)
        if count > 1 and not offset + length:
            raise ValueError("an item has several parts without places")
        for _ in range(count):
            fields.number(index if version else 0)
            at = fields.number(offset)
            extents.append((method, start + at, fields.number(length)))
        yield item, extents


def _descriptions(box: bytes) -> dict[int, set[int]]:
    """Read which items the items of metadata are for (references of the kind "cdsc", ISO/IEC 14496-12, 8.11.12)."""
    found: dict[int, set[int]] = {}
    size = 4 if box[0] else 2
    for kind, reference in boxes(box[4:]):
        fields = _Fields(reference, 0)
        if kind == b"cdsc":
            item = fields.number(size)
            found.setdefault(item, set()).update(fields.number(size) for _ in range(fields.number(2)))
    return found


def _associations(box: bytes) -> Iterator[tuple[int, list[int]]]:
    fields = _Fields(box, 4)
    wide = box[3] & 1
    for _ in range(fields.number(4)):
        item = fields.number(2 if box[0] == 0 else 4)
        numbers = [fields.number(2 if wide else 1) & (0x7FFF if wide else 0x7F) for _ in range(fields.number(1))]
        yield item, [number - 1 for number in numbers if number]
