"""What this shows: a model loaded once and shared by worker processes that are forked, as gunicorn --preload does.

    python examples/worker_pool.py photos/*.jpg --out enlarged/ --model vdsr --scale 2 --workers 2

The parent loads the model and then forks: the workers share its weights in memory and need no time to start. In a
worker torch computes in one thread, so the number of workers decides how many processors are used; more threads
must not be asked for there, since OpenMP's threads do not survive a fork. Results are the same bits as without workers.
Where there is no fork (Windows) or a GPU computes, take "spawn" and load the model in each worker instead.
"""

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pysr

loaded: dict[str, pysr.Upscaler] = {}  # filled before the workers are forked, so that each has it


def enlarge(source: Path, target: Path) -> str:
    """Upscale a file, in a worker; return what is to be told of it."""
    try:
        report = loaded["upscaler"].upscale_file(source, target)
    except pysr.PysrError as error:
        return f"{source.name}: failed: {error}"
    return f"{source.name}: {report.size[0]} x {report.size[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Upscale images in worker processes.")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="bicubic")
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    loaded["upscaler"] = pysr.load(options.model, options.scale, device="cpu")
    targets = [options.out / image.name for image in options.images]
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("fork")) as pool:
        answers = list(pool.map(enlarge, options.images, targets))
    print(*answers, sep="\n")
    return 3 if any(": failed: " in answer for answer in answers) else 0


if __name__ == "__main__":
    sys.exit(main())
