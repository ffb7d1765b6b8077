"""Metadata of every kind go from every format to every other, or a word says that they do not."""

from __future__ import annotations

import io
import shutil
import struct
from dataclasses import fields, replace
from pathlib import Path

import pytest
from image_samples import encoded, make_image
from metadata_samples import (
    PROFILE,
    RECORDS,
    chunk,
    convert,
    everything,
    exiftool,
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
from PIL import Image, PngImagePlugin

from pysr.files import read_image
from pysr.files.metadata import Metadata, Resolution, Text, embed, fit
from pysr.files.metadata.jpeg import MOST_XMP
from pysr.files.metadata.photoshop import wrap_iptc

needs_exiftool = pytest.mark.skipif(not shutil.which("exiftool"), reason="needs exiftool, an independent reader")
KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")
PLACES = {  # what each format has a place for
    "PNG": {"icc", "exif", "xmp", "photoshop", "resolution", "text", "colours", "modified"},
    "JPEG": {"icc", "exif", "xmp", "photoshop", "resolution", "comments"},
    "TIFF": {"icc", "exif", "xmp", "photoshop", "resolution"},
    "WEBP": {"icc", "exif", "xmp"},
    "AVIF": {"icc", "exif", "xmp"},
    "BMP": {"resolution"},
}


@pytest.mark.parametrize("kind", PLACES)
def test_what_a_format_has_a_place_for_comes_back_and_the_rest_is_named(kind: str) -> None:
    whole = everything()
    fitted, changes = fit(sized(whole, 12, 8), kind, (12, 8))
    found = read(write(fitted, kind), kind)
    for field in (field.name for field in fields(Metadata)):
        if field in PLACES[kind] - {"resolution", "exif"}:
            wanted = (*whole.text, Text("Comment", "hello")) if field == "text" else getattr(whole, field)
            if field == "comments":
                wanted = (b"hello",)
            assert getattr(found, field) == wanted
    if kind != "BMP":
        exif = Image.Exif()
        exif.load(found.exif)
        assert (exif[271], exif[40091].rstrip(b"\0")) == ("Cam", "Tit".encode("utf-16-le").rstrip(b"\0"))
        assert exif.get_ifd(34665)[37500] == b"keep these 20 bytes."
        assert exif.get_ifd(34853)[2] == (47, 30, 0)
    assert found.resolution and found.resolution.per("inch") == pytest.approx((300, 300), 1e-4)
    lost = {"exif": "EXIF", "xmp": "XMP", "icc": "colour profile", "photoshop": "IPTC", "colours": "gAMA"}
    for field in {*lost} - PLACES[kind]:
        assert lost[field] in {note.what for note in (*changes.dropped, *changes.changed)}
    assert kind == "PNG" or 'PNG text "parameters"' in changes.warning
    assert kind in ("PNG", "JPEG") or "comment" in changes.warning


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_profile_exif_and_xmp_survive_every_conversion(source: str, target: str) -> None:
    data = write(fit(sized(everything(), 12, 8), source, (12, 8))[0], source)
    result, _ = convert(data, source, target)
    image = opened(result)
    assert image.info["icc_profile"] == PROFILE
    assert image.getexif()[271] == "Cam"
    assert image.getexif().get_ifd(34665)[36867] == "2020:02:03 04:05:06"
    assert b"dc:format" in read(result, target).xmp


@needs_exiftool
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_independent_reader_finds_them(tmp_path: Path, kind: str) -> None:
    fitted, _ = fit(sized(everything(), 12, 8), kind, (12, 8))
    found = exiftool(write(fitted, kind), tmp_path, kind)
    assert (found["IFD0:Make"], found["IFD0:XPTitle"], found["IFD0:ImageDescription"]) == ("Cam", "Tit", "Söhne")
    assert found["XMP-dc:Format"] == "a < b"
    assert found["ICC_Profile:ProfileDescription"]
    assert found["ExifIFD:DateTimeOriginal"] == "2020:02:03 04:05:06"
    assert (found["GPS:GPSLatitudeRef"], found["IFD0:XResolution"]) == ("North", 300)
    assert kind == "WEBP" or found["IPTC:Keywords"] == "dog"
    assert kind != "PNG" or (found["PNG:Title"], found["PNG:Gamma"]) == ("Ünïcode ✓", 1)
    assert kind != "JPEG" or found["File:Comment"] == "hello"
    assert "ExifTool:Error" not in found


def test_exif_of_a_webp_is_exif_in_a_jpeg() -> None:
    data, _ = convert(encoded(make_image(), "WEBP", exif=make_exif()), "WEBP", "JPEG")
    at = data.index(b"\xff\xe1")
    assert data[at + 4 : at + 10] == b"Exif\0\0"
    assert opened(data).getexif()[271] == "Cam"


def test_texts_of_a_png_stay_equal() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a dog\nSteps: 20, Seed: 1")
    info.add_text("prompt", "long " * 500, zip=True)
    info.add_itxt("Title", "Ünïcode ✓", "de", "Titel")
    data = encoded(make_image(), "PNG", pnginfo=info)
    result, changes = convert(data, "PNG", "PNG")
    before, after = opened(data), opened(result)
    assert isinstance(before, PngImagePlugin.PngImageFile)
    assert isinstance(after, PngImagePlugin.PngImageFile)
    assert after.text == before.text
    assert not changes.dropped
    assert "parameters" in convert(data, "PNG", "JPEG")[1].warning


def test_texts_of_a_meaning_go_into_exif_where_it_says_nothing() -> None:
    info = PngImagePlugin.PngInfo()
    for key in ("Author", "Copyright", "Description", "Software", "Comment"):
        info.add_text(key, f"the {key}")
    result, changes = convert(encoded(make_image(), "PNG", pnginfo=info), "PNG", "JPEG")
    image = opened(result)
    assert [image.getexif()[tag] for tag in (315, 33432, 270, 305)] == [
        *("the Author", "the Copyright", "the Description", "the Software")
    ]
    assert image.info["comment"] == b"the Comment"
    assert not changes.dropped
    assert changes.moved == changes.changed
    assert len(changes.moved) == 5


def test_iptc_goes_between_jpeg_and_tiff() -> None:
    data = jpeg_with(segment(0xED, b"Photoshop 3.0\0" + wrap_iptc(RECORDS)))
    assert opened(convert(data, "JPEG", "JPEG")[0]).info["photoshop"][0x0404] == RECORDS
    tiff, _ = convert(data, "JPEG", "TIFF")
    assert opened(tiff).tag_v2[33723] == RECORDS
    assert opened(convert(tiff, "TIFF", "TIFF")[0]).tag_v2[33723] == RECORDS
    assert opened(convert(tiff, "TIFF", "JPEG")[0]).info["photoshop"][0x0404] == RECORDS
    assert "IPTC" in convert(data, "JPEG", "WEBP")[1].warning


def test_titles_of_windows_go_into_a_tiff() -> None:
    data = jpeg_with(segment(0xE1, b"Exif\0\0" + make_exif()))
    assert opened(convert(data, "JPEG", "TIFF")[0]).tag_v2[40091] == "Tit".encode("utf-16-le")


def test_the_resolution_goes_into_every_format() -> None:
    data = encoded(make_image(), "JPEG", dpi=(300, 300))
    assert opened(convert(data, "JPEG", "WEBP")[0]).getexif()[282] == 300
    webp, _ = convert(data, "JPEG", "WEBP")
    bmp = opened(convert(webp, "WEBP", "BMP")[0])
    assert bmp.info["dpi"] == pytest.approx((300, 300), 1e-3)
    fine = replace(Metadata(), resolution=Resolution(100_000, 100_000, "inch"))
    fitted, _ = fit(sized(fine, 1, 1), "JPEG", (1, 1))
    assert read(write(fitted, "JPEG"), "JPEG").resolution == Resolution(100_000, 100_000, "inch")


def test_what_colours_mean_stays_with_a_png_and_is_missed_elsewhere() -> None:
    for name, data in ((b"gAMA", struct.pack(">I", 100_000)), (b"cICP", bytes([9, 16, 0, 1]))):
        png = png_with(chunk(name, data))
        result, changes = convert(png, "PNG", "PNG")
        assert name + data in result
        assert not changes.dropped
        assert name.decode() in convert(png, "PNG", "WEBP")[1].warning
    plain = png_with(chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 45455)))
    _, changes = convert(plain, "PNG", "JPEG")
    assert not changes.warning
    assert {note.what for note in changes.changed} == {"sRGB", "gAMA"}


def test_hints_of_a_png_are_named_without_a_warning() -> None:
    _, changes = convert(png_with(chunk(b"bKGD", bytes(6))), "PNG", "PNG")
    assert [note.what for note in changes.changed] == ["PNG chunk bKGD"]
    assert not changes.warning


def test_comments_go_into_png_and_are_missed_elsewhere() -> None:
    data = jpeg_with(segment(0xFE, b"hello"))
    image = opened(convert(data, "JPEG", "PNG")[0])
    assert isinstance(image, PngImagePlugin.PngImageFile)
    assert image.text == {"Comment": "hello"}
    assert "comment" in convert(data, "JPEG", "TIFF")[1].warning
    gif = encoded(make_image("P"), "GIF", comment=b"from a GIF")
    assert read(gif, "GIF").comments == (b"from a GIF",)
    for source, kind in ((data, "JPEG"), (gif, "GIF")):  # as whoever looks for a comment finds none
        assert convert(source, kind, "PNG")[1].warning == 'kept elsewhere: comment (the text "Comment" in PNG)'
    back = convert(convert(data, "JPEG", "PNG")[0], "PNG", "JPEG")[1]
    assert back.warning == 'kept elsewhere: PNG text "Comment" (a comment in JPEG)'
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"  # leads readers to its end (XMP, part 3)
    xmp = packet("")
    extension = b"\x21\xff\x0bXMP DataXMP" + xmp + trailer
    at = gif.index(b"\x21\xfe")
    assert read(gif[:at] + extension + gif[at:], "GIF").xmp == xmp


def test_long_xmp_is_divided_in_a_jpeg_and_joined_again() -> None:
    names = 'xmlns:a="urn:a" xmlns:b="urn:b" a:small="1"'
    long = packet(names, f"<b:one>{'x' * 90_000}</b:one><b:two>{'y' * 30_000}</b:two>")
    fitted, changes = fit(sized(Metadata(xmp=long), 1, 1), "JPEG", (1, 1))
    assert not changes.dropped
    data = write(fitted, "JPEG")
    assert len(opened(data).info["xmp"]) <= MOST_XMP
    found = read(data, "JPEG")
    assert (b"x" * 90_000 in found.xmp, b"y" * 30_000 in found.xmp, b'a:small="1"' in found.xmp) == (True,) * 3
    assert b"HasExtendedXMP" not in found.xmp
    huge = packet(f'xmlns:a="urn:a" a:all="{"x" * 70_000}"')
    assert "XMP" in fit(sized(Metadata(xmp=huge), 1, 1), "JPEG", (1, 1))[1].warning


@needs_exiftool
def test_an_independent_reader_finds_divided_xmp(tmp_path: Path) -> None:
    names = 'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="short"'
    long = packet(names, f"<dc:source>{'x' * 90_000}</dc:source>")
    found = exiftool(write(Metadata(xmp=long), "JPEG"), tmp_path, "JPEG")
    assert found["XMP-dc:Source"] == "x" * 90_000
    assert found["XMP-dc:Format"] == "short"


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_plain_webp_gets_its_extended_header(lossless: bool, mode: str) -> None:
    before = encoded(make_image(mode), "WEBP", lossless=lossless)
    target = io.BytesIO()
    embed(io.BytesIO(before), target, "WEBP", Metadata(exif=make_exif(), icc=PROFILE))
    after = opened(target.getvalue())
    assert after.getexif()[271] == "Cam"
    assert after.mode == mode
    assert after.tobytes() == opened(before).tobytes()


def test_pil_images_have_what_pillow_knows_of(tmp_path: Path) -> None:
    fitted, _ = fit(sized(everything(), 12, 8), "PNG", (12, 8))
    (tmp_path / "a.png").write_bytes(write(fitted, "PNG"))
    info = read_image(tmp_path / "a.png").info
    assert info["icc_profile"] == PROFILE
    assert (info["parameters"], info["Title"]) == (everything().text[0].value, "Ünïcode ✓")
    assert info["photoshop"] == {0x0404: RECORDS}
    assert info["dpi"] == pytest.approx((300, 300), 1e-4)
    assert Metadata.from_info(info).iptc == RECORDS
