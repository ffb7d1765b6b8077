"""The report on a file of several pages."""

from pathlib import Path

import numpy as np
import pytest

import pysr


def test_it_covers_the_metadata_of_all_pages(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for options in ({}, {"resolution": (300, 300), "resolutionunit": "INCH"}):
            file.write(np.zeros((8, 9, 3), np.uint8), photometric="rgb", metadata=None, software=False, **options)
    report = pysr.load("bicubic", 2).upscale_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert "resolution" in report.kept
