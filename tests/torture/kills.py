"""SIGKILL while a file is written over an existing one: the old or the new file, and nothing else is left."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pysr.atomic import atomic_write
from pysr.files import read_image, write_image

from .experiment import Outcome

ENDINGS = (".png", ".jpg", ".webp", ".tif", ".avif", ".bmp", ".ppm", ".safetensors")


def _writers(folder: Path, ending: str) -> tuple[list[Callable[[Path], object]], Callable[[Path], int]]:
    """What writes two different files, and what tells which of them a file is; it raises for any other."""
    if ending == ".safetensors":
        import torch
        from safetensors.torch import load_file

        from pysr.upscaling.weights import save_weights

        tensors = [{"a": torch.full((100_000,), float(value))} for value in (0, 1)]

        def which(path: Path) -> int:
            values = load_file(path)["a"]
            assert bool((values == values[0]).all())
            return int(values[0])

        return [partial(save_weights, each, metadata={}) for each in tensors], which
    generator = np.random.default_rng(0)
    images = [Image.fromarray(generator.integers(0, 256, (200, 200, 3), np.uint8)) for _ in (0, 1)]
    contents = []
    for image in images:
        write_image(image, folder / f"sample{ending}")
        contents.append((folder / f"sample{ending}").read_bytes())

    def which_image(path: Path) -> int:
        read_image(path)
        return contents.index(path.read_bytes())

    return [partial(write_image, image) for image in images], which_image


def run(count: int, folder: Path) -> Outcome:
    """Kill writers of every format, ``count`` each, on both ways to write (see `atomic_write`)."""
    outcome, chance = Outcome(), random.Random(0)
    for ending in ENDINGS:
        place = folder / ending[1:]
        place.mkdir()
        writers, which = _writers(place, ending)
        target = place / f"target{ending}"
        writers[0](target)
        for trial in range(count):
            named = trial % 2 == 1
            outcome.check(f"{ending} {trial}", _kill(writers, target, chance.uniform(0, 0.03), named=named))
            if problem := _look(target, which, named=named):
                outcome.failures.append(f"{ending} {trial}: {problem}")
    return outcome


def _kill(writers: list[Callable[[Path], object]], target: Path, moment: float, *, named: bool) -> str | None:
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        if named:
            del os.O_TMPFILE
        os.write(theirs, b"!")
        while True:
            for write in writers:
                write(target)
    os.read(ours, 1)
    os.close(ours)
    os.close(theirs)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return None if os.WIFSIGNALED(status) else f"the writer ended by itself, with {status}"


def _look(target: Path, which: Callable[[Path], int], *, named: bool) -> str | None:
    try:
        which(target)
    except Exception as error:
        return f"neither the old nor the new file: {error!r:.200}"
    left = list(target.parent.glob(".pysr-*"))
    # the name of a complete file, on its way to the target, may be left by a kill between two system calls
    if left and not named and any(path.stat().st_size < 1000 for path in left):
        return f"{left} is left"
    with atomic_write(target.parent / "another"):
        pass
    if left := list(target.parent.glob(".pysr-*")):
        return f"{left} is left even by the next run"
    return None
