"""Every kind of image file gives the pixels that it holds, or one clear word; none is wrong in silence."""

from __future__ import annotations

import io
import logging
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_samples import Pixels, chunk, noise, png
from PIL import Image

import pysr
from pysr.errors import InputError
from pysr.files import Raster, open_reader, read_raster

tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")
BLACK_TO_WHITE = np.array([[0, 0.25, 0.5, 1]])


def read(folder: Path, data: bytes) -> Raster:
    (folder / "a").write_bytes(data)
    return read_raster(folder / "a")


def tiff(pixels: Pixels, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **options)
    return file.getvalue()


# --- TIFF ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "options", "right"),
    [
        (np.array([[0, 4095, 2048]], np.uint16), {"bitspersample": 12}, [[0, 65535, 32776]]),
        (np.array([[0, 15, 7]], np.uint8), {"bitspersample": 4}, [[0, 255, 119]]),
        (np.array([[0, 65535, 1]], np.uint16), {"photometric": "miniswhite"}, [[65535, 0, 65534]]),
        (np.array([[0, 255, 1]], np.uint8), {"photometric": "miniswhite"}, [[255, 0, 254]]),
        (np.array([[0, 2**32 - 1, 2**31]], np.uint32), {}, [[0, 65535, 32768]]),
        (np.array([[-32768, 32767, 0]], np.int16), {}, [[0, 65535, 32768]]),
        (np.array([[-128, 127, 0]], np.int8), {}, [[0, 255, 128]]),
        (BLACK_TO_WHITE.astype(np.float16), {}, BLACK_TO_WHITE),
        (BLACK_TO_WHITE.astype(np.float32), {"predictor": 3, "compression": "zlib"}, BLACK_TO_WHITE),
        (BLACK_TO_WHITE.astype(np.float64), {}, BLACK_TO_WHITE),
        (BLACK_TO_WHITE.astype(np.float32) * 1000, {"extratags": [(341, "f", 1, 1000.0, True)]}, BLACK_TO_WHITE),
        (np.array([[True, False]]), {"photometric": "miniswhite"}, [[0, 255]]),
        (np.array([[[100, 50, 25, 128]]], np.uint8), {"extrasamples": ["assocalpha"]}, [[[199, 100, 50, 128]]]),
        (np.array([[[100, 128]]], np.uint8), {"extrasamples": ["assocalpha"]}, [[[199, 128]]]),
        (np.array([[[9, 9, 9, 0]]], np.uint16), {"extrasamples": ["assocalpha"]}, [[[0, 0, 0, 0]]]),
        (np.array([[[255, 128, 128]]], np.uint8), {"photometric": "icclab"}, [[[255, 255, 255]]]),
        (np.array([[[137, 81, 70]]], np.uint8), {"photometric": "cielab"}, [[[254, 0, 0]]]),
        (np.array([[[76, 85, 255]]], np.uint8), {"photometric": "ycbcr", "subsampling": (1, 1)}, [[[254, 0, 0]]]),
    ],
)
def test_samples_of_a_tiff_become_the_pixels_that_they_mean(
    tmp_path: Path, samples: Pixels, options: dict[str, Any], right: Any
) -> None:
    if "photometric" not in options:
        options = options | {"photometric": "rgb" if samples.ndim == 3 and samples.shape[2] > 2 else "minisblack"}
    raster = read(tmp_path, tiff(samples, **options))
    assert raster.pixels.dtype == (np.float32 if samples.dtype.kind == "f" else raster.pixels.dtype)
    tolerance = 1 if options["photometric"] in ("cielab", "ycbcr") else 0
    assert np.abs(raster.pixels.astype(float) - np.array(right, float)).max() <= tolerance


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma", "lerc", "webp"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"rowsperstrip": 3}, {"bigtiff": True}, {"byteorder": ">"}])
def test_every_layout_of_a_tiff_holds_the_same_pixels(
    tmp_path: Path, compression: str | None, planar: str, layout: dict[str, Any]
) -> None:
    pixels = noise((21, 34, 3), "uint8" if compression == "webp" else "uint16")
    if (compression == "webp" and planar == "separate") or (compression == "lerc" and "byteorder" in layout):
        pytest.skip("not to be had")
    stored = np.moveaxis(pixels, 2, 0) if planar == "separate" else pixels
    arguments = {"compressionargs": {"lossless": True}} if compression == "webp" else {}
    data = tiff(stored, photometric="rgb", planarconfig=planar, compression=compression, **arguments, **layout)
    (tmp_path / "a").write_bytes(data)
    with open_reader(tmp_path / "a") as reader:
        assert np.array_equal(reader.window(0, 0, 34, 21), pixels)
        for x, y, width, height in ((0, 0, 1, 1), (33, 20, 1, 1), (15, 2, 18, 17), (0, 19, 34, 2)):
            window = reader.window(x, y, width, height)
            assert np.array_equal(window, pixels[y : y + height, x : x + width])


def test_thumbnails_are_not_taken_for_the_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = noise((8, 8, 3))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(image[::4, ::4], photometric="rgb", subfiletype=1, metadata=None)
        writer.write(image, photometric="rgb", metadata=None)
    assert np.array_equal(read_raster(tmp_path / "a.tif").pixels, image)
    assert caplog.text == ""


def test_raw_files_are_not_taken_for_their_thumbnails(tmp_path: Path) -> None:
    raw = tiff(noise((2, 2, 3)), photometric="rgb", subfiletype=1, extratags=[(50706, "B", 4, (1, 4, 0, 0), True)])
    cfa = tiff(noise((4, 4), "uint16"), photometric=32803)
    for data in (raw, cfa, b"II*\0\x10\0\0\0CR\2\0" + bytes(40), b"FUJIFILMCCD-RAW 0201" + bytes(40)):
        with pytest.raises(InputError, match=r"a camera's raw file.*darktable"):
            read(tmp_path, data)


@pytest.mark.parametrize(
    ("samples", "options", "words"),
    [
        (np.array([[0, 1000]], np.float32), {}, "floats from 0 to 1000.*divide"),
        (np.array([[0, np.nan]], np.float32), {}, "floats from nan to nan.*replace NaN"),
        (np.zeros((2, 2), np.uint64), {}, "64 bits per sample, which pysr does not read; save it with 8 or 16"),
        (np.zeros((2, 2), np.complex64), {}, "which pysr does not read"),
        (np.zeros((2, 2, 3), np.uint8), {"photometric": "logluv"}, "unusual colour space"),
        (np.zeros((2, 2, 3), np.int16), {"photometric": "cielab"}, "signed samples of 16 bits in this colour space"),
    ],
)
def test_what_a_tiff_cannot_be_read_for_is_said(
    tmp_path: Path, samples: Pixels, options: dict[str, Any], words: str
) -> None:
    options = {"photometric": "minisblack"} | options
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, tiff(samples, **options))
    assert "damaged" not in str(caught.value)


def test_reduced_chroma_outside_jpeg_is_refused(tmp_path: Path) -> None:
    data = tiff(noise((16, 16, 3)), photometric="ycbcr", subsampling=(1, 1))
    full, reduced = (struct.pack("<HHIHH", 530, 3, 2, step, step) for step in (1, 2))
    with pytest.raises(InputError, match="YCbCr with reduced chroma"):
        read(tmp_path, data.replace(full, reduced))


def test_what_is_left_out_or_guessed_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [
        (
            tiff(noise((19, 23, 5)), photometric="rgb", planarconfig="contig", extrasamples=[2, 0]),
            "1 of its 5 channels",
        ),
        (tiff(noise((4, 4), "int16"), photometric="minisblack"), "signed"),
        (tiff(np.array([[-0.1, 1]], np.float32), photometric="minisblack"), "cut off"),
        (tiff(noise((2, 4, 4)), photometric="minisblack"), "several images"),
    ]
    for data, words in cases:
        caplog.clear()
        read(tmp_path, data)
        assert words in caplog.text


def test_a_loss_of_a_file_that_is_opened_several_times_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "signed.tif"
    path.write_bytes(tiff(noise((4, 4), "int16"), photometric="minisblack"))
    report = pysr.load("nearest", scale=2).upscale_file(path, tmp_path / "out.png")
    assert ["signed" in warning for warning in report.warnings if "ImageDescription" not in warning] == [True]


def test_a_tiff_that_ends_early_is_incomplete(tmp_path: Path) -> None:
    data = tiff(noise((40, 40, 3)), photometric="rgb")
    with pytest.raises(InputError, match="incomplete"):
        read(tmp_path, data[:-100])


# --- PNG -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_keeps_its_depth(tmp_path: Path, channels: int, dtype: str) -> None:
    pixels = noise((5, 7) if channels == 1 else (5, 7, channels), dtype)
    assert np.array_equal(read(tmp_path, png(pixels)).pixels, pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_shallow_gray_png_is_spread_over_the_full_range(tmp_path: Path, bits: int) -> None:
    levels = np.arange(1 << bits, dtype=np.uint8)[None]
    raster = read(tmp_path, png(levels, bits=bits))
    assert raster.kind == ("bilevel" if bits == 1 else "gray")
    assert raster.pixels.tolist() == [[255 * level // ((1 << bits) - 1) for level in range(1 << bits)]]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_with_a_palette(tmp_path: Path, bits: int) -> None:
    palette = noise((1 << bits, 3))
    index = noise((5, 7)) & ((1 << bits) - 1)
    before = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", b"\0\x80")
    raster = read(tmp_path, png(index, bits=bits, colour=3, before=before))
    assert raster.kind == "palette"
    assert raster.palette is not None
    assert np.array_equal(raster.palette[raster.pixels][..., :3], palette[index])
    assert raster.palette[:2, 3].tolist() == [0, 128]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_transparent_colour_of_any_depth_becomes_alpha(tmp_path: Path, channels: int, dtype: str) -> None:
    pixels = noise((5, 7) if channels == 1 else (5, 7, channels), dtype)
    key = np.atleast_1d(pixels[2, 3]).astype(">u2").tobytes()
    raster = read(tmp_path, png(pixels, before=chunk(b"tRNS", key)))
    right = (pixels != pixels[2, 3]) if channels == 1 else (pixels != pixels[2, 3]).any(axis=2)
    assert raster.mode == ("LA" if channels == 1 else "RGBA") + (";16" if dtype == "uint16" else "")
    assert np.array_equal(raster.pixels[..., -1], np.where(right, np.iinfo(dtype).max, 0))
    assert np.array_equal(raster.pixels[..., :-1], pixels.reshape(5, 7, -1))


# --- other formats ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("white", [1, 100, 255, 1023, 65535])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("as_text", [False, True])
def test_ppm_of_any_white(tmp_path: Path, white: int, channels: int, as_text: bool) -> None:
    values = noise((4, 6, channels), "uint16").astype(int) % (white + 1)
    kind = (5 if channels == 1 else 6) - 3 * as_text
    body = " ".join(map(str, values.ravel())).encode() if as_text else values.astype(">u2" if white > 255 else "u1")
    raster = read(tmp_path, b"P%d # comment\n6 4\n%d\n" % (kind, white) + bytes(body))
    largest = 255 if white < 256 else 65535
    right = np.rint(values * (largest / white)).reshape(4, 6, channels).squeeze()
    assert np.array_equal(raster.pixels, right)
    assert raster.pixels.dtype == ("uint8" if white < 256 else "uint16")


def test_a_zip_archive_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "map.zarr.zip", "w") as archive:
        archive.writestr("zarr.json", "{}")
    with pytest.raises(InputError, match=r"map\.zarr\.zip' is a ZIP archive, .* unpack it, a Zarr store into a folder"):
        read_raster(tmp_path / "map.zarr.zip")


def test_windows_of_a_ppm(tmp_path: Path) -> None:
    pixels = noise((9, 5, 3))
    (tmp_path / "a.ppm").write_bytes(b"P6 5 9 255\n" + pixels.tobytes())
    with open_reader(tmp_path / "a.ppm") as reader:
        assert np.array_equal(reader.window(1, 6, 3, 2), pixels[6:8, 1:4])


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((40, 24)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(
    tmp_path: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    data = jpeg(**options)
    whole = read(tmp_path, data).pixels
    for missing in (1, 2):
        caplog.clear()
        assert np.array_equal(read(tmp_path, data[:-missing]).pixels, whole)
        assert "lacks its end marker" in caplog.text
    with pytest.raises(InputError, match="incomplete"):
        read(tmp_path, data[:-30])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_cut_off_before_its_end_marker_is_told(
    tmp_path: Path, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """libjpeg fills in gray. That an image ends in gray is no sign of it by itself."""
    file = io.BytesIO()
    Image.fromarray(noise((64, 64, 3))).convert(mode).save(file, "JPEG")
    for tenths in range(5, 10):
        caplog.clear()
        read(tmp_path, file.getvalue()[: file.tell() * tenths // 10] + b"\xff\xd9")
        assert "is incomplete: it ends within its pixels, and the rest is gray" in caplog.text
    caplog.clear()
    gray = io.BytesIO()
    Image.new(mode, (64, 64), (128,) * len(mode) if mode != "L" else 128).save(gray, "JPEG")
    read(tmp_path, gray.getvalue())
    read(tmp_path, file.getvalue())
    assert not caplog.text


def test_a_progressive_jpeg_without_all_scans_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = jpeg(progressive=True)
    read(tmp_path, data)
    assert not caplog.text
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    read(tmp_path, data[: scans[-1]] + b"\xff\xd9")
    assert "is incomplete: it ends within its pixels, and fine detail is missing" in caplog.text


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_jpegs_hold_inverted_inks_with_and_without_adobes_marker(tmp_path: Path, adobe: bool) -> None:
    image = Image.new("CMYK", (16, 16), (200, 10, 60, 5))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=100)
    data = file.getvalue()
    start = data.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", data, start + 2)
    raster = read(tmp_path, data if adobe else data[:start] + data[start + 2 + length :])
    assert raster.kind == "cmyk"
    assert np.abs(raster.pixels[8, 8].astype(int) - (200, 10, 60, 5)).max() <= 1


def test_lossless_webp_is_known_to_be_lossless(tmp_path: Path) -> None:
    for lossless in (True, False):
        file = io.BytesIO()
        Image.fromarray(noise((8, 8, 3))).save(file, "WEBP", lossless=lossless)
        assert read(tmp_path, file.getvalue()).lossless is lossless


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("container", ["jp2", "j2k"])
def test_jpeg_2000_keeps_its_depth(tmp_path: Path, bits: int, channels: int, container: str) -> None:
    shape = (33, 40) if channels == 1 else (33, 40, channels)
    pixels = noise(shape, "uint8") if bits == 8 else noise(shape, "uint16") >> (16 - bits)
    data = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat=container, bitspersample=bits, reversible=True)
    raster = read(tmp_path, data)
    assert np.array_equal(raster.pixels, pixels if bits != 12 else np.rint(pixels * (65535 / 4095)))
    assert raster.has_alpha == (channels == 4)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_keeps_its_depth(tmp_path: Path, bits: int) -> None:
    pixels = noise((16, 24, 3), "uint8") if bits == 8 else noise((16, 24, 3), "uint16") >> (16 - bits)
    data = imagecodecs.avif_encode(pixels, level=100, bitspersample=bits)
    white = (1 << bits) - 1
    assert np.array_equal(read(tmp_path, data).pixels, pixels if bits == 8 else np.rint(pixels * (65535 / white)))


@pytest.mark.parametrize("deep", [False, True])
def test_heic(tmp_path: Path, deep: bool) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    image = np.full((16, 24, 3), 40000 if deep else 200, np.uint16 if deep else np.uint8)
    file = io.BytesIO()
    made = pillow_heif.from_bytes("RGB;16" if deep else "RGB", (24, 16), image.tobytes())
    made.save(file, quality=-1, chroma=444)
    raster = read(tmp_path, file.getvalue())
    assert raster.pixels.shape == (16, 24, 3)
    assert raster.pixels.dtype == image.dtype
    assert np.abs(raster.pixels.astype(int) - image).max() <= (300 if deep else 2)


def test_bmp_with_alpha_and_tga(tmp_path: Path) -> None:
    pixels = noise((5, 7, 4))
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    header = struct.pack("<IiiHHIIiiII", 108, 7, 5, 1, 32, 3, 0, 2835, 2835, 0, 0) + masks
    body = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    bmp = b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body
    assert np.array_equal(read(tmp_path, bmp).pixels, pixels)
    for options in ({}, {"compression": "tga_rle"}):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "TGA", **options)
        assert np.array_equal(read(tmp_path, file.getvalue()).pixels, pixels)
        without_footer = file.getvalue().removesuffix(bytes(8) + b"TRUEVISION-XFILE.\0")
        assert np.array_equal(read(tmp_path, without_footer).pixels, pixels)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\x0a" + bytes(20), "JPEG XL.*djxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "JPEG XL.*djxl"),
        (b"8BPS\0\1" + bytes(20), "Photoshop.*TIFF"),
        (b"\x76\x2f\x31\x01" + bytes(20), "OpenEXR.*oiiotool"),
        (b'<?xml version="1.0"?>\n<!-- a -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG.*rsvg-convert"),
        (b"%PDF-1.7", "document.*pdftoppm"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "document"),
        (b"<!DOCTYPE html><html>", "web page.*download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS.*git lfs pull"),
        (b"\0\0\0\x18ftypcrx " + bytes(20), "raw file"),
    ],
)
def test_other_files_are_named_with_what_to_do(
    tmp_path: Path, data: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.__init__", lambda *_: pytest.fail("a decoder was started"))
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, data)
    assert "damaged" not in str(caught.value)


def test_nothing_is_logged_for_what_is_read_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for data in (png(noise((4, 4, 3), "uint16")), tiff(noise((4, 4, 3), "uint16"), photometric="rgb"), jpeg("CMYK")):
        read(tmp_path, data)
    assert caplog.text == ""
