"""What this shows: one upscaler shared by the threads of a pool, with an answer for every file, good or bad.

    python examples/thread_pool.py photos/ enlarged/ --model vdsr --scale 2 --threads 4

An upscaler may be used by any number of threads at the same time; it is loaded once. While one file is decoded or
written, others are computed. A file that cannot be used costs only itself. Ctrl-C lets the files in work be finished
and starts no other; results appear under their names only when they are complete. (For a folder and nothing else,
`Upscaler.upscale_folder` and `pysr upscale photos/ -o enlarged/` do all of this.)
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pysr

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Upscale the images of a folder in several threads.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()

    files = sorted(path for path in options.source.iterdir() if path.suffix.lower() in ENDINGS)
    options.target.mkdir(parents=True, exist_ok=True)
    upscaler = pysr.load(options.model, options.scale)
    failed = 0
    pool = ThreadPoolExecutor(options.threads)
    try:
        work = {pool.submit(upscaler.upscale_file, path, options.target / path.name): path for path in files}
        for number, future in enumerate(as_completed(work), 1):
            name = work[future].name
            try:
                report = future.result()
            except pysr.PysrError as error:
                failed += 1
                print(f"{number}/{len(files)} {name}: {error}", file=sys.stderr)
            else:
                print(f"{number}/{len(files)} {name}: {report.size[0]} x {report.size[1]}, {report.seconds:.1f} s")
    finally:
        pool.shutdown(cancel_futures=True)
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
