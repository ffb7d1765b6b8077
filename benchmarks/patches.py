"""Cut and blend 8192 x 8192 x 3 uint8 pixels, against copying the same bytes and against torch's unfold and fold.

    python benchmarks/patches.py --json FILE

Patches of 256 x 256 with 32 pixels of overlap, blended, an identity network between, reused buffers, two threads. The
result must be the input, bit for bit. Written to FILE:

memcpy_ratio: time of memcpy for the same bytes (read and written by cutting, and again by blending) / our time
unfold_ratio: time of torch.nn.functional.unfold and fold, with the same ramps and conversions / our time
extra_peak_mb: growth of the peak memory during a first call, less the output; the buffers of patches are part of it
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pysr.ops.patches import blend_patches, extract_patches
from pysr.upscaling.plan import Plan, plan_tiles

SIDE, PATCH, OVERLAP, THREADS = 8192, 256, 32, 2
STRIDE = PATCH - OVERLAP
Pixels = NDArray[np.uint8]


def make_image() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def make_plan() -> Plan:
    return plan_tiles((SIDE, SIDE), scale=1, patch=(PATCH, PATCH), halo=0, overlap=OVERLAP, mode="blend")


class Ours:
    """Two rows of patches in turn: one is cut, the finished output rows are blended from both."""

    def __init__(self) -> None:
        self.plan = make_plan()
        self.tile_rows = [torch.empty(self.plan.grid[1], 3, PATCH, PATCH) for _ in range(2)]

    def __call__(self, image: Pixels, out: Pixels) -> None:
        planes, result, made = image.transpose(2, 0, 1), out.transpose(2, 0, 1), self.plan
        for finished in made.output_rows():
            tile_row = finished.tile_row
            extract_patches(planes, made.origins(tile_row), made.patch, out=self.tile_rows[tile_row % 2])
            blend_patches(
                [self.tile_rows[number % 2] for number in range(*finished.needed)],
                made.rows.axis(*finished.needed),
                made.columns.axis(),
                span=finished.span,
                out=result[:, slice(*finished.span)],
            )


class Memcpy:
    """Copies of memory, all of it warm, that read and write as many bytes as cutting and blending do."""

    def __init__(self) -> None:
        down, across = make_plan().grid
        patches = down * across * 3 * PATCH * PATCH * 4
        self.bytes = SIDE * SIDE * 3 + patches  # cutting reads the one and writes the other, blending back
        self.pool = ThreadPoolExecutor(THREADS)

    def __call__(self, image: Pixels, out: Pixels) -> None:
        list(self.pool.map(lambda part: self.copy(image, out, part), range(THREADS)))

    def copy(self, image: Pixels, out: Pixels, part: int) -> None:
        share = image.nbytes // THREADS
        left = self.bytes // THREADS
        while left:
            some = min(left, share)
            ctypes.memmove(out.ctypes.data + part * share, image.ctypes.data + part * share, some)
            left -= some


class Unfold:
    """The way that torch offers: one matrix of all patches, there and back."""

    def __init__(self) -> None:
        count = -(-(SIDE - PATCH) // STRIDE) + 1
        self.side = (count - 1) * STRIDE + PATCH
        rise = (torch.arange(OVERLAP) + 0.5) / OVERLAP
        ramp = torch.cat([rise, torch.ones(PATCH - 2 * OVERLAP), rise.flip(0)])
        inner = ramp[:, None] * ramp
        ones = functional.unfold(torch.ones(1, 1, self.side, self.side), PATCH, stride=STRIDE)
        self.weights = inner.reshape(1, 1, -1, 1)
        weighed = (ones * inner.reshape(1, -1, 1)).contiguous()
        self.total = functional.fold(weighed, (self.side, self.side), PATCH, stride=STRIDE)

    def __call__(self, image: Pixels, out: Pixels) -> None:
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].float().div_(255)
        beyond = self.side - SIDE
        planes = functional.pad(planes, (0, beyond, 0, beyond), mode="replicate")
        patches = functional.unfold(planes, PATCH, stride=STRIDE)
        patches.view(1, 3, PATCH * PATCH, -1).mul_(self.weights)
        whole = functional.fold(patches, (self.side, self.side), PATCH, stride=STRIDE).div_(self.total)
        pixels = whole[0, :, :SIDE, :SIDE].mul_(255).round_().clamp_(0, 255)
        out[...] = pixels.permute(1, 2, 0).to(torch.uint8).numpy()


Method = Callable[[Pixels, Pixels], None]


def seconds(method: Method, image: Pixels, out: Pixels) -> float:
    started = time.perf_counter()
    method(image, out)
    return time.perf_counter() - started


def compare(one: Method, other: Method, rounds: int) -> tuple[float, float, float]:
    """Medians of both times and of their ratio `other` / `one`, measured in turn so that both meet the same noise."""
    image = make_image()
    out = np.zeros_like(image)
    for method in (other, one):
        out[...] = 0
        method(image, out)
        if not isinstance(method, Memcpy) and not np.array_equal(out, image):
            sys.exit(f"{type(method).__name__} did not give the image back")
    times = [(seconds(one, image, out), seconds(other, image, out)) for _ in range(rounds)]
    ratio = statistics.median(b / a for a, b in times)
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio


def memory_mb(field: str) -> float:
    """VmRSS, the memory in use, or VmHWM, its peak since the process began (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def measure_memory() -> tuple[float, float]:
    """Peak memory in MiB of a first call above what is in use before it, the input being there; and the output."""
    image = make_image()
    extract_patches(image[:64, :64].transpose(2, 0, 1), [(0, 0)], (64, 64))  # what torch loads at its first call
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    out = np.zeros_like(image)
    Ours()(image, out)
    return memory_mb("VmHWM") - before, out.nbytes / 2**20


def measure(rounds: int, unfold_rounds: int) -> dict[str, float]:
    ours, memcpy, ratio = compare(Ours(), Memcpy(), rounds)
    print(f"{'ours':<28}{ours * 1e3:10.0f} ms")
    print(f"{'memcpy of the same bytes':<28}{memcpy * 1e3:10.0f} ms   {ratio:8.2f} of our time")
    _, unfold, unfold_ratio = compare(Ours(), Unfold(), unfold_rounds)
    print(f"{'unfold and fold':<28}{unfold * 1e3:10.0f} ms   {unfold_ratio:8.1f} of our time")
    run = [sys.executable, __file__, "--memory"]  # a process of its own: nothing else was in memory before
    growth, output = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    print(f"{'growth of peak memory':<28}{growth:10.0f} MB, of which the output is {output:.0f} MB")
    return {"memcpy_ratio": ratio, "unfold_ratio": unfold_ratio, "extra_peak_mb": growth - output}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the three figures there")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of runs against memcpy")
    parser.add_argument("--unfold-rounds", type=int, default=3, help="pairs of runs against unfold")
    parser.add_argument("--memory", action="store_true", help="measure the memory of this process alone")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    if options.memory:
        print(json.dumps(measure_memory()))
        return
    figures = measure(options.rounds, options.unfold_rounds)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
