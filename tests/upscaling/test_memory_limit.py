"""A limit on memory is kept: measured in a process of its own, as the peak of the resident set over the start."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pysr.files import Raster, read_image, write_raster
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


WIDE = """
import re, sys
from pathlib import Path
from pysr.files.reader import open_image_file
def resident(key):
    return 1024 * int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = resident("VmRSS")
with open_image_file(sys.argv[1]) as file:
    for band in file.rows().bands():
        pass
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read where Linux tells it")
def test_a_wide_jpeg_takes_little_more_than_the_lines_that_are_decoded(tmp_path: Path) -> None:
    pytest.importorskip("pyvips")
    row = (photo(16, 2000) * 255).astype(np.uint8)
    Image.fromarray(np.tile(row, (30, 30, 1))).save(tmp_path / "wide.jpg")
    command = [sys.executable, "-c", WIDE, tmp_path / "wide.jpg"]
    assert int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) < 200e6


TOGETHER = """
import resource, sys, threading
from pathlib import Path
import pysr
import torch._dynamo  # otherwise torch imports it within the limit, and half of it
names = ["bicubic", "srcnn", "srcnn", "lanczos"]
ups = [pysr.load(name, 2, precision="float32", tiling=pysr.Tiling(max_memory=2**26)) for name in names]
for up in ups: up.upscale_file(sys.argv[1], sys.argv[2] + ".png")  # imports what it takes
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[3]),) * 2)
said = []
def work(number, up):
    try:
        up.upscale_file(sys.argv[1], f"{sys.argv[2]}{number}.tif")
        said.append("done")
    except pysr.PysrError:  # threads that cannot be started are another one
        said.append("refused")
    except BaseException as error:
        said.append(repr(error))
threads = [threading.Thread(target=work, args=pair) for pair in enumerate(ups)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*sorted(said))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_several_upscalers_within_one_limit(tmp_path: Path) -> None:
    pytest.importorskip("pysr_srcnn")
    write_raster(Raster((photo(400, 400) * 255).astype(np.uint8), "rgb"), tmp_path / "in.tif")
    command = [sys.executable, "-c", TOGETHER, tmp_path / "in.tif", tmp_path / "out", str(2**31)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["done"] * 4
    assert [read_image(path).size for path in tmp_path.glob("out*.tif")] == [(800, 800)] * 4
