"""What pysr's own writers write is what independent readers read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from file_samples import Pixels, noise
from PIL import Image

from pysr.files.bands import in_threads, rebanded
from pysr.files.encoders import encode_image
from pysr.files.metadata import Metadata
from pysr.files.png_writer import PngWriter
from pysr.files.raster import Kind, Raster
from pysr.files.tiff_writer import COMPRESSIONS, TiffWriter

tifffile = pytest.importorskip("tifffile")
imagecodecs = pytest.importorskip("imagecodecs")
SIZE = 53, 37
INTEGERS: list[tuple[Kind, int, str]] = [
    ("bilevel", 1, "uint8"),
    ("palette", 1, "uint8"),
    *(("gray", channels, dtype) for channels in (1, 2) for dtype in ("uint8", "uint16")),
    *(("rgb", channels, dtype) for channels in (3, 4) for dtype in ("uint8", "uint16")),
]
INKS_AND_FLOATS: list[tuple[Kind, int, str]] = [
    ("cmyk", 4, "uint8"),
    ("cmyk", 4, "uint16"),
    ("cmyk", 4, "float32"),
    *(("gray", channels, "float32") for channels in (1, 2)),
    *(("rgb", channels, "float32") for channels in (3, 4)),
]


@pytest.fixture(params=[True, False], ids=["libraries", "zlib"])
def has_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With and without isal and imagecodecs, in strips of a few rows."""
    for module in ("png_writer", "tiff_writer"):
        monkeypatch.setattr(f"pysr.files.{module}.find_spec", lambda name: request.param or None)
        monkeypatch.setattr(f"pysr.files.{module}._STRIP", 900)
    return bool(request.param)


def make_raster(kind: Kind, channels: int, dtype: str, colours: int = 0) -> Raster:
    shape = SIZE[::-1] if channels == 1 else (*SIZE[::-1], channels)
    pixels = noise(shape, dtype)
    if kind == "bilevel":
        pixels = np.where(pixels > 127, np.uint8(255), np.uint8(0))
    palette = noise((colours, 4), seed=1) if colours else None
    return Raster(pixels % colours if colours else pixels, kind, palette)


def encoded(raster: Raster, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    encode_image(raster, format, file, Metadata(), **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "channels", "dtype"), INTEGERS)
@pytest.mark.parametrize("level", [None, 0, 9])
@pytest.mark.usefixtures("has_library")
def test_png(kind: Kind, channels: int, dtype: str, level: int | None) -> None:
    for colours in (2, 3, 16, 200) if kind == "palette" else (0,):
        raster = make_raster(kind, channels, dtype, colours)
        data = encoded(raster, "PNG", level=level)
        right = raster.pixels if raster.palette is None else raster.palette[raster.pixels]
        decoded = imagecodecs.png_decode(data)
        assert np.array_equal(decoded, right) or (kind == "bilevel" and np.array_equal(decoded * 255, right))
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.mode == raster.mode if dtype == "uint8" else True
            if dtype == "uint8" and kind != "palette":
                assert np.array_equal(np.asarray(image.convert("L") if kind == "bilevel" else image), right)


@pytest.mark.parametrize(("kind", "channels", "dtype"), [*INTEGERS, *INKS_AND_FLOATS])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tiff(kind: Kind, channels: int, dtype: str, compression: str, has_library: bool) -> None:
    if not has_library and compression in ("lzw", "packbits"):
        pytest.skip("takes imagecodecs")
    raster = make_raster(kind, channels, dtype, 200 if kind == "palette" else 0)
    data = encoded(raster, "TIFF", compression=compression)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        decoded = page.asarray()
        assert np.array_equal(decoded * np.uint8(255) if kind == "bilevel" else decoded, raster.pixels)
        if raster.palette is not None:
            assert np.array_equal(page.colormap[:, :200].T >> 8, raster.palette[:, :3])
    if dtype == "uint8" and kind not in ("palette", "bilevel"):
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(np.asarray(image), raster.pixels)


def test_a_tiff_beyond_4_gb_is_a_bigtiff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.files.tiff_writer._LARGEST", 100)
    raster = make_raster("rgb", 3, "uint16")
    data = encoded(raster, "TIFF")
    assert data.startswith(b"II+\0")
    assert np.array_equal(tifffile.imread(io.BytesIO(data)), raster.pixels)


def test_16_bit_ppm() -> None:
    raster = make_raster("rgb", 3, "uint16")
    data = encoded(raster, "PPM")
    assert data == b"P6\n53 37\n65535\n" + raster.pixels.astype(">u2").tobytes()


@pytest.mark.parametrize("writer", [PngWriter, TiffWriter])
def test_rows_are_taken_as_they_are_needed(writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bands wait in memory, whatever their heights."""
    monkeypatch.setattr("pysr.files.png_writer._WHOLE", 0)
    width, height, taken = 500, 6_000, 0
    row = noise((1, width, 3))

    def bands() -> Iterator[Pixels]:
        nonlocal taken
        while taken < height:
            rows = min(7, height - taken)
            taken += rows
            yield np.broadcast_to(row, (rows, width, 3))

    class Sink(io.BytesIO):
        taken_before_pixels = 0

        def write(self, data: Any) -> int:
            if len(data) > 1000 and not self.taken_before_pixels:
                self.taken_before_pixels = taken
            return super().write(data)

    file = Sink()
    writer(file, (width, height), "rgb").write(bands())
    assert 0 < file.taken_before_pixels < height
    with Image.open(io.BytesIO(file.getvalue())) as image:
        assert np.array_equal(np.asarray(image), np.broadcast_to(row, (height, width, 3)))


def test_bands_are_joined_and_cut() -> None:
    rows = np.arange(20)[:, None]
    for cuts in ([], [1], [3, 4, 5, 19], list(range(1, 20))):
        bands = np.split(rows, cuts)
        result = list(rebanded(bands, 6))
        assert [len(band) for band in result] == [6, 6, 6, 2]
        assert np.array_equal(np.concatenate(result), rows)


def test_threads_keep_the_order_and_raise_errors() -> None:
    assert list(in_threads(lambda number: number**2, range(100))) == [number**2 for number in range(100)]
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, [1, 0]))


@pytest.mark.parametrize("library", [None, True])
def test_drawings_stay_small(library: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not compressed as photographs are, for speed."""
    monkeypatch.setattr("pysr.files.png_writer.find_spec", lambda name: library)
    drawing = np.zeros((1000, 1000, 3), np.uint8) + np.uint8(250)
    drawing[100:300, 50:350] = 7
    drawing[::40] = drawing[:, ::40] = (0, 90, 200)
    assert len(encoded(Raster(drawing, "rgb"), "PNG")) < drawing.size / 100
