"""Damaged, hostile and foreign files: an InputError, or the image that they hold."""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from file_samples import Pixels, noise, png
from image_samples import encoded, make_image, same
from PIL import Image, ImageFile, PngImagePlugin

from pysr.errors import InputError
from pysr.files import read_image, read_raster
from pysr.files.encoders import encode_image
from pysr.files.frames import read_animation
from pysr.files.metadata import Metadata
from pysr.files.raster import Kind, Raster
from pysr.files.tiff_pages import read_page


def deep(pixels: Pixels, kind: Kind) -> bytes:
    file = io.BytesIO()
    encode_image(Raster(pixels, kind), "TIFF", file, Metadata())
    return file.getvalue()


_NAMES = re.compile(r"[A-Z]\w*Error\b|struct\.error|\(\)")  # of errors in Python
TINY = {
    "png": encoded(make_image(), "PNG"),
    "png palette": encoded(make_image("P"), "PNG", transparency=1),
    "png 16": encoded(make_image("I;16"), "PNG"),
    "jpeg": encoded(make_image(), "JPEG"),
    "jpeg progressive": encoded(make_image(), "JPEG", progressive=True),
    "jpeg cmyk": encoded(make_image("CMYK"), "JPEG"),
    "webp": encoded(make_image(), "WEBP"),
    "avif": encoded(make_image(), "AVIF"),
    "tiff": encoded(make_image(), "TIFF"),
    "tiff lzw": encoded(make_image(), "TIFF", compression="tiff_lzw"),
    "tiff fax": encoded(make_image("1"), "TIFF", compression="group4"),
    "bmp": encoded(make_image(), "BMP"),
    "gif": encoded(make_image("P"), "GIF"),
    "ppm": encoded(make_image(), "PPM"),
    "tga": encoded(make_image(), "TGA"),
    "jpeg 2000": encoded(make_image(), "JPEG2000"),
    "ppm 16": b"P6 3 2 65535\n" + noise((2, 3, 3), "uint16").tobytes(),
    "png 16 rgb": png(noise((3, 4, 3), "uint16")),
    "tiff 16": deep(noise((3, 4, 3), "uint16"), "rgb"),
    "tiff float": deep(noise((3, 4), "float32"), "gray"),
}


def lzw(*codes: int) -> bytes:
    """Codes of nine bits each, as TIFF files of little LZW have them."""
    bits = "".join(f"{code:09b}" for code in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def test_lzw_that_names_what_it_has_not_made_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data, clear, never_made = TINY["tiff lzw"], 256, 300
    codes = lzw(clear, 7, clear, *[never_made] * 60)
    (tmp_path / "a.tif").write_bytes(data[:8] + codes + data[8 + len(codes) :])
    # imagecodecs would take the code for a place in memory; tifffile keeps the decoders that it has once looked up
    decoders = pytest.importorskip("tifffile").TIFF.DECOMPRESSORS._codecs
    monkeypatch.setitem(decoders, 5, lambda *_, **__: pytest.fail("decoded by imagecodecs"))
    with pytest.raises(InputError, match="damaged"):
        read_image(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(data)
    assert same(read_image(tmp_path / "a.tif"), make_image())
    assert not capfd.readouterr().err


def test_what_is_printed_while_lzw_is_decoded_stays_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of other threads, it may be the progress or the errors."""
    make_image().save(tmp_path / "a.tif", compression="tiff_lzw")
    with monkeypatch.context() as reading:
        reading.setattr(os, "dup2", lambda *_: pytest.fail("standard error is led elsewhere"))
        image = read_image(tmp_path / "a.tif")
    assert same(image, make_image())


def test_strips_of_lzw_beyond_4_gib_are_refused_by_the_header(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    path, side = tmp_path / "a.tif", 2**16
    for bytes_in_file in (2**20, 2**32 - 2**8):
        rows = side if bytes_in_file == 2**20 else 16
        tags = [(256, 4, 1, side), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1), (273, 4, 1, 256)]
        tags += [(277, 3, 1, 1), (278, 4, 1, rows), (279, 4, 1, bytes_in_file)]
        path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)))
        with path.open("ab") as file:
            file.write(b"".join(struct.pack("<HHII", *tag) for tag in tags))
        os.truncate(path, 256 + bytes_in_file)
        with pytest.raises(InputError, match="strips of 4 GiB or more"):
            read_image(path)


def test_lzw_may_have_the_bits_of_its_bytes_in_reverse(tmp_path: Path) -> None:
    make_image().save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={266: 2})
    assert same(read_image(tmp_path / "a.tif"), make_image())


@pytest.mark.parametrize("name", TINY)
def test_every_prefix_is_an_input_error_or_the_same_image(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a file"
    path.write_bytes(TINY[name])
    whole = read_image(path)
    read = 0
    for length in reversed(range(len(TINY[name]))):
        os.truncate(path, length)
        try:
            assert same(read_image(path), whole)
            read += 1
        except InputError as error:
            assert not _NAMES.search(str(error))  # noqa: PT017  # most prefixes raise, and some are complete
    assert read < 30


@pytest.mark.parametrize("name", TINY)
def test_damaged_bytes_are_an_input_error_or_an_image(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for _ in range(150):
        data = np.frombuffer(TINY[name], np.uint8).copy()
        where = random.integers(0, len(data), 3)
        data[where] ^= random.integers(1, 256, 3).astype(np.uint8)
        (tmp_path / "a").write_bytes(data.tobytes())
        with suppress(InputError):
            read_image(tmp_path / "a", max_pixels=2**22)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("name", TINY)
def test_the_content_decides_not_the_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.png").write_bytes(TINY[name])
    (tmp_path / "a").write_bytes(TINY[name])
    assert same(read_image(tmp_path / "a.png"), read_image(str(tmp_path / "a")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is no image",
        encoded(make_image(), "PCX"),
        encoded(make_image(), "ICO"),
        b"Pf\n1 1\n-1.0\n\0\0\0\0",
        b"P7\nWIDTH 1\n",
    ],
)
def test_other_files_never_reach_a_decoder(tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "__init__", lambda *_: pytest.fail("a decoder was started"))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png.*(empty|not an image).*PNG, JPEG"):
        read_image(tmp_path / "a.png")


def png_header(width: int, height: int, bits: int = 8) -> bytes:
    start = PngImagePlugin._MAGIC + b"\0\0\0\x0dIHDR" + struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return start + struct.pack(">I", zlib.crc32(start[12:])) + b"\0\0\0\x05IDATxxxxx"


def tiff(width: int, height: int, bits: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 110), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 116), (277, 3, 1, 3), (279, 4, 1, 12)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + directory + bytes(4) + struct.pack("<HHH", *[bits] * 3) + bytes(range(12))


BOMBS = {
    "png": png_header(50_000, 50_000),
    "png line": png_header(2**31 - 1, 1),
    "ppm": b"P6 40000 40000 255\n",
    "bmp": b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 40000, 40000, 1, 24, *[0] * 6),
    "jpeg": TINY["jpeg"].replace(struct.pack(">HH", 8, 12), struct.pack(">HH", 60000, 60000)),
    "gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "tiff": tiff(2**30, 2**10, 8),
    "tiff 16": tiff(2**30, 2**10, 16),
    "png 16": png_header(50_000, 50_000, 16),
    "jpeg 2000": TINY["jpeg 2000"]
    .replace(struct.pack(">II", 12, 8), struct.pack(">II", 50_000, 50_000))
    .replace(struct.pack(">II", 8, 12), struct.pack(">II", 50_000, 50_000)),
    "ppm 16": b"P6 40000 40000 65535\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("memory was taken"))
    (tmp_path / "a").write_bytes(BOMBS[name])
    with pytest.raises(InputError, match="million"):
        read_image(tmp_path / "a")


def webp(width: int, height: int) -> bytes:
    """A file of one colour, whose pixels take no bits at all."""
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    struct.pack_into("<I", data, 21, width - 1 | height - 1 << 14)
    return bytes(data)


EMPTY = {  # declare pixels that their few bytes cannot hold, though not too many of them
    "png": png_header(23_000, 23_000),
    "png thin": png_header(24, 4_194_322),
    "jpeg": TINY["jpeg"].replace(struct.pack(">HH", 8, 12), struct.pack(">HH", 23_000, 23_000)),
    "tiff": tiff(23_000, 23_000, 8),
    "tiff 16": tiff(8_000, 8_000, 16),
    "webp": webp(12_000, 12_000),
    "gif": BOMBS["gif"].replace(bytes([255] * 4), struct.pack("<HH", 9000, 9000)),
    "ppm": b"P6 9000 9000 255\n",
    "pbm": b"P4 9000 9000\n" + bytes(1000),
}


@pytest.mark.parametrize("name", EMPTY)
def test_more_pixels_than_its_bytes_can_hold_cost_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("memory was taken"))
    monkeypatch.setattr(np, "zeros", lambda *_, **__: pytest.fail("memory was taken"))
    (tmp_path / "a").write_bytes(EMPTY[name])
    with pytest.raises(InputError, match=r"bytes for \d+ x \d+.*another copy"):
        read_image(tmp_path / "a")


def test_decoders_print_nothing_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = io.BytesIO()
    Image.new("1", (32, 32)).save(file, "TIFF", compression="group4", tiffinfo={277: 1})
    samples_per_pixel = file.getvalue().rindex(b"\x15\x01\x03\x00")
    file.getbuffer()[samples_per_pixel + 8] = 30  # per pixel, which Pillow complains of to its log
    file.seek(0)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(InputError, match="in a variant that Pillow does not read"):
        read_image(file)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["PNG", "TIFF", "GIF", "JPEG", "WEBP"])
def test_large_areas_of_one_colour_are_read(tmp_path: Path, name: str) -> None:
    side = 4200  # beyond what any file may declare
    image = Image.new("1" if name in ("PNG", "TIFF") else "L", (side, side))
    options = {"compression": "group4"} if name == "TIFF" else {"optimize": True, "progressive": True, "quality": 1}
    (tmp_path / "a").write_bytes(encoded(image, name, **(options if name != "WEBP" else {"quality": 1, "method": 0})))
    assert read_image(tmp_path / "a").size == (side, side)


def test_a_strip_that_says_it_is_shorter_than_its_rows_is_not_filled_with_black(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, noise((12, 10, 3)), rowsperstrip=4, photometric="rgb")
    data = file.getvalue()
    lengths = struct.pack("<3H", 120, 120, 120)
    assert data.count(lengths) == 1
    (tmp_path / "a").write_bytes(data.replace(lengths, struct.pack("<3H", 120, 75, 120)))
    with pytest.raises(InputError, match="damaged: a strip has 75 bytes, and its rows need 120"):
        read_raster(tmp_path / "a")


def test_a_page_behind_the_first_is_checked_too(tmp_path: Path) -> None:
    first, second = deep(noise((3, 4, 3), "uint16"), "rgb"), bytearray(tiff(23_000, 23_000, 8))
    data = bytearray(first) + bytes(len(first) % 2)
    where = len(data)
    for at in range(10, 10 + 12 * 8, 12):
        if struct.unpack_from("<H", second, at)[0] in (258, 273):
            struct.pack_into("<I", second, at + 8, struct.unpack_from("<I", second, at + 8)[0] + where)
    (directory,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<I", data, directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0], where + 8)
    (tmp_path / "a").write_bytes(bytes(data + second))
    with pytest.raises(InputError, match="bytes for"):
        read_page(tmp_path / "a", 1)


def test_an_animation_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.new("L", (40, 30), colour) for colour in (0, 100, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert len(read_animation(tmp_path / "a.gif").frames) == 3
    monkeypatch.setattr("pysr.files.frames.MAX_PIXELS", 2 * 40 * 30)
    with pytest.raises(InputError, match="3 frames of 40 x 30"):
        read_animation(tmp_path / "a.gif")
    assert len(read_animation(tmp_path / "a.gif", 2).frames) == 1


def test_a_palette_image_without_a_palette_is_damaged(tmp_path: Path) -> None:
    data = encoded(make_image("P"), "PNG")
    at = data.index(b"PLTE") - 4
    length = 12 + struct.unpack_from(">I", data, at)[0]
    (tmp_path / "a.png").write_bytes(data[:at] + data[at + length :])
    with pytest.raises(InputError, match="damaged"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("another size in its box", "two different sizes"),
        ("tiny tiles", "parts need"),
        ("tiny precincts", "parts need"),
    ],
)
def test_jpeg_2000_that_costs_more_than_its_pixels_is_refused_at_once(what: str, message: str) -> None:
    """OpenJPEG takes memory for what the headers declare: gigabytes, from a few hundred bytes."""
    data = bytearray(encoded(Image.new("RGB", (300, 300)), "JPEG2000", precinct_size=(128, 128)))
    size, style = data.find(b"\xff\x51"), data.find(b"\xff\x52")
    if what == "another size in its box":
        data[data.find(b"ihdr") + 4] = 0x20
    elif what == "tiny tiles":
        data[size + 22 : size + 30] = struct.pack(">II", 2, 2)
    else:
        data[style + 14 : style + 20] = bytes(6)
    with pytest.raises(InputError, match=message):
        read_image(io.BytesIO(data))
