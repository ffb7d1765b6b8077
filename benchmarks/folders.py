"""A folder of photographs enlarged by this checkout and by another one in turn, or killed again and again.

    python benchmarks/folders.py race OTHER_CHECKOUT [--files N] [--rounds N] [--json FILE]
    python benchmarks/folders.py kills [--files N] [--kills N] [--workers N] [--json FILE]
    python benchmarks/folders.py ray [--files N] [--rounds N] [--json FILE]

race: JPEG files of 868 x 576 pixels become PNG by bicubic x2. Each run is a process of its own, start included; the
checkouts take turns, and the ratio is the median over the rounds. OTHER_CHECKOUT needs its kernels built in place.

kills: the same with 3 % damaged files and --resume, killed (SIGKILL) at random moments, and gone on with each time. The
results must be those of an undisturbed run; counted are the results that were there and were made again.

ray: files per second of one worker and of two of a Ray cluster on this machine, after the first eighth of the files, by
SRCNN in one thread on images of 400 x 300 pixels.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from png import photograph  # type: ignore[import-not-found]  # the benchmark beside this one

HERE = Path(__file__).parents[1]
WIDTH, HEIGHT = 868, 576  # half a megapixel
OPTIONS = ["-m", "bicubic", "-s", "2", "-f", "png", "-q", "--progress", "none"]


def write_photographs(folder: Path, count: int) -> None:
    """Write parts of one large image as JPEG files."""
    folder.mkdir()
    whole, rng = photograph(2048), np.random.default_rng(1)
    for number in range(count):
        y, x = rng.integers(0, 2048 - HEIGHT), rng.integers(0, 2048 - WIDTH)
        Image.fromarray(whole[y : y + HEIGHT, x : x + WIDTH]).save(folder / f"{number}.jpg", quality=95)


def start(checkout: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Start ``pysr upscale`` of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    command = [sys.executable, "-m", "pysr", "upscale", *map(str, arguments), *OPTIONS]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def race(other: Path, files: int, rounds: int) -> dict[str, object]:
    """Time both checkouts in turn."""
    seconds: dict[str, list[float]] = {"other": [], "this": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder / "in", files)
        for number in range(rounds):
            for who, checkout in (("other", other), ("this", HERE)):
                began = time.perf_counter()
                code = start(checkout, folder / "in", "-o", folder / f"{who}-{number}").wait()
                seconds[who].append(time.perf_counter() - began)
                assert code == 0, f"{who} failed with exit code {code}"
    ratios = [before / now for before, now in zip(seconds["other"], seconds["this"], strict=True)]
    return {"seconds": seconds, "ratio": statistics.median(ratios)}


def kills(files: int, times: int, workers: int) -> dict[str, object]:
    """Kill a run again and again, and compare what becomes of it with an undisturbed run."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder / "in", files)
        for bad in rng.sample(range(files), round(0.03 * files)):
            path = folder / "in" / f"{bad}.jpg"
            path.write_bytes(path.read_bytes()[:1000])
        began = time.perf_counter()
        code = start(HERE, folder / "in", "-o", folder / "whole", "--workers", workers).wait()
        whole = time.perf_counter() - began
        versions: dict[str, set[int]] = {}
        killed, again = 0, ["-o", folder / "out", "--workers", workers, "--resume"]
        while True:
            process = start(HERE, folder / "in", *again)
            try:
                last = process.wait(timeout=rng.uniform(0.2, 1) * whole / 3 if killed < times else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
            for path in (folder / "out").glob("*.png"):
                versions.setdefault(path.name, set()).add(path.stat().st_mtime_ns)
            if process.returncode >= 0:
                break
        lines = [json.loads(line) for line in (folder / "out" / "pysr-manifest.jsonl").read_text().splitlines()]
        same = {path.name: path.read_bytes() for path in (folder / "whole").glob("*")} == {
            path.name: path.read_bytes() for path in (folder / "out").glob("*.png")
        }
        states = [line["state"] for line in lines]
        return {
            "killed": killed,
            "exit codes": [code, last],
            "equal": same,
            "made twice": sum(len(seen) - 1 for seen in versions.values()),
            "allowed": killed * workers,
            "lines": len(lines),
            "inputs": len({line["input"] for line in lines}),
            "done": states.count("done"),
            "failed": states.count("failed"),
            "left over": len([path for path in (folder / "out").iterdir() if path.name.startswith(".")]),
        }


def cluster(files: int, rounds: int) -> dict[str, object]:
    """Count the files per second of one worker and of two, in turn."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        whole = photograph(1024)
        for number in range(files):
            Image.fromarray(whole[number : number + 300, number : number + 400]).save(folder / "in" / f"{number}.png")
        for _ in range(rounds):
            for workers, found in rates.items():
                command = [sys.executable, "-m", "pysr", "upscale", folder / "in", "-o", folder / "out", "-m", "srcnn"]
                command += ["-s", "2", "--engine", "ray", "--workers", str(workers), "--json", "-q"]
                with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
                    assert process.stdout
                    times = [time.perf_counter() for _ in process.stdout]
                assert len(times) == files
                first = files // 8
                found.append((files - 1 - first) / (times[-1] - times[first]))
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    return {"files per second": rates, "ratio": statistics.median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["race", "kills", "ray"])
    parser.add_argument("other", nargs="?", type=Path)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.what == "race":
        found = race(given.other.resolve(), given.files, given.rounds)
    elif given.what == "ray":
        found = cluster(given.files, given.rounds)
    else:
        found = kills(given.files, given.kills, given.workers)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
