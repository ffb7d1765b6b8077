"""Files read from top to bottom: the pixels, and all else, of files read as a whole."""

import io
import re
import sys
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_samples import ORIENTATION, chunk, noise, png
from image_samples import encoded, make_image
from PIL import Image

from pysr.errors import InputError
from pysr.files import jpeg_rows
from pysr.files.reader import open_image_file, read_raster


@pytest.fixture(autouse=True)
def low_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.files.interface.BAND", 300)
    monkeypatch.setattr("pysr.files.png_rows._PART", 50)


def check(data: bytes, least: int = 2) -> None:
    """Two runs over the bands by turns, of at least so many, give what the whole file gives."""
    whole = read_raster(io.BytesIO(data))
    with open_image_file(io.BytesIO(data)) as file:
        rows = file.rows()
        first, second = [], []
        for one, other in zip(rows.bands(), rows.bands(), strict=True):
            first.append(one)
            second.append(other)
    assert len(first) >= least
    for bands in (first, second):
        assert np.array_equal(np.concatenate(bands), whole.pixels)
    assert (rows.mode, rows.size, rows.metadata) == (whole.mode, whole.size, whole.metadata)
    assert rows.palette is whole.palette or np.array_equal(rows.palette, whole.palette)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_by_rows(channels: int, dtype: str) -> None:
    pixels = noise((31, 20, channels), dtype)
    pixels = pixels[..., 0] if channels == 1 else pixels
    check(png(pixels))
    if channels in (1, 3):
        check(png(pixels, before=chunk(b"tRNS", b"\0\7" * channels)))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1"])
def test_png_with_every_filter_by_rows(mode: str) -> None:
    for size in ((60, 50), (300, 300)):
        check(encoded(make_image(mode, *size), "PNG"), 1 if mode == "1" else 2)


def test_png_that_is_interlaced_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(data: bytes) -> bool:
        with open_image_file(io.BytesIO(data)) as file:
            return file.held_because is not None

    plain = encoded(make_image("RGB", 30, 30), "PNG")
    header = plain[16:28] + b"\1"
    assert not opened(plain)
    assert opened(plain[:8] + chunk(b"IHDR", header) + plain[33:])


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_pillow_holds_comes_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    check(encoded(make_image("RGB", 30, 40), kind, exif=exif))


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "BMP"), ("P", "GIF"), ("RGB", "TGA"), ("CMYK", "JPEG")])
def test_other_files_come_by_rows(mode: str, kind: str) -> None:
    check(encoded(make_image(mode, 30, 40), kind))


def test_a_png_cut_off_is_incomplete() -> None:
    data = png(noise((31, 20, 3)))
    with open_image_file(io.BytesIO(data[:-400])) as file:
        rows = file.rows()
        with pytest.raises(InputError, match="damaged or incomplete"):
            list(rows.bands())


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_baseline_jpeg_by_rows(mode: str, subsampling: str) -> None:
    pytest.importorskip("pyvips")
    data = encoded(make_image(mode, 75, 130), "JPEG", subsampling=subsampling, restart_marker_rows=3)
    with open_image_file(io.BytesIO(data)) as file:
        assert file.held_because is None
    check(data, 9)


def test_jpeg_that_is_held_says_why() -> None:
    def why(data: bytes) -> str | None:
        with open_image_file(io.BytesIO(data)) as file:
            return file.held_because

    image, exif = make_image("RGB", 30, 40), Image.Exif()
    exif[274] = 6
    assert why(encoded(image, "JPEG", progressive=True)) == "a progressive JPEG file is decoded as a whole"
    assert why(encoded(make_image("CMYK", 30, 40), "JPEG")) == "this JPEG file is decoded as a whole"
    assert why(encoded(image, "JPEG")[:-2]) == "this JPEG file is decoded as a whole"  # without its end marker
    if find_spec("pyvips"):
        assert why(encoded(image, "JPEG", exif=exif)) == "the image has to be turned upright"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda rows: zlib.compress(rows)[:-4] + b"\0\0\0\0", "its compressed rows are damaged: incorrect data check"),
        (lambda rows: b"no zlib", "its compressed rows are damaged: incorrect header check"),
        (lambda rows: zlib.compress(rows[:100]), "8 of 9 rows are missing"),
        (lambda rows: b"", "9 of 9 rows are missing"),
        (lambda rows: zlib.compress(b"\x09" + rows[1:]), "unrecognized data stream contents"),
    ],
)
def test_what_is_wrong_with_rows_of_png_is_said(damage: Callable[[bytes], bytes], reason: str) -> None:
    data = encoded(make_image("RGB", 20, 9), "PNG")
    start = data.index(b"IDAT")
    rows = zlib.decompress(data[start + 4 :])
    damaged = data[: start - 4] + chunk(b"IDAT", damage(rows)) + chunk(b"IEND", b"")
    with open_image_file(io.BytesIO(damaged)) as file, pytest.raises(InputError, match=re.escape(f"({reason}")):
        for _ in file.rows().bands():
            pass


def test_rows_of_a_jpeg_cut_off_before_its_end_marker_are_told(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pyvips")
    data = encoded(make_image("RGB", 75, 130), "JPEG")
    with open_image_file(io.BytesIO(data[: len(data) // 2] + b"\xff\xd9")) as file:
        assert not file.held_because
        raster = file.rows()
        for _ in range(2):
            assert sum(len(band) for band in raster.bands()) == 130
    assert [record.message for record in caplog.records if record.name.startswith("pysr")] == [
        "'<BytesIO>' is incomplete: it ends within its pixels, and the rest is gray"
    ]


def test_without_libvips_pillow_decodes_the_whole_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyvips.py").write_text("raise OSError(\"cannot load library 'libvips.so.42'\")\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyvips", raising=False)
    jpeg_rows._has_libvips.cache_clear()
    try:
        check(encoded(make_image("RGB", 75, 130), "JPEG"))
    finally:
        jpeg_rows._has_libvips.cache_clear()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_what_is_raised_while_libvips_reads_comes_out(error: type[BaseException]) -> None:
    pytest.importorskip("pyvips")

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 20_000:
                raise error("stop")
            return super().read(size)

    data = encoded(Image.fromarray(noise((200, 200, 3))), "JPEG", quality=95)
    with pytest.raises(error, match="stop"):
        list(jpeg_rows.decoded_rows(Failing(data), (200, 200), 3, 16))


def test_damaged_jpeg_by_rows_is_refused_or_read_as_pillow_reads_it() -> None:
    pytest.importorskip("pyvips")
    data = encoded(make_image("RGB", 60, 70), "JPEG")
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[random.integers(20, len(data))] ^= 1 << random.integers(8)
        found = []
        for by_rows in (False, True):
            try:
                with open_image_file(io.BytesIO(bytes(damaged))) as file:
                    found.append(np.concatenate([*file.rows().bands()]) if by_rows else file.read().pixels)
            except InputError:
                found.append(None)
        assert (found[0] is None) == (found[1] is None)
        assert found[0] is None or np.array_equal(*found)


@pytest.mark.parametrize("shape", [{"rowsperstrip": 5}, {"rowsperstrip": 5, "compression": "zlib"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_turned_by_rows(orientation: int, shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.setattr("pysr.files.tiff.BAND", 2000)
    file, tags = io.BytesIO(), [(ORIENTATION, "H", 1, orientation, True)]
    tifffile.imwrite(file, noise((50, 70, 3)), photometric="rgb", extratags=tags, metadata=None, **shape)
    if orientation < 5 or "tile" in shape:
        check(file.getvalue())
        return
    with open_image_file(io.BytesIO(file.getvalue())) as opened:
        assert opened.whole_because == "the image has to be turned upright"


def test_mirrored_files_come_by_rows() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 2
    for kind in ("PNG", "JPEG"):
        data = encoded(make_image("RGB", 60, 50), kind, exif=exif)
        check(data)
        with open_image_file(io.BytesIO(data)) as file:
            assert file.whole_because is None
            assert file.held_because is None or not find_spec("pyvips")
