"""Image files with metadata for tests, and their way from one file to another without a model."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from image_samples import encoded, make_image
from PIL import Image, ImageCms

from pysr.files.metadata import Changes, Metadata, Resolution, Text, embed, embeds, fit, read_metadata
from pysr.files.metadata.photoshop import wrap_iptc
from pysr.files.metadata.tags import BYTE, LONG, RATIONAL, SHORT, UNDEFINED, Tag, pack_block, text_tag

Size = tuple[int, int]
SIZE = (12, 8)
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
RECORDS = b"\x1c\x02\x19\0\x03dog\x1c\x02\x78\0\x09A caption"  # IPTC: Keywords, Caption-Abstract
PROFILE: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def packet(properties: str, children: str = "") -> bytes:
    """An XMP packet with one description."""
    description = f'<rdf:Description rdf:about="" {properties}>{children}</rdf:Description>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {RDF}>{description}</rdf:RDF></x:xmpmeta>'.encode()


def short(*values: int) -> Tag:
    return Tag(SHORT, len(values), struct.pack(f"<{len(values)}H", *values))


def rational(top: int, bottom: int = 1) -> Tag:
    return Tag(RATIONAL, 1, struct.pack("<II", top, bottom))


def make_exif(orientation: int = 1, **camera: Tag) -> bytes:
    """An EXIF block of a camera, with a maker note and a position; ``camera`` are more tags as t40962=..."""
    position = {1: text_tag("N"), 2: Tag(RATIONAL, 3, struct.pack("<6I", 47, 1, 30, 1, 0, 1))}
    inner = {36867: text_tag("2020:02:03 04:05:06"), 37500: Tag(UNDEFINED, 20, b"keep these 20 bytes.")}
    inner |= {int(name[1:]): tag for name, tag in camera.items()}
    tags = {
        270: text_tag("Söhne"),
        271: text_tag("Cam"),
        274: short(orientation),
        282: rational(300),
        283: rational(300),
        296: short(2),
        40091: Tag(BYTE, 6, "Tit".encode("utf-16-le")),
        34665: Tag(LONG, 1, b"", inner),
        34853: Tag(LONG, 1, b"", position),
    }
    return pack_block(tags, "<")


def everything() -> Metadata:
    """Metadata of every kind."""
    return Metadata(
        icc=PROFILE,
        exif=make_exif(),
        xmp=packet('xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="a &lt; b"'),
        photoshop=wrap_iptc(RECORDS),
        resolution=Resolution(300, 300, "inch"),
        text=(
            Text("parameters", "a dog\nSteps: 20"),
            Text("Title", "Ünïcode ✓"),
            Text("Author", "Ann", compressed=True),
        ),
        comments=(b"hello",),
        colours={"gAMA": struct.pack(">I", 100_000)},
        modified=bytes([7, 0xE4, 2, 3, 4, 5, 6]),
    )


def sized(metadata: Metadata, width: int, height: int, turned: int = 1) -> Metadata:
    """Metadata of an image of that upright size, which was turned so."""
    return replace(metadata, size=(width, height), turned=turned)


def read(data: bytes, kind: str) -> Metadata:
    return read_metadata(io.BytesIO(data), kind)


def write(metadata: Metadata, kind: str, size: Size = SIZE) -> bytes:
    """A file with these metadata, as they are."""
    target = io.BytesIO()
    image = make_image("RGB", *size)
    if not embeds(kind):
        info = metadata.to_info()
        return encoded(image, kind, **{key: info[key] for key in ("icc_profile", "exif", "xmp") if key in info})
    embed(io.BytesIO(encoded(image, kind)), target, kind, metadata)
    return target.getvalue()


def convert(data: bytes, source: str, target: str, scale: int = 1, size: Size = SIZE) -> tuple[bytes, Changes]:
    """Take the metadata of one file into another whose image is ``scale`` times as large."""
    found = read(data, source)
    new_size = size[0] * scale, size[1] * scale
    fitted, changes = fit(sized(found, *size, found.orientation), target, new_size)
    return write(fitted, target, new_size), changes


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def exiftool(data: bytes, folder: Path, kind: str) -> dict[str, Any]:
    """What exiftool reads, by group and name."""
    path = folder / f"read.{kind.lower()}"
    path.write_bytes(data)
    options = ["-j", "-G1", "-a", "-u", "-struct", "-charset", "exif=utf8", "-api", "Validate=1"]
    found = subprocess.run(["exiftool", *options, path], capture_output=True, check=True)
    return dict(json.loads(found.stdout)[0])


def chunk(name: bytes, data: bytes, *, wrong: bool = False) -> bytes:
    """A chunk of a PNG file, perhaps with a wrong checksum."""
    check = zlib.crc32(name + data) ^ wrong
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def png_with(*chunks: bytes) -> bytes:
    data = encoded(make_image(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg_with(*segments: bytes, behind: bytes = b"") -> bytes:
    data = encoded(make_image(), "JPEG")
    return data[:2] + b"".join(segments) + data[2:] + behind
