"""Metadata in WebP files (WebP container specification, RFC 9649, section 2.7)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from . import exif
from .model import Metadata
from .xmp import as_utf8

_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
_ALPHA = 0x10
_PIXELS = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")


def read_webp(file: IO[bytes]) -> Metadata:
    """Read the metadata of a WebP file; unknown chunks are named."""
    found = Metadata()
    for name, length in _chunks(file):
        end = file.tell() + length + length % 2
        if name in _FLAGS:
            data = file.read(length)
            found = _with_chunk(found, name, data) if len(data) == length else found.with_lost("metadata", "cut off")
        elif name not in _PIXELS:
            found = found.with_lost(f"WebP chunk {name.decode('latin-1')!r}", "its contents are not known")
        file.seek(end)
    return replace(found, resolution=exif.find_resolution(found.exif))


def _with_chunk(found: Metadata, name: bytes, data: bytes) -> Metadata:
    if name == b"ICCP":
        return replace(found, icc=data)
    if name == b"EXIF":
        return replace(found, exif=data.removeprefix(b"Exif\0\0"))  # some programs write it as JPEG does
    return replace(found, xmp=as_utf8(data))


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield (name, length) of each chunk, at whose data the file stands; it must be moved behind them."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        yield name, length


def embed_webp(encoded: IO[bytes], target: IO[bytes], metadata: Metadata) -> None:
    """Copy a WebP file with its metadata replaced."""
    own = {b"ICCP": metadata.icc, b"EXIF": metadata.exif, b"XMP ": metadata.xmp}
    chunks: list[tuple[bytes, bytes]] = []
    for name, length in _chunks(encoded):
        data = encoded.read(length)
        encoded.seek(length % 2, io.SEEK_CUR)
        if name not in own:
            chunks.append((name, data))
    if any(own.values()):
        if chunks[0][0] != b"VP8X":
            chunks.insert(0, (b"VP8X", _extended(*chunks[0])))
        flags = chunks[0][1][0] & ~sum(_FLAGS.values())
        flags |= sum(flag for name, flag in _FLAGS.items() if own[name])
        chunks[0] = b"VP8X", bytes([flags]) + chunks[0][1][1:]
        chunks[1:1] = [(b"ICCP", metadata.icc)] if metadata.icc else []
        chunks += [(name, own[name]) for name in (b"EXIF", b"XMP ") if own[name]]
    size = 4 + sum(8 + len(data) + len(data) % 2 for _, data in chunks)
    target.write(b"RIFF" + struct.pack("<I", size) + b"WEBP")
    for name, data in chunks:
        target.write(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2))


def _extended(name: bytes, data: bytes) -> bytes:
    """Build the contents of a VP8X chunk from the header of the pixels."""
    alpha = name == b"VP8L" and data[4] >> 4 & 1
    sizes = b"".join((side - 1).to_bytes(3, "little") for side in _size(name, data))
    return bytes([_ALPHA if alpha else 0, 0, 0, 0]) + sizes


def webp_size(data: bytes) -> tuple[int, int]:
    """Return the (width, height) that a WebP file declares.

    Raises:
        struct.error: It ends before.
    """
    return _size(data[12:16], data[20:])


def _size(name: bytes, data: bytes) -> tuple[int, int]:
    """Read the (width, height) of a first chunk (RFC 6386, 9.1; RFC 9649, 2.7 and 3.4)."""
    if name == b"VP8X":
        width, more, height, most = struct.unpack_from("<HBHB", data, 4)
        return (more << 16 | width) + 1, (most << 16 | height) + 1
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 6)
    return width & 0x3FFF, height & 0x3FFF
