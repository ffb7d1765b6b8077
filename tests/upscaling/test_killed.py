"""SIGKILL in the middle of a large image: the old result stays, and the next run leaves nothing else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pysr.files import Raster, write_raster
from pysr.files.reader import read_image
from pysr.testing import photo

PROGRAM = """
import os, signal, sys
import pysr
from pysr.upscaling import file
file.IN_MEMORY = 0
up = pysr.load("bicubic", 2, device="cpu", tiling=pysr.Tiling(patch=64))

def die(done, total):
    if 2 * done > total:
        os.kill(os.getpid(), signal.SIGKILL)

for ending in sys.argv[2:]:
    for nameless in (True, False):  # where the system has files without names, and where not
        child = os.fork()
        if not child:
            if not nameless:
                del os.O_TMPFILE
            up.upscale_file(sys.argv[1], "out" + ending, progress=die)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        print(ending, nameless, *(name for name in os.listdir() if name.startswith(".pysr-")), flush=True)
    up.upscale_file(sys.argv[1], "next" + ending)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of a file without a name, which only Linux has")
def test_a_kill_amid_rows_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_raster(Raster((photo(600, 500) * 255).astype(np.uint8), "rgb"), tmp_path / "in.tif")
    endings = [".tif", ".png", ".jpg", ".ppm"]
    for ending in endings:
        (tmp_path / f"out{ending}").write_bytes(b"the old file")
    command = [sys.executable, "-c", PROGRAM, "in.tif", *endings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    left = [line.split()[2:] for line in done.stdout.splitlines()]
    assert all(not names for names in left[::2])  # nothing had a name yet
    assert all(len(names) == 1 for names in left[1::2])  # until the next run, which wrote beside it
    assert [path.name for path in tmp_path.glob(".pysr-*")] == []
    for ending in endings:
        assert (tmp_path / f"out{ending}").read_bytes() == b"the old file"
        assert read_image(tmp_path / f"next{ending}").size == (1000, 1200)
