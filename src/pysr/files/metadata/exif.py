"""EXIF: what is read from it, added to it and taken out of it.

A block is that of TIFF's structure, without the "Exif\\0\\0" that JPEG writes before it. `PIL.Image.Exif` cannot change
one, as it rebuilds the block and so moves the maker note (see `tags`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from .resolution import Resolution
from .tags import (
    ASCII,
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
    UTF8,
    DamagedTagsError,
    Tag,
    TagBlock,
    pack_block,
    text_tag,
)

EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
POINTERS = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
DESCRIPTION, SOFTWARE, DATE_TIME, ARTIST, COPYRIGHT = 270, 305, 306, 315, 33432
_UNITS = {1: "", 2: "inch", 3: "cm"}

_TEXT = (ASCII, UTF8)
DESCRIPTIVE: Mapping[int, tuple[str, tuple[int, ...]]] = {  # tags of a TIFF that describe the photograph, not the file
    269: ("DocumentName", _TEXT),
    DESCRIPTION: ("ImageDescription", _TEXT),
    271: ("Make", _TEXT),
    272: ("Model", _TEXT),
    ORIENTATION: ("Orientation", (SHORT,)),
    X_RESOLUTION: ("XResolution", (RATIONAL,)),
    Y_RESOLUTION: ("YResolution", (RATIONAL,)),
    285: ("PageName", _TEXT),
    RESOLUTION_UNIT: ("ResolutionUnit", (SHORT,)),
    SOFTWARE: ("Software", _TEXT),
    DATE_TIME: ("DateTime", _TEXT),
    ARTIST: ("Artist", _TEXT),
    316: ("HostComputer", _TEXT),
    18246: ("Rating", (SHORT,)),
    18249: ("RatingPercent", (SHORT,)),
    COPYRIGHT: ("Copyright", _TEXT),
    36867: ("DateTimeOriginal", _TEXT),
    40091: ("XPTitle", (BYTE, UNDEFINED)),
    40092: ("XPComment", (BYTE, UNDEFINED)),
    40093: ("XPAuthor", (BYTE, UNDEFINED)),
    40094: ("XPKeywords", (BYTE, UNDEFINED)),
    40095: ("XPSubject", (BYTE, UNDEFINED)),
    50341: ("PrintImageMatching", (UNDEFINED,)),
    EXIF_IFD: ("EXIF", (LONG, 13)),
    GPS_IFD: ("GPS", (LONG, 13)),
}


def is_readable(exif: bytes) -> bool:
    """Tell whether the structure of a block is sound enough for it to be kept."""
    try:
        block = TagBlock(exif)
        return bool(block.directory(block.first).entries)
    except DamagedTagsError:
        return False


def find_orientation(exif: bytes) -> int | None:
    """Return the orientation that a block notes, 1 to 8; 0 if it is not a number of EXIF's type, None without one."""
    found = _first_entry(exif, ORIENTATION)
    if found is None:
        return None
    type, values = found
    return int(values[0]) if type in (SHORT, LONG) and values and 1 <= values[0] <= 8 else 0


def find_resolution(exif: bytes) -> Resolution | None:
    """Return the resolution that a block notes."""
    x, y, unit = (_first_entry(exif, tag) for tag in (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT))
    if not (x and y and x[1] and y[1]):
        return None
    return Resolution.checked(x[1][0], y[1][0], _UNITS.get(int(unit[1][0]) if unit and unit[1] else 2, "inch"))


def _first_entry(exif: bytes, tag: int) -> tuple[int, tuple[float, ...]] | None:
    """The type and the numbers of a tag of the first directory."""
    if not is_readable(exif):
        return None
    block = TagBlock(exif)
    entry = block.directory(block.first).get(tag)
    return (entry.type, block.numbers(entry)) if entry else None


def descriptive_tags(block: TagBlock) -> tuple[dict[int, Tag], list[str]]:
    """Copy the tags of `DESCRIPTIVE`, and name those that are of another type than the standard's and so left out."""
    directory = block.directory(block.first)
    kept = {}
    wrong = [DESCRIPTIVE[tag][0] for tag in directory.unreadable if tag in DESCRIPTIVE]
    for tag, value in block.tags(directory, POINTERS).items():
        name, types = DESCRIPTIVE.get(tag, ("", ()))
        single = value.type not in (SHORT, RATIONAL) or value.count == 1
        if name and (value.type not in types or not single or _is_no_unit(tag, value, block.order)):
            wrong.append(name)
        elif name:
            kept[tag] = replace(value, type=ASCII) if value.type == UTF8 else value
    missing = [tag for tag in (EXIF_IFD, GPS_IFD) if directory.get(tag) and tag not in kept]
    return kept, wrong + [DESCRIPTIVE[tag][0] for tag in missing]


def _is_no_unit(tag: int, value: Tag, order: str) -> bool:
    return tag == RESOLUTION_UNIT and struct.unpack_from(order + "H", value.data)[0] not in _UNITS


# --- changes ---------------------------------------------------------------------------------------------------------


def with_tags(exif: bytes, tags: Mapping[int, Tag]) -> bytes:
    """Return a block with tags added to its first directory, or replaced there; ``tags`` hold no numbers but text."""
    if not is_readable(exif):
        return pack_block(tags, "<")
    block = TagBlock(bytearray(exif))
    block.add(tags)
    return bytes(block.data)


def with_text(exif: bytes, tag: int, text: str) -> bytes:
    """Return a block with a tag of text."""
    return with_tags(exif, {tag: text_tag(text)})


def find_text(exif: bytes, tag: int) -> str:
    """Return the text of a tag of the first directory; "" where there is none."""
    if not is_readable(exif):
        return ""
    block = TagBlock(exif)
    entry = block.directory(block.first).get(tag)
    return block.bytes_of(entry).rstrip(b"\0").decode("utf-8", "replace") if entry and entry.type in _TEXT else ""


def with_resolution(exif: bytes, resolution: Resolution) -> bytes:
    """Return a block that notes a resolution."""
    if find_resolution(exif) == resolution:
        return exif
    return with_tags(exif, resolution_tags(resolution, TagBlock(exif).order if is_readable(exif) else "<"))


def resolution_tags(resolution: Resolution, order: str) -> dict[int, Tag]:
    """Return a resolution as tags, in the byte order "<" or ">"."""
    unit = {"": 1, "inch": 2, "cm": 3, "metre": 3}[resolution.unit]
    tags = {RESOLUTION_UNIT: Tag(SHORT, 1, struct.pack(order + "H", unit))}
    for tag, value in zip((X_RESOLUTION, Y_RESOLUTION), resolution.per(_UNITS[unit] or "cm"), strict=True):
        fraction = Fraction(value).limit_denominator(10_000)
        tags[tag] = Tag(RATIONAL, 1, struct.pack(order + "II", *fraction.as_integer_ratio()))
    return tags


def without_gps(exif: bytes) -> bytes:
    """Return a block without the position of the photograph, blanked where it stood."""
    block = TagBlock(bytearray(exif))
    directory = block.directory(block.first)
    position = block.sub_directory(directory, GPS_IFD)
    if position:
        for entry in position.entries:
            block.data[entry.value : entry.value + entry.size] = bytes(entry.size)
        end = position.entries[-1].position + block.entry_size if position.entries else position.position
        block.data[position.position : end] = bytes(end - position.position)
    block.remove(directory, GPS_IFD)
    return bytes(block.data)
