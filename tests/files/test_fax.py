"""Fax images (CCITT) in TIFF files that are cut off or damaged: libtiff makes up what it cannot read."""

import io
import logging

import numpy as np
import pytest
from crowded_files import directory
from PIL import Image

from pysr.files import read_raster

PAGE = np.cumsum(np.random.default_rng(0).normal(0, 2, (96, 200)), axis=1) > 0
NUMBERS = {"group3": 3, "group4": 4}


def strip_of(page: np.ndarray, compression: str) -> bytes:  # type: ignore[type-arg]
    file = io.BytesIO()
    Image.fromarray(page).save(file, "TIFF", compression=compression)
    with Image.open(file) as image:
        ((start,), (length,)) = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    return file.getvalue()[start : start + length]


def tiff(strip: bytes, compression: str, rows: int, height: int = 96, strips: int = 1) -> bytes:
    entries = [(256, 4, 1, 200), (257, 4, 1, height), (258, 3, 1, 1), (259, 3, 1, NUMBERS[compression]), (262, 3, 1, 1)]
    behind = 8 + 2 + 9 * 12 + 4
    if strips == 1:
        places = [(273, 4, 1, behind), (279, 4, 1, len(strip))]
        data = strip
    else:
        places = [(273, 4, strips, behind), (279, 4, strips, behind + 4 * strips)]
        data = np.array([behind + 8 * strips] * strips + [len(strip)] * strips, "<u4").tobytes() + strip
    entries += [places[0], (277, 3, 1, 1), (278, 4, 1, rows), places[1]]
    return b"II*\0\x08\0\0\0" + directory(*entries) + data


@pytest.mark.parametrize("compression", NUMBERS)
def test_a_page_that_is_cut_off_is_told(compression: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    strip = strip_of(PAGE, compression)
    for behind in (b"", b"\0" * 9, b"\xff" * 9):
        read = read_raster(io.BytesIO(tiff(strip + behind, compression, 96)))
        assert np.array_equal(read.pixels > 0, PAGE)
    assert not caplog.records
    for part in (0.2, 0.6, 0.95):
        caplog.clear()
        read = read_raster(io.BytesIO(tiff(strip[: int(part * len(strip))], compression, 96)))
        assert not np.array_equal(read.pixels > 0, PAGE)
        assert "is damaged or incomplete: what cannot be read of it is made up" in caplog.text


@pytest.mark.parametrize("byte", [0x35, 0x5A, 0x11])
def test_damaged_rows_are_told(byte: int, caplog: pytest.LogCaptureFixture) -> None:
    strip = bytearray(strip_of(PAGE, "group4"))
    strip[50:90] = bytes([byte] * 40)
    assert not np.array_equal(read_raster(io.BytesIO(tiff(bytes(strip), "group4", 96))).pixels > 0, PAGE)
    assert "is damaged or incomplete" in caplog.text


@pytest.mark.parametrize("compression", NUMBERS)
def test_pages_in_strips_are_complete_by_each(compression: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    strip = strip_of(PAGE[:20], compression)
    read = read_raster(io.BytesIO(tiff(strip, compression, 20, height=90, strips=5)))  # of the last one, ten rows
    assert np.array_equal(read.pixels > 0, np.concatenate([PAGE[:20]] * 4 + [PAGE[:10]]))
    assert not caplog.records
    read_raster(io.BytesIO(tiff(strip[:-20], compression, 20, height=100, strips=5)))
    assert "is damaged or incomplete" in caplog.text
