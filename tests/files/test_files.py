"""Files in, files out: complete or refused, upright, and never half-written."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import warnings
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_samples import FORMATS, encoded, make_image, same
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from pysr.atomic import check_place
from pysr.errors import InputError
from pysr.files import READABLE, WRITABLE, check_output, image_files, read_image, write_image
from pysr.files.output import Output
from pysr.files.pillow_tiff_file import TiffFile

# --- round trips -----------------------------------------------------------------------------------------------------

LOSSLESS = [
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "I;16", "RGB", "RGBA")),
    *(("TIFF", mode) for mode in ("1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK")),
    *(("BMP", mode) for mode in ("1", "L", "P", "RGB")),
    *(("PPM", mode) for mode in ("1", "L", "I;16", "RGB")),
]


@pytest.mark.parametrize(("kind", "mode"), LOSSLESS)
@pytest.mark.parametrize("size", [(12, 8), (1, 1), (1, 13), (13, 1)])
def test_lossless_formats_return_every_mode_as_it_was(
    tmp_path: Path, kind: str, mode: str, size: tuple[int, int]
) -> None:
    image = make_image(mode, *size)
    write_image(image, tmp_path / f"a{FORMATS[kind]}")
    assert same(read_image(tmp_path / f"a{FORMATS[kind]}"), image)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("JPEG", "L"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
        ("AVIF", "L"),
        ("AVIF", "RGBA"),
    ],
)
def test_lossy_formats_come_close(tmp_path: Path, kind: str, mode: str) -> None:
    image = make_image(mode, 64, 64).resize((64, 64)).reduce(2).resize((64, 64))
    write_image(image, tmp_path / f"a{FORMATS[kind]}")
    result = read_image(tmp_path / f"a{FORMATS[kind]}")
    assert result.mode == mode
    visible = np.asarray(image)[..., -1:] > 0 if mode == "RGBA" else True
    difference = np.abs(np.asarray(result, int) - np.asarray(image, int))
    assert np.mean(difference[np.broadcast_to(visible, difference.shape)]) < 6


def test_jpeg_keeps_the_full_colour_resolution_and_obeys_quality(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    sizes = []
    for quality in (30, None, 100):
        write_image(noise, tmp_path / "a.jpg", output=Output(quality=quality))
        sizes.append((tmp_path / "a.jpg").stat().st_size)
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
    with Image.open(tmp_path / "a.jpg") as image:
        assert all(layer[1:3] == (1, 1) for layer in image.layer)  # type: ignore[attr-defined]
    for quality in (0, 101):
        with pytest.raises(InputError, match="1 to 100"):
            write_image(noise, tmp_path / "a.jpg", output=Output(quality=quality))


# --- reading ---------------------------------------------------------------------------------------------------------


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    cases: list[tuple[Any, str]] = [
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "pipe"),
        (tmp_path / "loop", "cannot open the file: .*loop"),
        (tmp_path / "missing.png", "no file"),
        (tmp_path / "a.png" / "b", "no file"),
        (tmp_path / ("n" * 300), "cannot open the file: .*name"),
        ("a\0b.png", "not a file name"),
        ("", "not a file name"),
        (None, "NoneType"),
        (3, "int"),
    ]
    for path, words in cases:
        with pytest.raises(InputError, match=words):
            read_image(path)


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(make_image(), "PNG"))
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(InputError, match="Permission"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "name", ["-o.png", "a b.png", "a\nb.png", "ä\u202e.png", "*?.png", "n" * 251 + ".png", b"\xff\xfe.png"]
)
def test_hostile_names_are_just_names(tmp_path: Path, name: str | bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    write_image(make_image(), os.fsdecode(path))
    assert same(read_image(os.fsdecode(path)), make_image())
    with open(path, "wb") as file:
        file.write(b"no image")
    with pytest.raises(InputError) as caught:
        read_image(os.fsdecode(path))
    assert str(caught.value).encode()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", FORMATS)
def test_our_limit_is_exact_and_pillows_is_left_alone(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{FORMATS[kind]}"
    write_image(make_image(), path)
    if kind not in ("WEBP", "AVIF"):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path, max_pixels=12 * 8).size == (12, 8)
        with pytest.raises(InputError, match="12 x 8"):
            read_image(path, max_pixels=12 * 8 - 1)
    assert kind in ("WEBP", "AVIF") or Image.MAX_IMAGE_PIXELS == 7


def test_a_tiff_is_read_by_our_limit_and_not_by_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `TiffFile` takes from Pillow's private parts is still there, and still needed."""
    image = make_image()
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with (tmp_path / "a.tif").open("rb") as file:
            tiff = TiffFile(file)
            assert (tiff._im, tiff._tile_size) == (None, image.size)
            tiff.load()
            assert same(tiff, image)
        with (tmp_path / "a.tif").open("rb") as file, pytest.raises(Image.DecompressionBombError):
            TiffImagePlugin.TiffImageFile(file).load()


def test_no_memory_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(encoded(make_image(), "PNG"))

    def fail(_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(InputError, match=r"a\.png.*memory"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "AVIF", "PNG"])
def test_of_several_images_the_first_is_read_with_a_warning(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    first.save(tmp_path / "a", kind, save_all=True, append_images=[second])
    assert read_image(tmp_path / "a").convert("RGB").getpixel((4, 4))[0] > 200  # type: ignore[index]
    assert "only the first" in caplog.text


def tiff(width: int, height: int, bits: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 110), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 116), (277, 3, 1, 3), (279, 4, 1, 12)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + directory + bytes(4) + struct.pack("<HHH", *[bits] * 3) + bytes(range(12))


def deep_png() -> bytes:
    body = b"".join(b"\0" + bytes(range(24)) * 2 for _ in range(2))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8, 2, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return PngImagePlugin._MAGIC + b"".join(packed)


@pytest.mark.parametrize(
    "data", [deep_png(), tiff(2, 1, 16), b"P6 2 1 65535\n" + bytes(12), b"P6 2 1 1023\n" + bytes(12)]
)
def test_16_bit_colour_is_read_with_a_warning(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a").write_bytes(data)
    assert read_image(tmp_path / "a").mode == "RGB"
    assert "16 bits" in caplog.text


def test_16_bit_gray_is_read_whole_and_silently(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    image = make_image("I;16")
    big = Image.frombytes("I;16B", image.size, np.asarray(image).astype(">u2").tobytes())
    big.save(tmp_path / "a.tif")
    write_image(image, tmp_path / "a.png")
    write_image(image, tmp_path / "a.ppm")
    for name in ("a.tif", "a.png", "a.ppm"):
        assert same(read_image(tmp_path / name), image)
    assert caplog.text == ""


@pytest.mark.parametrize(("mode", "key", "becomes"), [("L", 10, "LA"), ("RGB", (10, 0, 6), "RGBA")])
def test_a_transparent_colour_is_read_as_alpha(tmp_path: Path, mode: str, key: Any, becomes: str) -> None:
    image = make_image(mode)
    image.putpixel((1, 0), key)
    image.save(tmp_path / "a.png", transparency=key)
    result = read_image(tmp_path / "a.png")
    assert result.mode == becomes
    assert result.getpixel((1, 0))[-1] == 0


def test_every_ending_that_is_written_is_read(tmp_path: Path) -> None:
    written = {*WRITABLE} - (set() if find_spec("zarr") else {".zarr"})
    for ending in written:
        write_image(make_image(), tmp_path / f"a{ending}")
    assert sorted(path.suffix for path in image_files(tmp_path)) == sorted(written - {".npy"})
    assert {read_image(path).size for path in image_files(tmp_path)} == {(12, 8)}
    assert set(WRITABLE) < set(READABLE)


# --- before the work -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "mode", "words"),
    [
        ("a", (1, 1), "RGB", "use one of .png"),
        ("a.gif", (1, 1), "P", "use one of .png"),
        ("a.jp2", (1, 1), "RGB", "use one of .png"),
        (".png", (1, 1), "RGB", "use one of .png"),
        ("missing/a.png", (1, 1), "RGB", "create it first"),
        ("folder.png", (1, 1), "RGB", "is a folder"),
        ("n" * 255 + ".png", (1, 1), "RGB", "too long"),
        ("a.jpg", (65_501, 1), "RGB", "65500"),
        ("a.webp", (1, 16_384), "RGB", "16383"),
        ("a.avif", (1, 16_385), "RGB", "16384"),
        ("a.bmp", (40_000, 40_000), "RGB", "4 GB"),
        ("a.jpg", (1, 1), "RGBA", "transparent.*PNG"),
        ("a.jpeg", (1, 1), "LA", "transparent.*PNG"),
        ("a.jpg", (1, 1), "P", "palette.*PNG"),
        ("a.jpg", (1, 1), "I;16", "16-bit gray.*PNG"),
        ("a.webp", (1, 1), "I;16", "16-bit gray.*PNG"),
        ("a.jpg", (1, 1), "1", "black-and-white.*PNG"),
        ("a.png", (1, 1), "CMYK", "CMYK.*TIFF or JPEG"),
        ("a.webp", (1, 1), "CMYK", "CMYK.*TIFF or JPEG"),
        ("a.ppm", (1, 1), "RGBA", "transparent"),
        ("a.bmp", (1, 1), "RGBA", "transparent"),
        ("a.png", (1, 1), "HSV", "convert"),
    ],
)
def test_a_result_that_cannot_be_written_is_refused(
    tmp_path: Path, name: str, size: tuple[int, int], mode: str, words: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=words):
        check_output(tmp_path / name, size, mode)


def test_a_result_that_can_be_written_gets_its_format(tmp_path: Path) -> None:
    for name, kind in (("a.PNG", "PNG"), ("a.jpeg", "JPEG"), ("a.b.tiff", "TIFF"), ("a.webp", "WEBP")):
        assert check_output(tmp_path / name, (65_500, 1) if kind == "JPEG" else (16_383, 9), "RGB") == kind
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("protected", ["a.png", ""])
def test_a_write_protected_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protected: str) -> None:
    (tmp_path / "a.png").touch()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / protected)
    with pytest.raises(InputError, match="write-protected"):
        check_output(tmp_path / "a.png", (1, 1), "RGB")


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="there is no /proc")
def test_a_place_where_the_system_keeps_no_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/1")
    for name in ("/proc/new.png", "/dev/new.png", "/sys/out/a.png", tmp_path / "link" / "a.png"):
        with pytest.raises(InputError, match="where the system keeps no files; choose another folder"):
            check_output(name, (1, 1), "RGB")
    if os.path.isdir("/dev/shm"):
        check_place("/dev/shm/new.png")
    reading, writing = os.pipe()
    for name in ("/dev/null", f"/dev/fd/{writing}"):  # these are there, and refused for what they are
        with pytest.raises(InputError, match="is a folder or a device"):
            check_place(name)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("ending", [".tif", ".bmp"])
def test_transparent_palette_colours_are_not_lost_silently(tmp_path: Path, ending: str) -> None:
    image = make_image("P")
    image.info["transparency"] = 2
    with pytest.raises(InputError, match=r"transparent.*PNG"):
        write_image(image, tmp_path / f"a{ending}")
    write_image(image, tmp_path / "a.png")
    result = read_image(tmp_path / "a.png")
    assert same(result, image)
    assert result.info["transparency"] == 2


def test_importing_does_not_import_torch() -> None:
    script = "import sys, pysr.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
