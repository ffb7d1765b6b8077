"""A detail of the metadata never costs the image, nor a warning that a user cannot understand."""

from __future__ import annotations

import io
import random
import struct
import zlib
from itertools import product
from pathlib import Path

import pytest
from image_samples import encoded, make_image
from metadata_samples import (
    chunk,
    convert,
    everything,
    jpeg_with,
    make_exif,
    opened,
    packet,
    png_with,
    read,
    segment,
    sized,
    write,
)
from PIL import PngImagePlugin

from pysr.files import read_raster, write_raster
from pysr.files.metadata import Metadata, decodable, embed, fit, read_metadata, stripped, with_software
from pysr.files.metadata.tags import SIZES, Tag, TagBlock, pack_block

TAGS = (254, 256, 269, 270, 271, 274, 282, 285, 296, 305, 306, 315, 33432, 34665, 34853, 40091)
TYPES = range(1, 17)


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_of_any_type_is_written_or_named(tag: int) -> None:
    for type in TYPES:
        size = SIZES.get(type, 4)
        exif = pack_block({tag: Tag(type, 1, bytes(range(1, size + 1))), 272: Tag(2, 4, b"Mod\0")}, "<")
        data = jpeg_with(segment(0xE1, b"Exif\0\0" + exif))
        result, changes = convert(data, "JPEG", "TIFF", 2)
        image = opened(result)
        assert image.size == (24, 16)
        assert image.tag_v2[272] == "Mod"
        written = dict(image.tag_v2)
        assert tag in written or changes.dropped or tag == 254


@pytest.mark.parametrize("value", [Tag(2, 2, b"6\0"), Tag(1, 1, b"\6"), Tag(3, 1, b"\x2a\0")])
def test_an_orientation_that_is_none_is_left_out_with_a_warning(value: Tag) -> None:
    data = jpeg_with(segment(0xE1, b"Exif\0\0" + pack_block({271: Tag(2, 4, b"Cam\0"), 274: value}, "<")))
    assert read(data, "JPEG").orientation == 1
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        result, changes = convert(data, "JPEG", kind)
        assert opened(result).getexif().get(274, 1) == 1
        assert opened(result).getexif()[271] == "Cam"
        assert "Orientation" in changes.warning


def test_a_text_beyond_the_limit_of_pillow_is_kept_readable() -> None:
    data = png_with(chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2_000_000)))
    with pytest.raises(ValueError, match="too large"):
        opened(data)
    assert opened(decodable(io.BytesIO(data), "PNG", read(data, "PNG")).read()).size == (12, 8)
    result, changes = convert(data, "PNG", "PNG")
    image = opened(result)
    assert isinstance(image, PngImagePlugin.PngImageFile)
    assert image.text["workflow"] == "x" * 2_000_000
    assert not changes.dropped


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (chunk(b"tEXt", b"Title\0x", wrong=True), 'PNG text "Title"'),
        (chunk(b"bKGD", bytes(6), wrong=True), "PNG chunk bKGD"),
        (chunk(b"zTXt", b"Title\0\0" + b"no stream"), "PNG text"),
        (chunk(b"iTXt", b"Title"), "PNG text"),
        (chunk(b"iCCP", b"name\0\0" + b"no stream"), "colour profile"),
        (chunk(b"pHYs", b"short"), "resolution"),
        (chunk(b"eXIf", b"nonsense"), "EXIF"),
        (chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 99\nzz"), "PNG text"),
        (chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(2**26 + 1))), "PNG text"),
    ],
)
def test_a_damaged_chunk_is_named_and_its_neighbours_are_kept(part: bytes, what: str) -> None:
    result, changes = convert(png_with(part, chunk(b"tEXt", b"Author\0Ann")), "PNG", "PNG")
    assert opened(result).info["Author"] == "Ann"
    assert what in changes.warning
    assert "damaged" in changes.warning or "64 MiB" in changes.warning


def test_damaged_exif_and_xmp_are_named() -> None:
    damaged = Metadata(exif=b"nonsense", xmp=b"<x:xmpmeta", resolution=None)
    fitted, changes = fit(sized(damaged, 1, 1), "TIFF", (2, 2))
    assert fitted.exif == b""
    assert "EXIF" in changes.warning
    assert fitted.xmp == b"<x:xmpmeta"  # perhaps somebody can read it


def test_entities_in_xmp_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + packet('xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" a="&a;"')
    fitted, changes = fit(sized(Metadata(xmp=bomb), 1, 1), "PNG", (2, 2))
    assert fitted.xmp == b""
    assert "XMP" in changes.warning


def test_whitespace_in_xmp_takes_no_time() -> None:
    padded = packet('xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1"') + b" " * 200_000
    assert stripped(fit(sized(Metadata(xmp=padded), 1, 1), "PNG", (2, 2))[0], "gps")


SOURCES = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "GIF")
TARGETS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")


@pytest.mark.parametrize("source", SOURCES)
def test_changed_bytes_cost_at_most_the_metadata(source: str) -> None:
    random_numbers = random.Random(source)
    whole = fit(sized(everything(), 12, 8), source, (12, 8))[0]
    start = encoded(make_image("P"), "GIF", comment=b"hello") if source == "GIF" else write(whole, source)
    plain = {kind: encoded(make_image(), kind) for kind in TARGETS}
    for _, target in product(range(12), TARGETS):
        data = bytearray(start)
        for _ in range(random_numbers.choice((1, 3, 20))):
            at = random_numbers.randrange(min(len(data), 3000))
            data[at : at + 1] = random_numbers.choice((b"", b"\0", b"\xff\xff\xff\xff", random_numbers.randbytes(1)))
        found = read_metadata(io.BytesIO(data), source)
        fitted = fit(sized(stripped(found, "gps"), 12, 8, random_numbers.randrange(1, 9)), target, (24, 16))[0]
        if target != "BMP":
            fitted = with_software(fitted, target, "pysr")
        result = io.BytesIO()
        embed(io.BytesIO(plain[target]), result, target, fitted)
        assert opened(result.getvalue()).size == (12, 8)


@pytest.mark.parametrize("length", range(0, 60, 7))
@pytest.mark.parametrize("kind", SOURCES)
def test_files_that_are_cut_off_can_be_asked(kind: str, length: int) -> None:
    data = encoded(make_image("P" if kind == "GIF" else "RGB"), kind)
    assert isinstance(read_metadata(io.BytesIO(data[:length]), kind), Metadata)


def test_a_ring_of_directories_ends() -> None:
    exif = bytearray(make_exif())
    at = exif.index(struct.pack("<HHI", 34665, 4, 1)) + 8
    struct.pack_into("<I", exif, at, 8)  # the EXIF directory is the first directory
    data = jpeg_with(segment(0xE1, b"Exif\0\0" + bytes(exif)))
    assert opened(convert(data, "JPEG", "TIFF")[0]).getexif()[271] == "Cam"


@pytest.mark.parametrize("tag", [274, 282, 296, 305, 700, 34665, 34853, 34675, 33723])
@pytest.mark.parametrize("pillow", [True, False])
def test_tags_of_any_type_do_not_cost_the_pixels_of_a_tiff(
    tmp_path: Path, tag: int, pillow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pillow:
        monkeypatch.setattr("pysr.files.tiff_choice.find_spec", lambda name: None)
    plain = encoded(make_image(), "TIFF")
    for type, count in product((1, 2, 3, 4, 5, 7, 11, 14), (1, 3)):
        block = TagBlock(bytearray(plain))
        block.add({tag: Tag(type, count, bytes(range(1, SIZES.get(type, 4) * count + 1)))})
        (tmp_path / "a.tif").write_bytes(block.data)
        raster = read_raster(tmp_path / "a.tif")
        assert raster.pixels.tobytes() == make_image().tobytes()
        write_raster(raster, tmp_path / "b.tif")
        assert opened((tmp_path / "b.tif").read_bytes()).size == (12, 8)
