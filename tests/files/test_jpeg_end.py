"""Where a JPEG file ends is found out without holding it in memory."""

from __future__ import annotations

import io
import logging
import time

import numpy as np
import pytest
from image_samples import encoded
from PIL import Image

from pysr.files import jpeg_end
from pysr.files.jpeg import JpegReader


def test_a_marker_is_found_across_pieces_of_the_file() -> None:
    for before in (*range(250, 262), *range(1270, 1290)):
        for fill in (1, 2, 300):
            data = bytes(before) + b"\xff\x00\xff\xd0" + b"\xff" * fill + b"\xd9rest"
            begins = before + 4
            assert jpeg_end.find_marker(io.BytesIO(data), 0) == (0xD9, begins, begins + fill + 1)
            assert jpeg_end.find_marker(io.BytesIO(data[:-5]), 3) is None


def test_long_runs_of_fill_bytes_are_gone_through_once() -> None:
    started = time.process_time()
    assert jpeg_end.find_marker(io.BytesIO(b"\xff" * 30_000), 0) is None
    assert time.process_time() - started < 0.3  # of the processor's time: it took a second, and grew by the square


class Counting(io.BytesIO):
    """A file that knows how much of it was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.most = max(self.most, len(data))
        return data


@pytest.mark.parametrize("kind", ["whole", "cut off", "without its end marker", "progressive"])
def test_a_file_whose_last_pixel_is_gray_is_read_in_pieces(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    pixels[-16:] = 128
    data = encoded(Image.fromarray(pixels), "JPEG", quality=95, progressive=kind == "progressive")
    if kind == "cut off":
        data = data[: len(data) // 2] + b"\xff\xd9"
    elif kind == "without its end marker":
        data = data[:-1]
    file = Counting(data)
    with caplog.at_level(logging.WARNING, "pysr"):
        assert JpegReader(file, "a").loaded().size == (700, 700)
    told = {"cut off": "the rest is gray", "without its end marker": "lacks its end marker"}.get(kind, "")
    assert told in caplog.text and bool(told) == bool(caplog.text)
    assert file.most < len(data) / 4
