"""Metadata in PNG files (PNG, third edition, sections 5 and 11)."""

from __future__ import annotations

import binascii
import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from . import exif, photoshop
from .model import Metadata, Text
from .resolution import Resolution
from .xmp import as_utf8

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = ("gAMA", "cHRM", "sRGB", "cICP", "mDCV", "cLLI")
_XMP = "XML:com.adobe.xmp"
_MOST_TEXT = 2**26  # bytes of all texts when decompressed; ComfyUI's longest are of some 2**21
_MOST_CHUNK = 2**28  # bytes of a chunk of metadata
MOST_COMPRESSED = 2**20  # Pillow's reader refuses to decompress longer texts
_OWN = (b"iCCP", b"eXIf", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", *(name.encode() for name in COLOURS))
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # what decoders need
_FRAMES = (b"acTL", b"fcTL", b"fdAT")  # and what they need for animations
_CONTROLS = {b"acTL": 8, b"fcTL": 26}  # bytes of the chunks that tell of frames
ANIMATION = "animation"
_HINTS = (b"bKGD", b"hIST", b"sBIT", b"sPLT")  # of the old pixels, which no decoder needs
_MOST_HINT = 2**20  # bytes
_MOST_RESOURCES = 10_000
_RAW_PROFILE = re.compile(r"Raw profile type (exif|APP1|xmp|iptc|8bim|icc|icm)", re.IGNORECASE)
_NAMES = {
    b"iCCP": "colour profile",
    b"eXIf": "EXIF",
    b"pHYs": "resolution",
    b"tIME": "time of the last change",
    b"caBX": "C2PA manifest",
    **dict.fromkeys((b"tEXt", b"zTXt", b"iTXt"), "PNG text"),
}
_PER_METRE = 2**31 - 1


def read_png(file: IO[bytes]) -> Metadata:
    """Read the metadata of a PNG file; damaged chunks are left out and named."""
    found, moves, inflate = Metadata(), True, _Inflate()
    for name, length in walk_chunks(file):
        if name in _CONTROLS:
            moves = _reads_control(file, name, length) and moves
            continue
        is_hint = name in _HINTS and length <= _MOST_HINT
        if (name not in _OWN or length > _MOST_CHUNK) and not is_hint:
            if name not in _PIXELS + _FRAMES:
                reason = f"it has {length} bytes" if name in _OWN else "it holds for the old pixels, or is unknown"
                found = found.with_lost(_named(name), reason)
            file.seek(length + 4, io.SEEK_CUR)
            continue
        data, check = file.read(length), file.read(4)
        try:
            if not _is_sound(name, data, check):
                raise ValueError("its checksum is wrong")
            found = _with_chunk(found, name.decode(), data, inflate)
        except _TooLongError as error:
            found = found.with_lost(_named(name, data), str(error))
        except (ValueError, zlib.error, struct.error, IndexError) as error:
            found = found.with_lost(_named(name, data), f"it is damaged: {error}")
    if not moves:
        found = found.with_lost(ANIMATION, "what tells of its frames is damaged")
    return found if found.resolution else replace(found, resolution=exif.find_resolution(found.exif))


def _reads_control(file: IO[bytes], name: bytes, length: int) -> bool:
    """Read a chunk that tells of frames; return whether it is sound."""
    if length == _CONTROLS[name]:
        return _is_sound(name, file.read(length), file.read(4))
    file.seek(length + 4, io.SEEK_CUR)
    return False


def _is_sound(name: bytes, data: bytes, check: bytes) -> bool:
    return check == struct.pack(">I", zlib.crc32(name + data))


def walk_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield (name, length) of each chunk; the file stands at its data, and must be moved behind its checksum."""
    file.seek(0)
    if file.read(8) != SIGNATURE:
        return
    while len(header := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", header)
        yield name, length
        if name == b"IEND":
            return


def _named(name: bytes, data: bytes = b"") -> str:
    keyword = data.partition(b"\0")[0]
    if name in (b"tEXt", b"zTXt", b"iTXt") and 0 < len(keyword) < 80:
        return f'PNG text "{keyword.decode("latin-1")}"'
    return _NAMES.get(name, f"PNG chunk {name.decode('latin-1')}")


def _with_chunk(found: Metadata, name: str, data: bytes, inflate: _Inflate) -> Metadata:
    if name.encode() in _HINTS:
        return found.with_change(f"PNG chunk {name}", "left out: a hint for showing the old pixels")
    if name in COLOURS:
        return replace(found, colours={**found.colours, name: data})
    if name in ("tEXt", "zTXt", "iTXt"):
        return _with_text(found, _read_text(name, data, inflate))
    if name == "pHYs":
        x, y, unit = struct.unpack(">IIB", data)
        return replace(found, resolution=Resolution.checked(x, y, "metre" if unit == 1 else ""))
    if name == "iCCP":
        return replace(found, icc=inflate(data.split(b"\0", 1)[1][1:]))
    return replace(found, exif=data.removeprefix(b"Exif\0\0")) if name == "eXIf" else replace(found, modified=data)


def _with_text(found: Metadata, text: Text) -> Metadata:
    if text.keyword == _XMP:
        return replace(found, xmp=as_utf8(text.value.encode()))
    if profile := _RAW_PROFILE.fullmatch(text.keyword):
        return _with_raw_profile(found, profile[1].lower(), text.value)
    return found.with_text(text)


class _TooLongError(ValueError):
    """A chunk is sound, but unpacks to too much."""


class _Inflate:
    """Decompresses the chunks of a file, as long as all together are not too long."""

    def __init__(self) -> None:
        self._room = _MOST_TEXT

    def __call__(self, data: bytes) -> bytes:
        decompressor = zlib.decompressobj()
        result = decompressor.decompress(data, self._room)
        if decompressor.unconsumed_tail:
            self._room = max(self._room // 2, 1)  # so that many of them take no longer than two
            raise _TooLongError(f"it and others of the file unpack to more than {_MOST_TEXT >> 20} MiB")
        if not decompressor.eof:
            raise ValueError("its end is missing")
        self._room = max(self._room - len(result), 1)
        return result


def _read_text(name: str, data: bytes, inflate: _Inflate) -> Text:
    keyword, rest = data.split(b"\0", 1) if b"\0" in data else (data, b"")
    key = keyword.decode("latin-1")
    if name == "tEXt":
        return Text(key, rest.decode("latin-1"))
    if name == "zTXt":
        return Text(key, inflate(rest[1:]).decode("latin-1"), compressed=True)
    compressed = rest[0] == 1
    language, translated, value = rest[2:].split(b"\0", 2)
    value = inflate(value) if compressed else value
    return Text(key, value.decode(), language.decode("latin-1"), translated.decode(), compressed)


def _with_raw_profile(found: Metadata, kind: str, text: str) -> Metadata:
    """Take a profile as ImageMagick writes it: its kind, its length, and its bytes in hexadecimal digits."""
    _, length, digits = text.lstrip().split(maxsplit=2)
    data = bytes.fromhex(digits)
    if len(data) != int(length):
        raise ValueError("its length is wrong")
    if kind in ("exif", "app1") and data.startswith(b"Exif\0\0"):
        return found if found.exif else replace(found, exif=data[6:])
    if kind in ("xmp", "app1"):
        return found if found.xmp else replace(found, xmp=as_utf8(data.split(b"/xap/1.0/\0")[-1]))
    if kind in ("iptc", "8bim"):
        if data.count(b"8BIM") > _MOST_RESOURCES:
            raise ValueError(f"it has more than {_MOST_RESOURCES} resources")
        return replace(found, photoshop=data if data.startswith(b"8BIM") else photoshop.wrap_iptc(data))
    return found if found.icc else replace(found, icc=data)


def longest_part(metadata: Metadata) -> int:
    """Return the length of the longest compressed part that metadata of a PNG file could have, in bytes."""
    texts = [2 * len(metadata.photoshop), len(metadata.xmp), len(metadata.icc), 2 * len(metadata.exif)]
    return max(texts + [len(text.value.encode()) for text in metadata.text])


def pixels_only(file: IO[bytes], animated: bool = True) -> IO[bytes]:
    """Return a PNG file without the chunks that no decoder needs, which could be damaged; maybe without its frames."""
    kept_names = _PIXELS + _FRAMES if animated else _PIXELS
    kept = io.BytesIO()
    kept.write(SIGNATURE)
    for name, length in walk_chunks(file):
        if name in kept_names:
            kept.write(struct.pack(">I4s", length, name) + file.read(length + 4))
        else:
            file.seek(length + 4, io.SEEK_CUR)
    kept.seek(0)
    return kept


# --- writing ---------------------------------------------------------------------------------------------------------


def embed_png(encoded: IO[bytes], target: IO[bytes], metadata: Metadata) -> None:
    """Copy a PNG file with its metadata replaced."""
    target.write(SIGNATURE)
    for name, length in walk_chunks(encoded):
        if name in _OWN:
            encoded.seek(length + 4, io.SEEK_CUR)
            continue
        target.write(struct.pack(">I4s", length, name))
        remaining = length + 4
        while remaining and (part := encoded.read(min(remaining, 2**20))):
            target.write(part)
            remaining -= len(part)
        if name == b"IHDR":
            target.write(png_chunks(metadata))


def png_chunks(metadata: Metadata) -> bytes:
    """Return metadata as the chunks that stand behind the header of a PNG file."""
    chunks = [packed_chunk(name, data) for name, data in metadata.colours.items()]
    if metadata.icc:
        chunks.append(packed_chunk("iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.resolution:
        unit = "metre" if metadata.resolution.unit else ""
        x, y = (min(max(round(value), 1), _PER_METRE) for value in metadata.resolution.per(unit or "metre"))
        chunks.append(packed_chunk("pHYs", struct.pack(">IIB", x, y, 1 if unit else 0)))
    if metadata.exif:
        chunks.append(packed_chunk("eXIf", metadata.exif))
    if metadata.modified:
        chunks.append(packed_chunk("tIME", metadata.modified))
    if metadata.xmp:
        chunks.append(packed_chunk("iTXt", _XMP.encode() + bytes(5) + metadata.xmp))
    if metadata.photoshop:
        digits = binascii.hexlify(metadata.photoshop).decode()
        lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        profile = f"\niptc\n{len(metadata.photoshop):8}\n{lines}\n"
        chunks.append(_text_chunk(Text("Raw profile type iptc", profile, compressed=True)))
    return b"".join(chunks + [_text_chunk(text) for text in metadata.text])


def packed_chunk(name: str, data: bytes) -> bytes:
    """Return a chunk with its length and its checksum."""
    named = name.encode() + data
    return struct.pack(">I", len(data)) + named + struct.pack(">I", zlib.crc32(named))


def _text_chunk(text: Text) -> bytes:
    key = text.keyword.encode("latin-1") + b"\0"
    try:
        value = text.value.encode("latin-1")
        plain = not (text.language or text.translated or b"\0" in value)
    except UnicodeEncodeError:
        value, plain = text.value.encode(), False
    compressed = text.compressed and len(value) <= MOST_COMPRESSED
    if plain:
        if compressed:
            return packed_chunk("zTXt", key + b"\0" + zlib.compress(value))
        return packed_chunk("tEXt", key + value)
    value = text.value.encode()
    start = key + bytes([compressed, 0]) + text.language.encode() + b"\0" + text.translated.encode() + b"\0"
    return packed_chunk("iTXt", start + (zlib.compress(value) if compressed else value))
