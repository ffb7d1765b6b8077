"""Forks, new processes and threads after a model is loaded and used: all end, with the same pixels."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pysr import Upscaler, load

from .experiment import Outcome

_PATIENCE = 120  # seconds


def _image(number: int) -> Any:
    return np.random.default_rng(number).random((24 + number % 5, 31, 3), np.float32)


def _upscale(upscaler: Upscaler, number: int) -> bytes:
    result: Any = upscaler.upscale(_image(number))
    return bytes(result.tobytes())


def run(count: int, folder: Path) -> Outcome:
    """Upscale that many images in forks, in threads, and a few in new processes."""
    outcome, upscaler = Outcome(), load("bicubic", 2, device="cpu")
    wanted = [_upscale(upscaler, number) for number in range(count)]
    with ThreadPoolExecutor(8) as threads:
        for number, found in enumerate(threads.map(lambda number: _upscale(upscaler, number), range(count))):
            outcome.check(f"thread {number}", None if found == wanted[number] else "other pixels")
    for method, share in (("fork", count), ("spawn", min(count // 8, 4)), ("forkserver", min(count // 8, 4))):
        if not share:
            continue
        with multiprocessing.get_context(method).Pool(2) as pool:
            jobs = [pool.apply_async(_upscale, (upscaler, number)) for number in range(share)]
            for number, job in enumerate(jobs):
                try:
                    problem = None if job.get(_PATIENCE) == wanted[number] else "other pixels"
                except Exception as error:
                    problem = f"{type(error).__name__}: {error}"
                outcome.check(f"{method} {number}", problem)
    return outcome
