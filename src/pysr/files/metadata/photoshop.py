"""Image resources of Adobe Photoshop ("8BIM"), which hold IPTC in JPEG, TIFF and PNG files.

A resource is "8BIM", a number, a name and its data (Adobe Photoshop File Formats Specification).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

IPTC = 0x0404
_OF_OLD_PIXELS = {
    0x0408: "Photoshop guides",
    0x041A: "Photoshop slices",
}
_THUMBNAILS = {0x0409: "Photoshop thumbnail", 0x040C: "Photoshop thumbnail"}  # of a turned image


def read_resources(block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (number, data, all of its bytes) of each resource, up to the first that is damaged."""
    at = 0
    while at + 12 <= len(block) and block[at : at + 4] in (b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR"):
        name = block[at + 6] + 1
        start = at + 6 + name + name % 2 + 4
        if start > len(block):
            return
        number, size = struct.unpack_from(">H", block, at + 4)[0], struct.unpack_from(">I", block, start - 4)[0]
        end = start + size + size % 2
        if start + size > len(block):
            return
        yield number, block[start : start + size], block[at:end].ljust(end - at, b"\0")
        at = end


def find_iptc(block: bytes) -> bytes:
    """Return the IPTC records in resources; b"" where there are none."""
    return next((data for number, data, _ in read_resources(block) if number == IPTC), b"")


def has_more_than_iptc(block: bytes) -> bool:
    """Tell whether there are other resources than IPTC's."""
    return any(number != IPTC for number, _, _ in read_resources(block))


def wrap_iptc(records: bytes) -> bytes:
    """Make a resource of IPTC records."""
    return b"8BIM" + struct.pack(">HxxI", IPTC, len(records)) + records + bytes(len(records) % 2)


def update_resources(block: bytes, turned: bool) -> tuple[bytes, set[str]]:
    """Take out the resources that describe the old pixels.

    Returns:
        The resources, and the names of what was taken out.
    """
    outdated = _OF_OLD_PIXELS | (_THUMBNAILS if turned else {})
    kept = [(number, raw) for number, _, raw in read_resources(block)]
    return (
        b"".join(raw for number, raw in kept if number not in outdated),
        {outdated[number] for number, _ in kept if number in outdated},
    )
