"""A thousand files, some of them damaged: no memory, file or thread is kept of any."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from pysr import load
from pysr.errors import PysrError

from .experiment import Outcome

_MOST = 8 * 2**20  # bytes that the process may grow by, after the first fifth of the files


def run(count: int, folder: Path) -> Outcome:
    """Upscale that many files of a few sizes into several formats, every tenth of them damaged."""
    outcome, upscaler = Outcome(), load("bicubic", 2, device="cpu")
    generator, process = np.random.default_rng(0), psutil.Process()
    for i in range(10):
        pixels = generator.integers(0, 256, (40 + 8 * i, 90 - 5 * i, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.{'png' if i % 2 else 'jpg'}")
    whole = (folder / "9.png").read_bytes()
    (folder / "9.png").write_bytes(whole[: len(whole) // 2])
    before = None
    for i in range(count):
        source = next(folder.glob(f"{i % 10}.*"))
        with suppress(PysrError):
            upscaler.upscale_file(source, folder / f"out.{('png', 'jpg', 'tif', 'webp')[i % 4]}")
        outcome.n += 1
        if i == count // 5:
            gc.collect()
            before = process.memory_info().rss, len(os.listdir("/proc/self/fd")), threading.active_count()
    gc.collect()
    if before:
        grown = process.memory_info().rss - before[0]
        outcome.notes.append(f"{grown / 1e6:.1f} MB more after {count * 4 // 5} files")
        if grown > _MOST:
            outcome.failures.append(f"the process grew by {grown / 1e6:.1f} MB")
        if len(os.listdir("/proc/self/fd")) > before[1] or threading.active_count() > before[2]:
            outcome.failures.append("open files or threads are left")
    return outcome
