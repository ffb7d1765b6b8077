"""Run the experiments and print one table: python -m torture [--quick] [NAME ...]"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from . import fuzz, hostile, interrupts, kills, leaks, limits, memory, plugins, processes, system_calls, weights
from .experiment import Experiment

EXPERIMENTS = (
    Experiment("hostile images", hostile.run, 600, 100_000),
    Experiment("hostile weights", weights.run, 300, 20_000),
    Experiment("SIGKILL while writing", kills.run, 2, 50),
    Experiment("failing system calls", system_calls.run, 1, 7),
    Experiment("memory at every patch", memory.run, 1, 4),
    Experiment("memory limits", limits.run, 1, 31),
    Experiment("broken plugins", plugins.run, 40, 10_000),
    Experiment("forks, processes, threads", processes.run, 4, 200),
    Experiment("Ctrl-C at any moment", interrupts.run, 2, 200),
    Experiment("leaks", leaks.run, 60, 1000),
    Experiment("guided fuzzing (seconds)", fuzz.run, 2, 600),
)
_SHOWN = 20  # failures of one experiment that are printed


def main(arguments: list[str]) -> int:
    """Run the experiments whose names contain one of the words, or all."""
    words, quick = [word for word in arguments if not word.startswith("-")], "--quick" in arguments
    rows, failures = [], []
    for experiment in EXPERIMENTS:
        if words and not any(word in experiment.name for word in words):
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            outcome = experiment.run(experiment.quick if quick else experiment.long, Path(folder))
        seconds = time.monotonic() - started
        rows.append((experiment.name, outcome.n, len(outcome.failures), f"{seconds:.0f} s", "; ".join(outcome.notes)))
        failures += [f"{experiment.name}: {failure}" for failure in outcome.failures[:_SHOWN]]
    print(f"| {'experiment':26} | {'n':>7} | failures | time | notes |\n|---|---:|---:|---:|---|")
    for name, n, failed, took, notes in rows:
        print(f"| {name:26} | {n:7} | {failed} | {took} | {notes} |")
    print("\n".join(failures))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
