"""Small images of several threads through a network in one call."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr.errors import PluginError
from pysr.files.output import Output
from pysr.plugin import Model
from pysr.upscaling.file_jobs import FileResult
from pysr.upscaling.folder import plan_folder
from pysr.upscaling.jobs import Course, upscale_jobs
from pysr.upscaling.manifest import NAME
from pysr.upscaling.turns import AT_ONCE, Turn


def window(value: float, side: int = 8) -> Tensor:
    return torch.full((1, 3, side, side), value)


def outcomes(compute: Callable[[Tensor], Tensor], windows: list[Tensor], most: float = 1e9) -> list[Any]:
    """What becomes of windows that all wait while another thread computes: an output, or an error."""
    lock = threading.Lock()
    turn = Turn(lock, most)

    def outcome(own: Tensor) -> Any:
        try:
            return turn(compute, own)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(windows)) as pool:
        with lock:
            waiting = []
            for number, own in enumerate(windows, start=1):
                waiting.append(pool.submit(outcome, own))
                while len(turn._waiting) < number and own.shape[2] == 8 and most > 1e3:
                    time.sleep(0.001)
        return [future.result() for future in waiting]


def test_what_waits_is_computed_together_once_the_bits_are_known_to_be_the_same() -> None:
    sizes: list[int] = []

    def double(windows: Tensor) -> Tensor:
        sizes.append(len(windows))
        return windows * 2

    windows = [window(number) for number in range(2 * AT_ONCE + 1)]
    before = torch.get_rng_state()
    for own, output in zip(windows, outcomes(double, windows), strict=True):
        assert torch.equal(output, own * 2)
    assert sizes == [AT_ONCE, *[1] * AT_ONCE, AT_ONCE, AT_ONCE, 1]
    assert torch.equal(torch.get_rng_state(), before)


def test_where_a_batch_gives_other_bits_each_is_computed_alone() -> None:
    sizes: list[int] = []

    def rounded_otherwise(windows: Tensor) -> Tensor:
        sizes.append(len(windows))
        return windows + (1e-7 if len(windows) > 1 else 0)

    windows = [window(0.5) for _ in range(3 * AT_ONCE)]
    assert all(torch.equal(output, window(0.5)) for output in outcomes(rounded_otherwise, windows))
    assert sizes.count(AT_ONCE) == 1


@pytest.mark.parametrize("first", [[0.0] * AT_ONCE, [1.0] * AT_ONCE])
def test_images_that_are_alike_prove_nothing_for_others(first: list[float]) -> None:
    def relative_to_the_brightest(windows: Tensor) -> Tensor:
        return windows / windows.amax().clamp(min=0.1)

    windows = [window(value) for value in [*first, *(number / 10 for number in range(1, AT_ONCE + 1))]]
    for own, output in zip(windows, outcomes(relative_to_the_brightest, windows), strict=True):
        assert torch.equal(output, relative_to_the_brightest(own))


def test_a_network_that_changes_its_input_gets_each_image_once() -> None:
    calls = 0

    def halve(windows: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise ValueError("once")
        return windows.mul_(0.5)

    found = outcomes(halve, [window(1.0) for _ in range(AT_ONCE)])
    assert all(isinstance(output, ValueError) or torch.equal(output, window(0.5)) for output in found)


def test_a_network_that_changes_its_input_is_judged_all_the_same() -> None:
    def add(windows: Tensor) -> Tensor:
        return windows.add_(1 if len(windows) > 1 else 2)

    found = outcomes(add, [window(0) for _ in range(AT_ONCE)])
    assert all(torch.equal(output, window(2)) for output in found)


def test_an_image_that_fails_costs_no_other() -> None:
    def compute(windows: Tensor) -> Tensor:
        if (windows < 0).any():
            raise ValueError("negative")
        return windows * 2

    for bad in range(AT_ONCE):
        windows = [window(-1 if number == bad else number) for number in range(AT_ONCE)]
        found = outcomes(compute, windows)
        assert str(found.pop(bad)) == "negative"
        assert [float(output[0, 0, 0, 0]) for output in found] == [2 * n for n in range(AT_ONCE) if n != bad]


def test_where_memory_is_short_for_several_they_are_computed_one_by_one() -> None:
    def compute(windows: Tensor) -> Tensor:
        if len(windows) > 1:
            raise MemoryError
        return windows * 2

    assert all(torch.equal(output, window(2)) for output in outcomes(compute, [window(1)] * AT_ONCE))
    sizes: list[int] = []
    outcomes(lambda windows: sizes.append(len(windows)) or windows, [window(1)] * AT_ONCE, most=64 * AT_ONCE - 1)  # type: ignore[func-returns-value]
    assert sizes == [1] * AT_ONCE


@pytest.mark.parametrize("sides", [[8, 9] * (AT_ONCE - 1), [33] * AT_ONCE])
def test_large_images_and_few_of_a_shape_are_computed_one_by_one(sides: list[int]) -> None:
    sizes: list[int] = []
    outcomes(lambda windows: sizes.append(len(windows)) or windows, [window(1, side) for side in sides])  # type: ignore[func-returns-value]
    assert sizes == [1] * len(sides)


class Recorded(nn.Module):
    """Doubles each pixel, and fails at images that are all white."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self._sizes = sizes

    def __deepcopy__(self, memo: Any) -> "Recorded":
        return self

    def forward(self, low: Tensor) -> Tensor:
        self._sizes.append(len(low))
        time.sleep(0.01)  # others come and wait
        if (low == 1).all(-1).all(-1).all(-1).any():
            raise ValueError("white")
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.fixture
def sizes(install: Callable[..., None]) -> list[int]:
    """How many images each call of the network "recorded" got."""
    sizes: list[int] = []
    install(Model("recorded", (2,), lambda scale, variant: Recorded(sizes), "", receptive_field=0))
    return sizes


def run(folder: Path, out: Path, **course: Any) -> dict[str, FileResult]:
    up = pysr.load("recorded", 2, device="cpu", backend="torch")
    work = upscale_jobs(plan_folder(folder, out), lambda job: up, 2, output=Output(), course=Course(**course))
    return {result.source.name: result for result in work}


def test_files_of_a_batch_are_as_if_each_were_alone(sizes: list[int], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        shape, dtype = [((8, 6, 3), np.uint8), ((8, 6, 4), np.uint8), ((8, 6), np.uint16)][number % 3]
        pixels = np.full(shape, 255, dtype) if number == 12 else rng.integers(0, 255, shape).astype(dtype)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "bad.png").write_bytes((folder / "3.png").read_bytes()[:60])
    alone = run(folder, tmp_path / "alone")
    assert max(sizes) == 1
    results = run(folder, tmp_path / "out", workers=None, manifest=tmp_path / "out" / NAME)
    assert max(sizes) == AT_ONCE
    failed = {"12.png", "bad.png"}
    assert {name for name, result in results.items() if result.error} == failed
    assert isinstance(results["12.png"].error, PluginError)
    for name in alone.keys() - failed:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "out" / NAME).read_text().splitlines()]
    assert {Path(line["input"]).name for line in lines if line["state"] == "done"} == alone.keys() - failed
    assert len(lines) == 31
    assert all(line["seconds"] > 0 for line in lines if line["state"] == "done")
    again = run(folder, tmp_path / "out", workers=None, manifest=tmp_path / "out" / NAME)
    assert {name for name, result in again.items() if result.skipped} == alone.keys() - failed


# a thread that is stopped just after it opened a file leaves it to Python to close
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_end_before_its_time_leaves_nothing_behind(sizes: list[int], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(100):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    up = pysr.load("recorded", 2, device="cpu", backend="torch")
    jobs = plan_folder(folder, tmp_path / "out")
    work = upscale_jobs(jobs, lambda job: up, 2, output=Output(), course=Course(None))
    next(work)
    before = time.perf_counter()
    work.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - before < 5
    made = list((tmp_path / "out").iterdir())
    assert 1 <= len(made) < 100
    for file in made:
        with Image.open(file) as image:
            image.load()
