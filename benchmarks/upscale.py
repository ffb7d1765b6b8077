"""VDSR through pysr against plain torch, the upscaler's own cost, and start-up times.

    python benchmarks/upscale.py [--json FILE] [--runs N]

Each contestant runs in its own process, and they upscale the same image in turn (A B C A B C ...); the figures are
medians of the ratios of neighbouring runs. "eager" is the network as textbooks write it: nn.Conv2d and nn.ReLU, in
float32 and NCHW, with torch's defaults.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SIDE = 256  # of the low-resolution gray image; the network sees 512 x 512
CONTESTANTS = ("eager", "float32", "auto", "auto, allocator tuned as in the command line")


def contestant(name: str) -> Callable[[], object]:
    """Prepare one upscaling of the benchmark image, to be called any number of times."""
    if "tuned" in name:
        from pysr.cli.allocator import tune_allocator

        tune_allocator()
    import torch

    import pysr

    low = torch.rand(1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    if name != "eager":
        upscaler = pysr.load("vdsr", 2, device="cpu", precision=name.split(",", 1)[0])
        return lambda: upscaler.upscale(low)
    from pysr.imaging.resize import resize
    from pysr_vdsr.network import VDSR

    network = VDSR().eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = False
    enlarged = resize(low, 2)[None]
    return torch.inference_mode()(lambda: network(enlarged))


def serve(name: str) -> None:
    """Time one call for each line on standard input."""
    call = contestant(name)
    call()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        call()
        print(time.perf_counter() - start, flush=True)


def race(runs: int) -> dict[str, list[float]]:
    """Time all contestants in turn: the seconds of each, run by run."""
    workers = {
        name: subprocess.Popen([sys.executable, __file__, "--serve", name], stdin=-1, stdout=-1, text=True, bufsize=1)
        for name in CONTESTANTS
    }
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for worker in workers.values():
        assert worker.stdout and worker.stdout.readline() == "ready\n", "a contestant failed to start"
    for _ in range(runs):
        for name, worker in workers.items():
            assert worker.stdin and worker.stdout
            print(file=worker.stdin, flush=True)
            seconds[name].append(float(worker.stdout.readline()))
    for worker in workers.values():
        worker.communicate()
    return seconds


def overhead(runs: int) -> list[float]:
    """Measure what `Upscaler.upscale` costs beyond the network on the same patches, in percent, for 1024 x 1024 RGB."""
    import torch

    import pysr
    from pysr.imaging.resize import resize

    upscaler = pysr.load("vdsr", 2, device="cpu")
    low = torch.randint(0, 256, (3, 512, 512), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (tiled,) = upscaler._stages
    plan = tiled.plan(low.shape)
    patches = [
        resize(low[:1, y : y + plan.rows.patch, x : x + plan.columns.patch][None] / 255, 2)
        for y in plan.rows.starts
        for x in plan.columns.starts
    ]
    percents = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        for patch in patches:
            tiled.stage.runner(patch)
        bare = time.perf_counter() - start
        start = time.perf_counter()
        upscaler.upscale(low)
        percents.append(100 * ((time.perf_counter() - start) / bare - 1))
    return percents[1:]


def start_up(runs: int) -> tuple[float, float]:
    """Measure the milliseconds of ``import pysr`` and ``pysr --help`` beyond those of an empty Python process."""
    commands = {
        "empty": [sys.executable, "-c", "pass"],
        "import": [sys.executable, "-c", "import pysr"],
        "help": [str(Path(sys.executable).with_name("pysr")), "--help"],
    }
    imports: list[float] = []
    helps: list[float] = []
    for _ in range(runs):
        seconds = {}
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name] = time.perf_counter() - start
        imports.append(1000 * (seconds["import"] - seconds["empty"]))
        helps.append(1000 * (seconds["help"] - seconds["empty"]))
    return statistics.median(imports), statistics.median(helps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--runs", type=int, default=5, help="runs of each contestant (default 5)")
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    seconds = race(options.runs)
    ratios = {
        name: statistics.median(e / s for e, s in zip(seconds["eager"], own, strict=True))
        for name, own in seconds.items()
    }
    print(f"VDSR x2, {2 * SIDE} x {2 * SIDE} out, CPU")
    for name, own in seconds.items():
        print(f"  {name:48s} {statistics.median(own):7.3f} s   {ratios[name]:5.2f} x eager")
    percent = statistics.median(overhead(options.runs))
    print(f"overhead of Upscaler.upscale, 1024 x 1024 RGB out  {percent:5.2f} %")
    import_ms, help_ms = start_up(4 * options.runs)
    print(f"import pysr {import_ms:.0f} ms, pysr --help {help_ms:.0f} ms (beyond an empty Python process)")
    if options.json:
        figures = {
            "vdsr_auto_vs_eager": ratios["auto"],
            "vdsr_float32_vs_eager": ratios["float32"],
            "vdsr_cli_vs_eager": ratios[CONTESTANTS[-1]],
            "overhead_percent": percent,
            "import_ms": import_ms,
            "help_ms": help_ms,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
