"""``max_memory`` is kept: the peak of the resident set over the start exceeds it by 300 MB at most.

Each image is upscaled in a process of its own, or as much of it as some seconds allow: memory follows the width.
"""

from __future__ import annotations

from itertools import cycle, product
from pathlib import Path

import numpy as np
from PIL import Image

from pysr.files import Raster, write_raster
from pysr.testing import photo

from .experiment import Outcome, python

_SLACK = 300e6  # bytes
_FORMATS = ("jpg", "png", "tif")
_LIMITS = (64, 512, 2048)  # MiB
_MODELS = {"bicubic": 2, "srcnn": 2, "vdsr": 2, "srresnet": 4, "photo": 4, "srcnn+srcnn": 4}
_BY_ROWS = ("bicubic", "srcnn")  # tried with every format; the others, whose networks take most of it, with one each
_SECONDS = 4  # of processor time; a network call that has begun is finished
_PROGRAM = """
import re, sys, time
from pathlib import Path
from pysr.cli.allocator import tune_allocator
tune_allocator()
import pysr
from pysr.errors import PysrError
def resident(key):  # getrusage counts the memory of the parent process as well
    return 1024 * int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
model, scale, source, limit, seconds = sys.argv[1:]
try:
    upscaler = pysr.load(model, int(scale), device="cpu", tiling=pysr.Tiling(max_memory=int(limit) << 20))
except PysrError:
    sys.exit("not installed")
before, used = resident("VmRSS"), time.process_time()
def progress(done, total):
    if time.process_time() - used > float(seconds):
        raise TimeoutError
try:
    upscaler.upscale_file(source, "out.tif", progress=progress)
except TimeoutError:
    pass
print(resident("VmHWM") - before)
"""


def _cases() -> list[tuple[str, int, str, int]]:
    """Model, scale, file and limit of each case, the one that once took most first."""
    every = [("bicubic", 4, "widest.jpg", 64)]
    every += [
        (model, _MODELS[model], f"wide.{end}", limit) for limit, model, end in product(_LIMITS, _BY_ROWS, _FORMATS)
    ]
    others = product(_LIMITS, [model for model in _MODELS if model not in _BY_ROWS])
    every += [(model, _MODELS[model], f"in.{end}", most) for (most, model), end in zip(others, cycle(_FORMATS))]
    return every


def run(count: int, folder: Path) -> Outcome:
    """Upscale by each model, from each format, within each limit; ``count`` of these cases."""
    outcome, most = Outcome(), 0
    pixels = (photo(800, 2000) * 255).astype(np.uint8)
    for end in _FORMATS:
        write_raster(Raster(pixels, "rgb"), folder / f"in.{end}")
        write_raster(Raster(np.tile(pixels, (1, 3, 1)), "rgb"), folder / f"wide.{end}")
    Image.fromarray(np.tile(pixels[:300], (1, 30, 1))).save(folder / "widest.jpg")
    for model, scale, name, limit in _cases()[:count]:
        case = (model, str(scale), name, str(limit), str(_SECONDS))
        with python("-c", _PROGRAM, *case, folder=folder) as process:
            out, err = process.communicate()
        if "not installed" in err:
            outcome.notes.append(f"{model}: not installed")
            continue
        over = int(out or 0) - limit * 2**20
        most = max(most, over)
        problem = f"{over / 1e6:.0f} MB over it" if over > _SLACK else None
        if process.returncode:  # without a word if the system has killed it
            problem = f"exit code {process.returncode}, {err[-300:]!r}"
        outcome.check(f"{model} x{scale} of {name} within {limit} MiB", problem)
    outcome.notes.append(f"at most {most / 1e6:.0f} MB over the limit")
    return outcome
