"""A training step of VDSR through pysr against plain torch, and how long steps wait for data.

    python benchmarks/training.py --data DIR [--json FILE] [--steps N]

Each contestant runs in its own process, and they take turns (A B A B ...); the figure is the median ratio of
neighbouring runs. "plain" is the textbook: float32, NCHW, one batch in memory, used at every step. "pysr" is
`pysr train` as users run it: patches cropped, augmented and enlarged on the fly, bfloat16 where the hardware has it,
channels-last, and the allocator tuned as the command does. Both use Adam and batches of 24 patches of 48 x 48 pixels.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

BATCH, PATCH = 24, 48
WARM = 3  # steps that are not measured: memory is allocated and caches fill


def plain(steps: int, data: str) -> dict[str, float]:
    import torch

    from pysr_vdsr.network import VDSR

    network = VDSR()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    low, high = torch.rand(2, BATCH, 1, PATCH, PATCH)
    seconds = []
    for _ in range(WARM + steps):
        started = time.perf_counter()
        optimizer.zero_grad()
        (network(low) - high).abs().mean().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return {"step": statistics.median(seconds[WARM:])}


def through_pysr(steps: int, data: str) -> dict[str, float]:
    from pysr.cli.allocator import tune_allocator

    tune_allocator()
    import torch

    from pysr.plugin import Recipe
    from pysr.training import TrainingOptions, recipe, train

    shipped = recipe("vdsr")
    assert isinstance(shipped, Recipe)
    short = replace(
        shipped,
        steps=WARM + steps,
        batch=BATCH,
        patch=PATCH,
        validate_every=10**9,
        optimizers=lambda n: [torch.optim.Adam(n.parameters(), 1e-4)],
    )
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            "vdsr",
            data,
            folder,
            recipe=short,
            options=TrainingOptions(device="cpu"),
            progress=lambda *_: times.append(time.perf_counter()),
        )
        with open(Path(folder) / "log.csv", newline="") as file:
            waiting = float(next(csv.DictReader(file))["waiting"])
    return {
        "step": statistics.median(b - a for a, b in zip(times[WARM - 1 :], times[WARM:], strict=False)),
        "waiting": waiting,
    }


CONTESTANTS = {"plain": plain, "pysr": through_pysr}


def measured(name: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--data", options.data, "--steps", str(options.steps), "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a training step.")
    parser.add_argument("--data", required=True, help="folder of training images")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=CONTESTANTS, help="measure one contestant in this process")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(CONTESTANTS[options.only](options.steps, options.data)))
        return
    rows = [{name: measured(name, options) for name in CONTESTANTS} for _ in range(options.runs)]
    ratio = statistics.median(row["plain"]["step"] / row["pysr"]["step"] for row in rows)
    waiting = statistics.median(row["pysr"]["waiting"] for row in rows)
    facts = {
        "step_ratio": ratio,
        "waiting_share": waiting,
        "seconds": {name: statistics.median(row[name]["step"] for row in rows) for name in CONTESTANTS},
    }
    print(f"a step through pysr: {ratio:.2f} times as fast as plain torch in float32")
    print(f"of its time {100 * waiting:.2f} % is waiting for data")
    if options.json:
        options.json.write_text(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
