"""Directories of tags, as TIFF files and EXIF blocks have them (TIFF 6.0, section 2; BigTIFF).

A block begins with its byte order, 42 (BigTIFF: 43) and the position of the first directory. A directory is a count,
entries (tag, type, count, value or the position of the value) and the position of the next directory.

Blocks are edited in place wherever that is possible, not rebuilt: many cameras' maker notes address what is in them by
positions from the start of the block, so nothing in it may move. What grows is written anew at the end of the block.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, UTF8 = 1, 2, 3, 4, 5, 7, 129  # UTF8: of EXIF 3.0
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, UTF8: 1}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_SWAPPED = {5: 4, 10: 4} | {type: size for type, size in SIZES.items() if size > 1 and type not in (5, 10)}
_MOST_ENTRIES = 4096  # cameras write about a hundred
_SLACK = 2**15  # entries, or bytes, that may be read more than four times


class DamagedTagsError(ValueError):
    """A block of tags cannot be read."""


@dataclass(frozen=True)
class Tag:
    """The value of a tag.

    Attributes:
        type: Of TIFF 6.0, such as `SHORT`.
        count: How many values of that type there are.
        data: Their bytes, in the byte order of the block.
        children: The directory that the value points to, in place of ``data``.
    """

    type: int
    count: int
    data: bytes
    children: Mapping[int, Tag] | None = None


@dataclass(frozen=True)
class Entry:
    """Where an entry of a directory is: ``position`` its own, ``value`` that of its value, ``size`` bytes long."""

    tag: int
    type: int
    count: int
    position: int
    value: int
    size: int


@dataclass(frozen=True)
class Directory:
    """A directory.

    Attributes:
        position: Where it is.
        entries: Those that can be read.
        unreadable: The tags of the others: of unknown types, or with values outside of the block.
        link: Where the position of the next directory is noted; 0 where there is no room for that.
        next: The position of the next directory, 0 without one.
    """

    position: int
    entries: tuple[Entry, ...]
    unreadable: tuple[int, ...]
    link: int
    next: int

    def get(self, tag: int) -> Entry | None:
        """Return the entry of a tag, None where there is none."""
        return next((entry for entry in self.entries if entry.tag == tag), None)


class TagBlock:
    """A TIFF file or an EXIF block.

    Args:
        data: Its bytes: a bytearray if it is to be edited; otherwise any buffer, also a memory-mapped file.

    Raises:
        DamagedTagsError: It does not begin like one.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        start = bytes(data[:16])
        self.order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
        if not self.order or len(start) < 8:
            raise DamagedTagsError("it does not begin with a byte order")
        version = struct.unpack(self.order + "H", start[2:4])[0]
        self.big = version == 43
        if version not in (42, 43) or (self.big and len(start) < 16):
            raise DamagedTagsError(f"it is of the unknown version {version}")
        self.count_code, self.position_code = ("Q", "Q") if self.big else ("H", "I")
        self.entry_size = 20 if self.big else 12
        self.link = 8 if self.big else 4  # where the position of the first directory is noted
        self.first: int = self.unpack(self.position_code, self.link)
        self._room = 4 * len(data) // self.entry_size + _SLACK  # entries that may still be read
        self._copies = 4 * len(data) + _SLACK  # bytes of values that may still be copied

    def unpack(self, code: str, position: int) -> Any:
        """Read one number of a `struct` code."""
        try:
            return struct.unpack_from(self.order + code, self.data, position)[0]
        except (struct.error, OverflowError, ValueError):
            raise DamagedTagsError(f"it ends before position {position}") from None

    def directory(self, position: int) -> Directory:
        """Read a directory.

        Raises:
            DamagedTagsError: There is none, or it has more entries than any program writes.
        """
        count = self.unpack(self.count_code, position)
        start = position + struct.calcsize("=" + self.count_code)
        end = start + count * self.entry_size
        if count > _MOST_ENTRIES or end > len(self.data):
            raise DamagedTagsError(f"a directory of {count} entries does not fit into it")
        self._room -= count
        if self._room < 0:
            raise DamagedTagsError("its directories lie over each other")
        found = {at: self._entry(at) for at in range(start, end, self.entry_size)}
        unreadable = tuple(self.unpack("H", at) for at, entry in found.items() if entry is None)
        room = end + struct.calcsize("=" + self.position_code) <= len(self.data)
        link, next = (end, self.unpack(self.position_code, end)) if room else (0, 0)
        return Directory(position, tuple(filter(None, found.values())), unreadable, link, next)

    def _entry(self, at: int) -> Entry | None:
        tag, type = self.unpack("H", at), self.unpack("H", at + 2)
        count = self.unpack(self.position_code, at + 4)
        size = SIZES.get(type, 0) * count
        inline = at + (12 if self.big else 8)
        value = inline if size <= (8 if self.big else 4) else self.unpack(self.position_code, inline)
        return Entry(tag, type, count, at, value, size) if type in SIZES and value + size <= len(self.data) else None

    def bytes_of(self, entry: Entry) -> bytes:
        """Return the bytes of an entry's value."""
        return bytes(self.data[entry.value : entry.value + entry.size])

    def numbers(self, entry: Entry | None) -> tuple[float, ...]:
        """Return the values of an entry as numbers; none for text, for other bytes and where a fraction is by zero."""
        if entry is None:
            return ()
        data = self.bytes_of(entry)
        if entry.type in (RATIONAL, 10):
            pairs = struct.unpack(f"{self.order}{2 * entry.count}{'I' if entry.type == RATIONAL else 'i'}", data)
            halves = list(zip(pairs[::2], pairs[1::2], strict=True))
            return tuple(top / bottom for top, bottom in halves) if all(bottom for _, bottom in halves) else ()
        code = _CODES.get(entry.type)
        return struct.unpack(f"{self.order}{entry.count}{code}", data) if code else ()

    def sub_directory(self, directory: Directory, tag: int) -> Directory | None:
        """Return the directory that a tag points to; None where there is none, or no readable one."""
        position = self.numbers(directory.get(tag))
        try:
            return self.directory(int(position[0])) if position else None
        except DamagedTagsError:
            return None

    def tags(self, directory: Directory, pointers: tuple[int, ...] = (), depth: int = 3) -> dict[int, Tag]:
        """Copy the tags of a directory, and those of the directories that ``pointers`` point to.

        Of entries with the same tag the first counts.

        Raises:
            DamagedTagsError: Values, or directories, lie over each other.
        """
        found: dict[int, Tag] = {}
        for entry in directory.entries:
            if entry.tag in found:
                continue
            self._copies -= 0 if entry.tag in pointers else entry.size
            if self._copies < 0:
                raise DamagedTagsError("it has values that lie over each other")
            if entry.tag not in pointers:
                found[entry.tag] = Tag(entry.type, entry.count, self.bytes_of(entry))
            elif depth and (inner := self.sub_directory(directory, entry.tag)):
                found[entry.tag] = Tag(LONG, 1, b"", self.tags(inner, pointers, depth - 1))
        return found

    # --- edits in place; data must be a bytearray --------------------------------------------------------------------

    def set_number(self, entry: Entry, value: int, type: int = LONG) -> None:
        """Make the value of an entry one whole number, of the type SHORT or LONG."""
        code = "H" if type == SHORT else "I"
        inline = entry.position + (12 if self.big else 8)
        self.data[inline : inline + 4] = bytes(4)
        struct.pack_into(self.order + "H" + self.position_code, self.data, entry.position + 2, type, 1)
        struct.pack_into(self.order + code, self.data, inline, value)

    def remove(self, directory: Directory, tag: int) -> Directory:
        """Remove an entry and blank its value; the entries behind it move up."""
        entry = directory.get(tag)
        if entry is None:
            return directory
        self.data[entry.value : entry.value + entry.size] = bytes(entry.size)
        size = struct.calcsize("=" + self.position_code)
        end = directory.link + size if directory.link else len(self.data)
        self.data[entry.position : end] = self.data[entry.position + self.entry_size : end] + bytes(self.entry_size)
        count = self.unpack(self.count_code, directory.position)
        struct.pack_into(self.order + self.count_code, self.data, directory.position, count - 1)
        return self.directory(directory.position)

    def keep(self, directory: Directory, tags: Collection[int]) -> None:
        """Remove all entries but those of some tags; their values stay in the block."""
        size, number = struct.calcsize("=" + self.position_code), self.entry_size
        kept = [bytes(self.data[e.position : e.position + number]) for e in directory.entries if e.tag in tags]
        start = directory.position + struct.calcsize("=" + self.count_code)
        end = (directory.link or start) + size
        link = struct.pack(self.order + self.position_code, directory.next)
        self.data[start:end] = (b"".join(kept) + link).ljust(end - start, b"\0")
        struct.pack_into(self.order + self.count_code, self.data, directory.position, len(kept))

    def add(self, tags: Mapping[int, Tag]) -> None:
        """Add tags to the first directory, or replace them, by writing it anew at the end of the block."""
        self.data.extend(bytes(len(self.data) % 2))
        directory = self.directory(self.first)
        self.first = len(self.data)
        self.data.extend(self.merged(directory, tags, self.first))
        struct.pack_into(self.order + self.position_code, self.data, self.link, self.first)

    def merged(
        self, directory: Directory, tags: Mapping[int, Tag], position: int, without: Collection[int] = ()
    ) -> bytes:
        """Return a directory for ``position`` with tags added, replaced or removed (``without``).

        The values of the other tags stay where they are.
        """
        kept = {
            entry.tag: bytes(self.data[entry.position : entry.position + self.entry_size])
            for entry in directory.entries
            if entry.tag not in tags and entry.tag not in without
        }
        return pack_directory(tags, self.order, position, self.big, kept, directory.next)


def pack_block(tags: Mapping[int, Tag], order: str) -> bytes:
    """Build an EXIF block, whose tags' bytes are in ``order``, "<" or ">"."""
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return start + pack_directory(tags, order, 8)


def pack_directory(
    tags: Mapping[int, Tag],
    order: str,
    position: int,
    big: bool = False,
    kept: Mapping[int, bytes] | None = None,
    next: int = 0,
) -> bytes:
    """Build a directory, with the values of its tags and the directories that they point to behind it.

    Args:
        tags: Its tags; their bytes are in the byte order ``order``.
        order: "<" or ">".
        position: Where in the block it will be.
        big: Whether the block is a BigTIFF.
        kept: More entries by their tags, as bytes with the positions of their values.
        next: The position of the next directory.
    """
    count_code, position_code, inline = ("Q", "Q", 8) if big else ("H", "I", 4)
    entries = dict(kept or {})
    number = len(entries) + len(tags)
    behind = bytearray()
    end = position + struct.calcsize(order + count_code) + number * (20 if big else 12) + inline
    for tag, value in tags.items():
        data = value.data
        if value.children is not None:
            data = struct.pack(order + position_code, end + len(behind))
            behind += pack_directory(value.children, order, end + len(behind), big)
            entry = struct.pack(order + "HH" + position_code, tag, 18 if big else LONG, 1) + data
        else:
            entry = struct.pack(order + "HH" + position_code, tag, value.type, value.count)
            if len(data) <= inline:
                entry += data.ljust(inline, b"\0")
            else:
                entry += struct.pack(order + position_code, end + len(behind))
                behind += data + bytes(len(data) % 2)
        entries[tag] = entry
    ordered = b"".join(entries[tag] for tag in sorted(entries))
    return struct.pack(order + count_code, number) + ordered + struct.pack(order + position_code, next) + behind


def swapped(tags: Mapping[int, Tag]) -> dict[int, Tag]:
    """Return tags in the other byte order."""
    return {tag: _swapped(value) for tag, value in tags.items()}


def _swapped(tag: Tag) -> Tag:
    if tag.children is not None:
        return Tag(tag.type, tag.count, b"", swapped(tag.children))
    size = _SWAPPED.get(tag.type, 1)
    if size == 1:
        return tag
    return Tag(tag.type, tag.count, np.frombuffer(tag.data, f"u{size}").byteswap().tobytes())


def text_tag(text: str) -> Tag:
    """Make a tag of text; what is not ASCII is written as UTF-8, as most programs do."""
    data = text.encode() + b"\0"
    return Tag(ASCII, len(data), data)
