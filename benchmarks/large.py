"""Large files enlarged by bicubic x2: time and memory of pysr, pyvips and Pillow, each in a process of its own.

    python benchmarks/large.py [--side PIXELS] [--runs N] [--compression none|deflate] [--json FILE]

A tiled TIFF of SIDE x SIDE pixels of RGB (10,000 by default; 30,000 takes 14 GB of disk) becomes a TIFF, by pysr and by
pyvips; a JPEG of 6000 x 4000 becomes JPEG and PNG, by pysr and by Pillow. Memory is the peak of the resident set, on
Linux, and how much that is over what the process held before the work. Figures are medians; programs run in turn.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pysr.testing import photo

_COMMON = """
import re, sys, time
from pathlib import Path
source, target, compression = sys.argv[1:]
def resident(key):  # VmHWM: the peak of this program alone, where getrusage counts its parent's memory as well
    return 1024 * int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
def measured(work):
    before = resident("VmRSS")
    wall, used = time.perf_counter(), time.process_time()
    work()
    print(time.perf_counter() - wall, time.process_time() - used, before, resident("VmHWM"))
"""
_PROGRAMS = {
    "pysr": """
import pysr
up = pysr.load("bicubic", 2)
output = pysr.Output(compression=compression if target.endswith(".tif") else None)
measured(lambda: up.upscale_file(source, target, output=output))
""",
    "pyvips": """
import pyvips
def work():
    image = pyvips.Image.new_from_file(source, access="sequential")
    options = {"bigtiff": True, "compression": compression}
    if compression == "deflate":
        options |= {"predictor": "horizontal", "Q": 1}
    image.resize(2, kernel="cubic").write_to_file(target, **options)
measured(work)
""",
    "Pillow": """
from PIL import Image
def work():
    with Image.open(source) as image:
        larger = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
        larger.save(target, **({"quality": 95, "subsampling": 0} if target.endswith(".jpg") else {}))
measured(work)
""",
}

_WORK = (("in.tif", ".tif", "pyvips"), ("in.jpg", ".jpg", "Pillow"), ("in.jpg", ".png", "Pillow"))


def tiles(side: int) -> Iterator[np.ndarray[Any, Any]]:
    """Tiles of 256 x 256, cut out of a synthetic photograph with some noise."""
    base = (photo(1024, 1024) * 255).round() + np.random.default_rng(0).normal(0, 2, (1024, 1024, 3))
    pixels = base.clip(0, 255).astype(np.uint8)
    count = -(-side // 256)
    for number in range(count * count):
        top, left = number // count * 211 % 768, number % count * 173 % 768
        yield np.ascontiguousarray(pixels[top : top + 256, left : left + 256])


def make_inputs(folder: Path, side: int) -> None:
    import tifffile
    from PIL import Image

    options: dict[str, Any] = {"shape": (side, side, 3), "dtype": np.uint8, "tile": (256, 256), "photometric": "rgb"}
    tifffile.imwrite(folder / "in.tif", tiles(side), bigtiff=side > 30_000, metadata=None, **options)
    rows = [np.concatenate(row, axis=1) for row in zip(*[tiles(6144)] * 24, strict=True)]
    Image.fromarray(np.concatenate(rows)[:4000, :6000]).save(folder / "in.jpg", quality=92)


def run(program: str, source: Path, target: Path, compression: str) -> dict[str, float]:
    command = [sys.executable, "-c", _COMMON + _PROGRAMS[program], str(source), str(target), compression]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    seconds, processor, before, peak = map(float, printed)
    target.unlink()
    return {"seconds": seconds, "processor": processor, "memory": peak - before, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--compression", choices=["none", "deflate"], default="deflate")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, arguments.side)
        for source, ending, others in (
            ("in.tif", ".tif", "pyvips"),
            ("in.jpg", ".jpg", "Pillow"),
            ("in.jpg", ".png", "Pillow"),
        ):
            runs: dict[str, list[dict[str, float]]] = {"pysr": [], others: []}
            for _ in range(arguments.runs):
                for program, results in runs.items():
                    results.append(run(program, folder / source, folder / f"out{ending}", arguments.compression))
            for program, results in runs.items():
                medians = {key: statistics.median(result[key] for result in results) for key in results[0]}
                found.append({"from": source, "to": ending, "by": program, **medians})
                print(
                    f"{source} -> {ending} by {program}: {medians['seconds']:.1f} s, {medians['processor']:.1f} s of"
                    f" processor time, peak {medians['peak'] / 1e6:.0f} MB ({medians['memory'] / 1e6:.0f} MB more)"
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
