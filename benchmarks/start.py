"""How long a command takes from its start to its answer: prints a table of medians in seconds.

    python benchmarks/start.py [--runs 5]

The image has 450 x 300 pixels; the model that is chosen for it at x2 is the most exact one that is installed. The 50
plugins are small ones, made for this.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pysr.evaluation.report import markdown_row
from pysr.testing import photo

PLUGIN = """
from pysr.plugin import Model, hookimpl, lazy
@hookimpl
def pysr_models():
    return [Model("many-{number}", (2,), lazy("nowhere:build"), "", receptive_field=0)]
"""


def make_plugins(folder: Path) -> None:
    """Install 50 plugins by hand, as distributions in a folder that is to be on the path."""
    for number in range(50):
        (folder / f"many_{number}.py").write_text(PLUGIN.replace("{number}", str(number)))
        info = folder / f"many_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: many-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pysr]\nmany-{number} = many_{number}\n")


def seconds(arguments: list[str], folder: Path, path: list[str]) -> float:
    """Run Python once, and return the wall time."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure all commands in turn, so that what slows the machine down slows all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    upscale = ["-m", "pysr", "upscale", "small.png", "-s", "2", "-o", "big.png"]
    commands = {
        "pysr upscale small.png -s 2": upscale,
        "pysr upscale small.png -s 2 -m bicubic": [*upscale, "-m", "bicubic"],
        "import torch, alone": ["-c", "import torch"],
        "pysr --help, with 50 plugins": ["-m", "pysr", "--help"],
        "pysr plugins, with 50 plugins": ["-m", "pysr", "plugins"],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray((photo(300, 450) * 255).astype(np.uint8)).save(folder / "small.png")
        (folder / "plugins").mkdir()
        make_plugins(folder / "plugins")
        path = [entry for entry in sys.path[1:] if entry]
        measured: dict[str, list[float]] = {command: [] for command in commands}
        for _ in range(runs):
            for command, arguments in commands.items():
                more = [str(folder / "plugins")] if "plugins" in command else []
                measured[command].append(seconds(arguments, folder, path + more))
    print("".join(map(markdown_row, [("command", "median", "least"), ("---",) * 3])), end="")
    for command, times in measured.items():
        print(markdown_row((command, f"{statistics.median(times):.2f} s", f"{min(times):.2f} s")), end="")


if __name__ == "__main__":
    main()
