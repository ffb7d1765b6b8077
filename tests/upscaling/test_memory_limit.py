"""A limit on memory is kept: measured in a process of its own, as the peak of the resident set over the start."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pysr.files import Raster, write_raster
from pysr.testing import photo

SLACK = 300 * 2**20
PROGRAM = """
import re, sys
from pathlib import Path
import pysr
def resident(key):  # getrusage counts the memory of the parent process as well
    return 1024 * int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
limit = int(sys.argv[3])
up = pysr.load("srcnn", 2, precision="float32", tiling=pysr.Tiling(max_memory=limit) if limit else pysr.Tiling())
before = resident("VmRSS")
up.upscale_file(sys.argv[1], sys.argv[2])
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read where Linux tells it")
def test_the_work_takes_no_more_than_it_may(tmp_path: Path) -> None:
    pytest.importorskip("pysr_srcnn")
    pixels = (photo(700, 700) * 255).astype(np.uint8)
    write_raster(Raster(pixels, "rgb"), tmp_path / "in.tif")

    def taken(limit: int) -> int:
        command = [sys.executable, "-c", PROGRAM, tmp_path / "in.tif", tmp_path / "out.tif", str(limit)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    limit = 60 * 2**20
    assert taken(limit) <= limit + SLACK
