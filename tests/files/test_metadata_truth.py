"""What is kept of an image's metadata is true of the result."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import pytest
from crowded_files import box
from image_samples import encoded, make_image
from metadata_samples import (
    RDF,
    chunk,
    convert,
    jpeg_with,
    make_exif,
    opened,
    packet,
    png_with,
    rational,
    read,
    segment,
    short,
    sized,
    write,
)
from PIL import Image

from pysr.files.metadata import Metadata, fit, stripped, with_software
from pysr.files.metadata.photoshop import wrap_iptc
from pysr.files.metadata.tags import LONG, Tag, TagBlock, pack_block, text_tag

XMP_NAMES = (
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"'
)
GAIN_MAP = (
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
    ' xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    ' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
)
DIRECTORY = (
    '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap"'
    ' Item:Mime="a>b"/></rdf:li></rdf:Seq></Container:Directory>'
)


def camera_of(exif: bytes) -> dict[int, object]:
    found = Image.Exif()
    found.load(exif)
    return dict(found.get_ifd(34665))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_sizes_are_those_of_the_result(kind: str, orientation: int) -> None:
    exif = make_exif(orientation, t40962=short(12), t40963=Tag(LONG, 1, struct.pack("<I", 8)))
    xmp = packet(f'{XMP_NAMES} tiff:ImageWidth="12" exif:PixelYDimension="8" tiff:Orientation="{orientation}"')
    size = (12, 8) if orientation == 1 else (8, 12)
    result, changes = convert(write(Metadata(exif=exif, xmp=xmp), "JPEG"), "JPEG", kind, 3, size)
    found = read(result, kind)
    camera = camera_of(found.exif)
    assert (camera[40962], camera[40963]) == (3 * size[0], 3 * size[1])
    assert b'tiff:ImageWidth="%d"' % (3 * size[0]) in found.xmp
    assert b'exif:PixelYDimension="%d"' % (3 * size[1]) in found.xmp
    assert b'tiff:Orientation="1"' in found.xmp
    assert found.orientation == 1
    assert camera[37500] == b"keep these 20 bytes."
    assert {"EXIF sizes", "XMP sizes"} <= {note.what for note in changes.changed}
    assert ("maker note" in {note.what for note in changes.changed}) == (kind == "TIFF")


def test_a_size_above_16_bits_is_written_in_32() -> None:
    exif = make_exif(t40962=short(40_000), t40963=short(1))
    fitted, _ = fit(sized(Metadata(exif=exif), 40_000, 1), "PNG", (80_000, 2))
    assert [camera_of(fitted.exif)[tag] for tag in (40962, 40963)] == [80_000, 2]


def test_sizes_as_elements_of_xmp() -> None:
    xmp = packet(
        XMP_NAMES, "<tiff:ImageWidth> 12</tiff:ImageWidth><GPano:FullPanoWidthPixels>24</GPano:FullPanoWidthPixels>"
    )
    fitted, _ = fit(sized(Metadata(xmp=xmp), 12, 8), "PNG", (24, 16))
    assert b"<tiff:ImageWidth> 24<" in fitted.xmp
    assert b">48</GPano:FullPanoWidthPixels>" in fitted.xmp


def test_only_the_bytes_that_must_change_do() -> None:
    exif = make_exif(3, t40962=short(12))
    fitted, _ = fit(sized(Metadata(exif=exif), 12, 8, 3), "JPEG", (24, 16))
    changed = [at for at, (a, b) in enumerate(zip(exif, fitted.exif, strict=True)) if a != b]
    assert len(changed) == 2  # the orientation and the width, one byte each
    assert fitted.exif.index(b"keep these") == exif.index(b"keep these")


def with_thumbnail(orientation: int, thumbnail: bytes) -> bytes:
    exif = bytearray(make_exif(orientation))
    block = TagBlock(exif)
    link = block.directory(block.first).link
    struct.pack_into("<I", exif, link, len(exif))
    start = len(exif) + 2 + 3 * 12 + 4
    entries = struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    entries += struct.pack("<HHIIHHII", 513, 4, 1, start, 514, 4, 1, len(thumbnail))
    return bytes(exif) + struct.pack("<H", 3) + entries + bytes(4) + thumbnail


def thumbnail_of(exif: bytes) -> Image.Image | None:
    block = TagBlock(exif)
    position = block.directory(block.first).next
    if not position:
        return None
    directory = block.directory(position)
    assert block.numbers(directory.get(274)) == (1,)
    start, length = (int(block.numbers(directory.get(tag))[0]) for tag in (513, 514))
    return opened(exif[start : start + length])


@pytest.mark.parametrize("quality", [10, 100])
def test_the_thumbnail_is_turned_with_the_image(quality: int) -> None:
    small = Image.linear_gradient("L").resize((16, 8)).convert("RGB")
    exif = with_thumbnail(6, encoded(small, "JPEG", quality=quality))
    fitted, changes = fit(sized(Metadata(exif=exif), 8, 12, 6), "JPEG", (16, 24))
    turned = thumbnail_of(fitted.exif)
    assert turned
    assert turned.size == (8, 16)
    assert turned.getpixel((0, 8))[0] > turned.getpixel((7, 8))[0] + 100  # dark above becomes dark at the right
    assert "EXIF thumbnail" in {note.what for note in changes.changed}


def test_a_thumbnail_that_cannot_be_turned_is_dropped() -> None:
    exif = with_thumbnail(6, b"no image at all")
    fitted, changes = fit(sized(Metadata(exif=exif), 8, 12, 6), "JPEG", (16, 24))
    assert thumbnail_of(fitted.exif) is None
    assert b"no image" not in fitted.exif
    assert "EXIF thumbnail" in changes.warning


def test_what_is_measured_in_pixels_is_scaled_or_dropped() -> None:
    exif = make_exif(t37396=short(4, 5, 2, 2), t41486=rational(100), t41487=rational(50))
    camera = camera_of(fit(sized(Metadata(exif=exif), 12, 8), "PNG", (24, 24))[0].exif)
    assert camera[37396] == (8, 15, 4, 6)
    assert (camera[41486], camera[41487]) == (200, 150)
    fitted, changes = fit(sized(Metadata(exif=exif), 8, 12, 6), "PNG", (16, 24))
    camera = camera_of(fitted.exif)
    assert 37396 not in camera
    assert (camera[41486], camera[41487], camera[37500]) == (100, 200, b"keep these 20 bytes.")
    assert "SubjectArea" in changes.warning


def test_a_gain_map_takes_its_xmp_with_it() -> None:
    xmp = packet(f'{GAIN_MAP} xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="kept"', DIRECTORY)
    data = jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp), behind=encoded(make_image(), "JPEG"))
    result, changes = convert(data, "JPEG", "JPEG", 2)
    found = read(result, "JPEG").xmp
    assert not any(word in found for word in (b"hdrgm:Version", b"GainMap", b"Directory"))
    assert b'dc:format="kept"' in found
    assert [note.what for note in changes.dropped] == ["gain map"]


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (segment(0xE2, b"MPF\0" + pack_block({0xB001: Tag(4, 1, b"\3\0\0\0")}, "<")), "2 further images"),
        (segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"), "gain map"),
        (segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb....c2pa"), "C2PA"),
        (segment(0xE4, b"FOO\0bar"), "APP4 'FOO'"),
    ],
)
def test_what_no_file_can_keep_is_named(part: bytes, what: str) -> None:
    result, changes = convert(jpeg_with(part), "JPEG", "JPEG")
    assert what in changes.warning
    assert part[4:12] not in result


def test_metadata_of_a_further_image_are_not_those_of_the_image() -> None:
    image, packets = (
        encoded(make_image(), "AVIF"),
        [packet(f'xmlns:n="n" n:of="{of}"') for of in ("image", "depth map")],
    )
    kind = b"mimeapplication/rdf+xml\0"
    entries = b"".join(box(b"infe", b"\2\0\0\0" + struct.pack(">HH", item, 0) + kind) for item in (50, 51))
    starts = len(image) + 8, len(image) + 8 + len(packets[0])
    places = b"".join(
        struct.pack(">HHHII", item, 0, 1, start, len(each))
        for item, start, each in zip((50, 51), starts, packets, strict=True)
    )
    references = b"".join(box(b"cdsc", struct.pack(">HHH", item, 1, of)) for item, of in ((50, 1), (51, 2)))
    meta = bytes(4) + box(b"iinf", bytes(4) + struct.pack(">H", 2) + entries)
    meta += box(b"iloc", bytes(4) + b"\x44\0" + struct.pack(">H", 2) + places) + box(b"iref", bytes(4) + references)
    data = image + box(b"free", b"".join(packets)) + box(b"meta", meta)
    assert read(data, "AVIF").xmp == packets[0]
    assert read(data.replace(b"cdsc\0\x33\0\1\0\2", b"cdsc\0\x33\0\1\0\1"), "AVIF").xmp == packets[1]


def test_a_depth_map_in_extended_xmp_is_named() -> None:
    main = packet('xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="ABC"')
    depth = packet('xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" GDepth:Data="AAAA"')
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", len(depth), 0)
    data = jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + main), segment(0xE1, head + depth))
    result, changes = convert(data, "JPEG", "JPEG")
    assert "depth map" in changes.warning
    assert b"HasExtendedXMP" not in result
    assert b"GDepth:Data" not in result


def test_a_video_behind_the_image_is_named() -> None:
    data = jpeg_with(behind=b"\0\0\0\x18ftypmp42")
    assert "video" in convert(data, "JPEG", "PNG")[1].warning


@pytest.mark.parametrize(
    "text", ['{"shape": [8, 12, 3]}', '<?xml version="1.0"?><!-- --><OME xmlns="a"/>', "ImageJ=1.5\n"]
)
def test_a_description_of_the_old_array_is_dropped(text: str) -> None:
    data = encoded(make_image(), "TIFF", tiffinfo={270: text, 269: "kept"})
    result, changes = convert(data, "TIFF", "TIFF", 2)
    assert 270 not in opened(result).tag_v2
    assert opened(result).tag_v2[269] == "kept"
    assert "ImageDescription" in changes.warning


def test_unknown_tags_of_a_tiff_are_named() -> None:
    data = encoded(make_image(), "TIFF", tiffinfo={33550: (1.0, 1.0, 0.0), 65000: "x"})
    assert {"GeoTIFF", "TIFF tag 65000"} <= {note.what for note in convert(data, "TIFF", "TIFF")[1].dropped}


def test_the_position_can_be_taken_out() -> None:
    xmp = packet(
        f'{XMP_NAMES} exif:GPSLatitude="47,30N" exif:PixelXDimension="1"', "<exif:GPSMapDatum>W</exif:GPSMapDatum>"
    )
    result = stripped(Metadata(exif=make_exif(), xmp=xmp), "gps")
    found = Image.Exif()
    found.load(result.exif)
    assert 34853 not in found
    assert struct.pack("<6I", 47, 1, 30, 1, 0, 1) not in result.exif
    assert found[271] == "Cam"
    assert found.get_ifd(34665)[37500] == b"keep these 20 bytes."
    assert b"GPS" not in result.xmp
    assert b"PixelXDimension" in result.xmp


def test_everything_but_colours_and_print_size_can_be_taken_out() -> None:
    data = png_with(chunk(b"gAMA", struct.pack(">I", 50_000)), chunk(b"tEXt", b"Title\0x"))
    found = read(data, "PNG")
    assert replace(stripped(found, "all"), changed=()) == Metadata(colours=found.colours)
    assert [note.what for note in stripped(found, "all").changed] == ['PNG text "Title"']


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_what_was_done_can_be_noted(kind: str) -> None:
    image = opened(write(with_software(Metadata(), kind, "pysr 0.2, vdsr x2"), kind))
    assert image.getexif()[305] == "pysr 0.2, vdsr x2"
    assert kind != "PNG" or image.info["Software"] == "pysr 0.2, vdsr x2"
    earlier = Metadata(exif=pack_block({305: text_tag("Camera 1")}, ">"))
    assert opened(write(with_software(earlier, kind, "pysr"), kind)).getexif()[305] == "Camera 1; pysr"


def test_photoshop_resources_that_describe_old_pixels_are_dropped() -> None:
    slices = b"8BIM" + struct.pack(">HxxI", 0x041A, 4) + b"abcd"
    fitted, changes = fit(sized(Metadata(photoshop=slices + wrap_iptc(b"\x1c\2\0")), 1, 1), "PNG", (2, 2))
    assert fitted.photoshop == wrap_iptc(b"\x1c\2\0")
    assert "slices" in changes.warning


def test_faces_are_dropped_when_the_image_is_turned() -> None:
    names = 'xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
    xmp = packet(
        names, f'<mwg-rs:Regions rdf:parseType="Resource" {RDF}><mwg-rs:Name>Ann</mwg-rs:Name></mwg-rs:Regions>'
    )
    upright, _ = fit(sized(Metadata(xmp=xmp), 1, 1), "PNG", (2, 2))
    assert b"Ann" in upright.xmp
    turned, changes = fit(sized(Metadata(xmp=xmp), 1, 1, 6), "PNG", (2, 2))
    assert b"Ann" not in turned.xmp
    assert "face regions" in changes.warning


def test_a_tiff_of_the_other_byte_order_has_the_same_tags() -> None:
    file = io.BytesIO()
    make_image().save(file, "TIFF")
    assert file.getvalue().startswith(b"II")
    exif = pack_block(
        {271: text_tag("Cam"), 34665: Tag(LONG, 1, b"", {33434: Tag(5, 1, struct.pack(">II", 1, 250))})}, ">"
    )
    found = opened(write(fit(sized(Metadata(exif=exif), 1, 1), "TIFF", (1, 1))[0], "TIFF")).getexif()
    assert found[271] == "Cam"
    assert found.get_ifd(34665)[33434] == 0.004
