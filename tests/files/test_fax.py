"""Fax images (CCITT) in TIFF files that are cut off or damaged: libtiff makes up what it cannot read."""

import io
import logging
import time

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


def tiff(
    strip: bytes,
    compression: str,
    rows: int,
    height: int = 96,
    strips: int = 1,
    others: tuple[tuple[int, int, int, int], ...] = (),
) -> bytes:
    entries = [(256, 4, 1, 200), (257, 4, 1, height), (258, 3, 1, 1), (259, 3, 1, NUMBERS[compression]), (262, 3, 1, 1)]
    behind = 8 + 2 + (9 + len(others)) * 12 + 4
    if strips == 1:
        places = [(273, 4, 1, behind), (279, 4, 1, len(strip))]
        data = strip
    else:
        places = [(273, 4, strips, behind), (279, 4, strips, behind + 4 * strips)]
        data = np.array([behind + 8 * strips] * strips + [len(strip)] * strips, "<u4").tobytes() + strip
    entries += [places[0], (277, 3, 1, 1), (278, 4, 1, rows), places[1], *others]
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


@pytest.mark.parametrize(
    "options", [(293, 9, 1, 2**32 - 1), (293, 2, 1, 65), (293, 4, 1, 0)], ids=["below", "text", "none"]
)
def test_odd_options_cost_no_page_that_can_be_read(
    options: tuple[int, int, int, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    page = tiff(strip_of(PAGE, "group4"), "group4", 96, others=(options,))
    assert np.array_equal(read_raster(io.BytesIO(page)).pixels > 0, PAGE)
    assert "damaged" not in caplog.text


def test_a_page_of_two_colours_is_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    strip = strip_of(PAGE, "group4")
    behind = 8 + 2 + 10 * 12 + 4
    page = tiff(strip, "group4", 96, others=((320, 3, 6, behind + len(strip)),))
    page = page.replace(np.array([262, 3], "<u2").tobytes() + b"\1\0\0\0\1", b"\6\1\3\0\1\0\0\0\3") + bytes(
        np.array([0, 65535] * 3, "<u2")
    )
    assert np.array_equal(read_raster(io.BytesIO(page)).pixels > 0, PAGE)
    assert "damaged" not in caplog.text


def test_long_strips_of_few_rows_cost_nothing(caplog: pytest.LogCaptureFixture) -> None:
    strip = strip_of(PAGE[:1], "group4") + bytes(2**24)
    page = tiff(strip, "group4", 1, height=64, strips=64)
    started = time.process_time()
    read_raster(io.BytesIO(page))
    assert time.process_time() - started < 2  # a hundredth of that; it took as long as all strips are, several times
    assert "damaged" not in caplog.text
