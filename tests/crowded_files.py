"""Small images in files with crowds of small parts, or with parts that lie over each other or grow when unpacked.

What reads them must take a time that grows with their length alone, not with its square. Each is about `LENGTH` long.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

from image_samples import encoded, make_image
from metadata_samples import RDF, chunk, jpeg_with, packet, png_with, segment
from PIL import Image

LENGTH = 300_000  # bytes
_START = b"II*\0\x08\0\0\0"  # of a TIFF file or EXIF block whose directory follows
_TIFF, _CONTAINER = "http://ns.adobe.com/tiff/1.0/", "http://ns.google.com/photos/1.0/container/"
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"


def crowded_files() -> Iterator[tuple[str, bytes]]:
    """What each file is, beginning with its format, and its content."""
    for name, make in (_PNG | _JPEG | _GIF | _BOXES | _TIFF_FILES).items():
        yield name, make()
    for name, xmp in _PACKETS.items():
        yield f"webp, xmp {name}", webp_with((b"XMP ", xmp()))
    for name, exif in _EXIF.items():
        yield f"webp, exif {name}", webp_with((b"EXIF", exif()))
    yield "webp, chunks", webp_with(*[(b"abcd", b"")] * (LENGTH // 8))


def repeated(part: bytes) -> bytes:
    return part * (LENGTH // len(part))


def counted(make: Callable[[int], bytes]) -> bytes:
    """Parts that differ by their number."""
    return b"".join(map(make, range(LENGTH // len(make(LENGTH // 8)))))


# --- PNG -------------------------------------------------------------------------------------------------------------


def _unpacked(kind: bytes, start: bytes, content: bytes, times: int = 1) -> bytes:
    return png_with(*[chunk(kind, start + zlib.compress(content, 9))] * times)


_ITXT = b"XML:com.adobe.xmp\0\1\0\0\0"
_PNG: dict[str, Callable[[], bytes]] = {
    "png, texts": lambda: png_with(repeated(chunk(b"tEXt", b"a\0b"))),
    "png, other texts": lambda: png_with(counted(lambda i: chunk(b"tEXt", b"a%d\0b" % i))),
    "png, compressed texts": lambda: png_with(repeated(chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b")))),
    "png, damaged texts": lambda: png_with(counted(lambda i: chunk(b"tEXt", b"a%d\0b" % i, wrong=True))),
    "png, unknown chunks": lambda: png_with(counted(lambda i: chunk(b"a%03d" % (i % 1000), b""))),
    "png, hints": lambda: png_with(repeated(chunk(b"bKGD", b"\0") + chunk(b"hIST", b"\0"))),
    "png, texts that grow": lambda: _unpacked(b"zTXt", b"a\0\0", bytes(2**26 - 9), 12),
    "png, profiles that grow": lambda: _unpacked(b"iCCP", b"a\0\0", bytes(2**26 - 9), 12),
    "png, exif and empty texts": lambda: png_with(
        chunk(b"eXIf", _START + directory(*((300 + i, 1, 1, 0) for i in range(4000)))),
        *[chunk(b"tEXt", b"Description\0")] * 900,
    ),
    "png, exif in itself that grows": lambda: _unpacked(
        b"zTXt",
        b"Raw profile type exif\0\0",
        b"exif\n %d\n" % (2**21 + 50) + (_in_itself() + bytes(2**21)).hex().encode(),
    ),
    "png, spaces that grow": lambda: _unpacked(b"zTXt", b"Raw profile type exif\0\0", b"exif\n 9\n" + b"ab " * 10**7),
    "png, resources that grow": lambda: _unpacked(
        b"zTXt", b"Raw profile type 8bim\0\0", b"8bim\n 12000000\n" + (b"8BIM\4\4" + bytes(6)).hex().encode() * 10**6
    ),
    "png, xmp that grows": lambda: _unpacked(b"iTXt", _ITXT, packet("", "<b/>" * 2**21)),
    "png, xmp of a container that grows": lambda: _unpacked(
        b"iTXt", _ITXT, packet(f'xmlns:g="{_CONTAINER}"', "<g:b/>" * 2**21)
    ),
}

# --- JPEG ------------------------------------------------------------------------------------------------------------


def _scans(*, progressive: bool) -> bytes:
    """A scan of zeros many times over, in a large image."""
    image = Image.new("L" if progressive else "RGB", (4000, 4000))
    data = encoded(image, "JPEG", progressive=progressive)
    start = data.rindex(b"\xff\xda") if progressive else data.index(b"\xff\xda")
    scan = data[start:-2] if progressive else b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    return data[:start] + scan * min(2000, LENGTH // len(scan)) + data[-2:]


def _extended(content: bytes) -> bytes:
    parts = range(0, len(content), 60_000)
    head = _EXTENSION + b"0" * 32 + struct.pack(">I", len(content))
    return b"".join(segment(0xE1, head + struct.pack(">I", at) + content[at : at + 60_000]) for at in parts)


_JPEG: dict[str, Callable[[], bytes]] = {
    "jpeg, comments": lambda: jpeg_with(repeated(segment(0xFE, b""))),
    "jpeg, other comments": lambda: jpeg_with(counted(lambda i: segment(0xFE, b"%d" % i))),
    "jpeg, unknown segments": lambda: jpeg_with(counted(lambda i: segment(0xE5, b"%d\0" % i))),
    "jpeg, manifests": lambda: jpeg_with(repeated(segment(0xEB, b"c2pa"))),
    "jpeg, resources": lambda: jpeg_with(repeated(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4" + bytes(6)))),
    "jpeg, exif": lambda: jpeg_with(repeated(segment(0xE1, b"Exif\0\0" + bytes(50)))),
    "jpeg, extended xmp": lambda: jpeg_with(
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet("")), _extended(packet("", "<b/>" * (LENGTH // 4)))
    ),
    "jpeg, progressive scans": lambda: _scans(progressive=True),
    "jpeg, baseline scans": lambda: _scans(progressive=False),
    "jpeg, scans of many components": lambda: (
        encoded(make_image(), "JPEG", progressive=True)[:-2]
        + repeated(segment(0xDA, b"\xff" + b"\1\0" * 255 + b"\0\x3f\0"))
    ),
}

# --- GIF, AVIF, TIFF, EXIF -------------------------------------------------------------------------------------------


def gif_with(blocks: bytes) -> bytes:
    data = encoded(make_image("P"), "GIF")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    return data[:at] + blocks + data[at:]


_GIF: dict[str, Callable[[], bytes]] = {
    "gif, empty comments": lambda: gif_with(repeated(b"\x21\xfe\0")),
    "gif, comments": lambda: gif_with(repeated(b"\x21\xfe\1a\0")),
    "gif, a comment in pieces": lambda: gif_with(b"\x21\xfe" + repeated(b"\1a") + b"\0"),
}


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _items(count: int, parts: int, length: int, sizes: bytes = b"\x44\0", kind: bytes = b"Exif") -> bytes:
    """A box that says of that many items that each has as many parts, all from the start of the file."""
    entries = b"".join(box(b"infe", b"\3\0\0\0" + struct.pack(">IH", item, 0) + kind) for item in range(count))
    part = struct.pack(">II", 0, length) if sizes[0] else b""
    places = b"".join(struct.pack(">IHHH", item, 0, 0, parts) + part * parts for item in range(count))
    infos = box(b"iinf", b"\1\0\0\0" + struct.pack(">I", count) + entries)
    return box(b"meta", bytes(4) + infos + box(b"iloc", b"\2\0\0\0" + sizes + struct.pack(">I", count) + places))


_PACKET_ITEM = b"mimeapplication/rdf+xml\0"


def _nested(levels: int) -> bytes:
    return b"".join(struct.pack(">I4sI", 12 * (levels - level), b"meta", 0) for level in range(levels))


_BOXES: dict[str, Callable[[], bytes]] = {
    "avif, items in one place": lambda: encoded(make_image(), "AVIF") + _items(LENGTH // 60, 1, LENGTH),
    "avif, parts in one place": lambda: encoded(make_image(), "AVIF") + _items(1, 60_000, LENGTH),
    "avif, parts without places": lambda: encoded(make_image(), "AVIF") + _items(LENGTH // 60, 65_535, 0, bytes(2)),
    "avif, empty packets": lambda: (
        encoded(make_image(), "AVIF") + _items(LENGTH // 90, 1, LENGTH // 2, kind=_PACKET_ITEM) + bytes(LENGTH)
    ),
    "avif, boxes in boxes": lambda: encoded(make_image(), "AVIF") + _nested(LENGTH // 12),
}


def directory(*entries: tuple[int, int, int, int], next: int = 0) -> bytes:
    """A directory of (tag, type, count, value)."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", next)


def _chain(entries: int) -> bytes:
    """Directories of as many entries, each 12 bytes behind the one before, over which it lies."""
    count, links = LENGTH // 12, bytearray(b"II*\0\x10\0\0\0" + bytes(8))
    for place in range(count):
        number = place - entries
        link = 254 | 4 << 16 if number < 0 else 16 + 12 * (number + 1)
        links += struct.pack("<HI6x", entries, link if number < count - entries - 2 else 0)
    return bytes(links)


def _sub_images() -> bytes:
    """An image that refers to one directory of many entries as its part, time and again."""
    entries = [(254, 4, 1, 0), (330, 4, LENGTH // 8, 60_000), *((400 + i, 1, 1, 0) for i in range(4000))]
    return (_START + directory(*entries)).ljust(60_000, b"\0") + struct.pack("<I", 8) * (LENGTH // 8)


_TIFF_FILES: dict[str, Callable[[], bytes]] = {
    "tiff, directories over each other": lambda: _chain(4000),
    "tiff, one part many times": _sub_images,
    "tiff, values over each other": lambda: (
        _START + directory(*((300 + i, 1, LENGTH, 8) for i in range(4000))) + bytes(LENGTH)
    ),
}


def _in_itself() -> bytes:
    """An EXIF block of three pointers to itself and an array, 50 bytes long without that."""
    pointers = [(tag, 4, 1, 8) for tag in (34665, 34853, 40965)]
    return (
        b"MM\0*\0\0\0\x08"
        + struct.pack(">H", 4)
        + b"".join(struct.pack(">HHII", *p) for p in pointers)
        + struct.pack(">HHII", 41000, 3, 2**20 - 40, 50)
    ).ljust(50, b"\0")


_EXIF: dict[str, Callable[[], bytes]] = {
    "in itself": lambda: _START + directory(*[(34665, 4, 1, 8)] * 4096),
    "of values over each other": lambda: (
        _START + directory(*((300 + i, 1, LENGTH, 8) for i in range(4000))) + bytes(LENGTH)
    ),
    "with a value many times": lambda: _START + directory(*[(270, 2, LENGTH, 8)] * 4000) + bytes(LENGTH),
}

# --- XMP -------------------------------------------------------------------------------------------------------------


def webp_with(*parts: tuple[bytes, bytes]) -> bytes:
    plain, flags = encoded(make_image(), "WEBP"), {b"EXIF": 8, b"XMP ": 4}
    sizes = (11).to_bytes(3, "little") + (7).to_bytes(3, "little")
    chunks = [(b"VP8X", bytes([sum(flags.get(name, 0) for name, _ in parts[:1]), 0, 0, 0]) + sizes)]
    target = io.BytesIO()
    for name, data in chunks:
        target.write(name + struct.pack("<I", len(data)) + data)
    target.write(plain[12:])
    for name, data in parts:
        target.write(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2))
    return b"RIFF" + struct.pack("<I", 4 + target.tell()) + b"WEBP" + target.getvalue()


def _bound(namespace: str) -> bytes:
    return packet(counted(lambda i: f' xmlns:p{i}="{namespace}"'.encode()).decode())


_PACKETS: dict[str, Callable[[], bytes]] = {
    "of prefixes for one namespace": lambda: _bound(_TIFF),
    "of prefixes for a container": lambda: _bound(_CONTAINER),
    "of prefixes for pysr": lambda: _bound("urn:pysr:1.0#"),
    "of namespaces": lambda: packet(counted(lambda i: b' xmlns:p%d="u%d"' % (i, i)).decode()),
    "of nested namespaces": lambda: packet(
        "", (counted(lambda i: b'<a xmlns:p%d="u">' % i) + b"</a>" * (LENGTH // 18)).decode()
    ),
    "of elements under namespaces": lambda: packet(
        counted(lambda i: b' xmlns:p%d="u"' % i).decode(), '<b xmlns:q="u"><c/></b>' * (LENGTH // 23)
    ),
    "of a container's elements": lambda: packet(f'xmlns:g="{_CONTAINER}"', "<g:a/>" * (LENGTH // 6)),
    "of a container's attributes": lambda: packet(f'xmlns:g="{_CONTAINER}"', '<b g:a="1"/>' * (LENGTH // 12)),
    "of pysr's elements": lambda: packet('xmlns:p="urn:pysr:1.0#"', "<p:Width>1</p:Width>" * (LENGTH // 20)),
    "of properties": lambda: packet("", "<b>1</b>" * (LENGTH // 8)),
    "of digits": lambda: packet(f'xmlns:tiff="{_TIFF}"', f"<tiff:Orientation>{'1' * LENGTH}</tiff:Orientation>"),
    "of numbers": lambda: packet(f'xmlns:tiff="{_TIFF}"', "<tiff:ImageWidth>1</tiff:ImageWidth>" * (LENGTH // 36)),
    "of one long namespace": lambda: packet(f'xmlns:p="u{"x" * 55_000}"', "<p:a/>" * (LENGTH // 12)),
    "of attributes": lambda: packet(counted(lambda i: b' a%d=""' % i).decode()),
    "without RDF": f'<x {RDF} xmlns:g="{_CONTAINER}"><g:a/>{"<b/>" * (LENGTH // 4)}</x>'.encode,
}
