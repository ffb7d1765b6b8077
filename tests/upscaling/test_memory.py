"""How large a patch may be, and which errors mean that there was no memory."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import pysr
from pysr import OutOfMemoryError
from pysr.upscaling import memory
from pysr.upscaling.memory import budget, fit_patch, free_memory, is_out_of_memory
from pysr.upscaling.plan import plan_tiles
from pysr.upscaling.stage import Stage
from pysr.upscaling.tiling import TiledStage, Tiling

LENGTHS = st.one_of(st.integers(1, 200), st.integers(1, 20_000))


def rounded_up(length: int, multiple_of: int) -> int:
    return math.ceil(length / multiple_of) * multiple_of


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    height=LENGTHS,
    width=LENGTHS,
    area=st.one_of(st.integers(0, 5000), st.floats(1, 1e9)),
    halo=st.integers(0, 40),
    multiple_of=st.sampled_from([1, 2, 3, 8, 16]),
)
def test_a_patch_fits_where_one_can(height: int, width: int, area: float, halo: int, multiple_of: int) -> None:
    found = fit_patch((height, width), area=area, halo=halo, multiple_of=multiple_of)
    smallest = rounded_up(4 * halo + multiple_of, multiple_of)
    least = [min(smallest, rounded_up(length, multiple_of)) for length in (height, width)]
    for side, length, low in zip(found, (height, width), least, strict=True):
        assert side % multiple_of == 0
        assert low <= side <= rounded_up(length, multiple_of)
    assert math.prod(found) <= max(area, math.prod(least))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    area=st.floats(1, 50_000),
    halo=st.integers(0, 25),
    multiple_of=st.sampled_from([1, 2, 4, 8]),
)
def test_a_patch_can_be_planned_with(height: int, width: int, area: float, halo: int, multiple_of: int) -> None:
    patch = fit_patch((height, width), area=area, halo=halo, multiple_of=multiple_of)
    plan = plan_tiles((height, width), scale=2, patch=patch, halo=halo, multiple_of=multiple_of)
    for axis, length in ((plan.rows, height), (plan.columns, width)):
        total = torch.zeros(max(2 * length, axis.output_starts[-1] + 2 * axis.patch))
        for start, weights in zip(axis.output_starts, axis.weights, strict=True):
            total[start : start + len(weights)] += torch.from_numpy(weights.copy())
        assert (total[: 2 * length] == 1).all()


@settings(derandomize=True, deadline=None, max_examples=100)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000), halo=st.integers(0, 30))
def test_an_image_that_fits_goes_whole(height: int, width: int, halo: int) -> None:
    assert fit_patch((height, width), area=height * width, halo=halo, multiple_of=1) == (height, width)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(height=st.integers(50, 3000), width=st.integers(50, 3000), area=st.integers(2500, 10**6))
def test_no_square_patch_would_be_less_work(height: int, width: int, area: int) -> None:
    halo = 10
    assume(area < height * width)

    def work(tall: int, wide: int) -> int:
        counts = [
            max(1, math.ceil((length - 2 * halo) / (side - 2 * halo)))
            for length, side in ((height, tall), (width, wide))
        ]
        return math.prod(counts) * tall * wide

    side = math.isqrt(area)
    square = min(side, height), min(side, width)
    assert work(*fit_patch((height, width), area=area, halo=halo, multiple_of=1)) <= work(*square)


def test_max_memory_is_what_the_user_says() -> None:
    assert budget(torch.device("cpu"), 123) == 123
    assert 0 < budget(torch.device("cpu"), None) <= 2 * 2**30


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 4, 8]), st.integers(500, 4000))
@example(129, 129, 4, 2000)  # just below what is always there, but not once it is rounded up
def test_no_image_is_cut_for_being_small(height: int, width: int, multiple_of: int, per_pixel: int) -> None:
    stage = SimpleNamespace(
        model=SimpleNamespace(multiple_of=multiple_of, minimum_size=1, input_size=None),
        halo=8,
        scale=2,
        runner=SimpleNamespace(device=torch.device("cpu")),
        bytes_per_pixel=lambda channels: per_pixel,
    )
    assert TiledStage(cast(Stage, stage), Tiling()).plan((3, height, width)).count == 1


def test_a_small_image_is_planned_once_and_without_a_look_at_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = []
    plan = TiledStage.plan
    monkeypatch.setattr(TiledStage, "plan", lambda *arguments: planned.append(1) or plan(*arguments))
    monkeypatch.setattr(memory, "free_memory", lambda: pytest.fail("looked up"))
    upscaler = pysr.load("srcnn", 2)
    assert upscaler.upscale(np.zeros((9, 9, 3), np.uint8)).shape == (18, 18, 3)
    assert len(planned) == 1


@pytest.mark.parametrize(
    ("folder", "limit", "used", "cache"),
    [
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_a_containers_limit_counts(folder: str, limit: str, used: str, cache: str, tmp_path: Path) -> None:
    whole = free_memory(tmp_path)
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    (place / used).write_text("700000\n")
    (place / "memory.stat").write_text(f"anon 600000\n{cache} 100000\n")
    for most, free in (("1000000", 400_000), ("500000", 0)):
        (place / limit).write_text(f"{most}\n")
        assert free_memory(tmp_path) == free
    (place / limit).write_text("max\n")
    assert free_memory(tmp_path) == pytest.approx(whole, rel=0.5)


@pytest.mark.parametrize(("line", "folder"), [("0::/outer/inner", ""), ("4:cpu,memory:/outer/inner", "memory")])
def test_the_limits_of_all_groups_around_a_process_count(line: str, folder: str, tmp_path: Path) -> None:
    (tmp_path / "membership").write_text(f"9:name=systemd:/elsewhere\n{line}\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if folder else ("memory.max", "memory.current")
    for place, most in (("outer", 900_000), ("outer/inner", 2_000_000), ("elsewhere", 10)):
        group = tmp_path / folder / place
        group.mkdir(parents=True, exist_ok=True)
        for name, number in zip(names, (most, 500_000), strict=True):
            (group / name).write_text(f"{number}\n")
        (group / "memory.stat").write_text("inactive_file 0\ntotal_inactive_file 0\n")
    assert free_memory(tmp_path, tmp_path / "membership") == 400_000


def test_a_real_failed_allocation_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), OutOfMemoryError("here")]
)
def test_typed_errors_are_out_of_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to",
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9",
        "could not create a primitive",
        "could not allocate memory",
        "Unable to allocate 3.0 GiB for an array with shape (9,) and data type uint8",
        "posix_memalign failed",
        "std::bad_alloc",
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_every_wording_is_out_of_memory(message: str) -> None:
    class OfALibrary(RuntimeError):
        pass

    assert is_out_of_memory(RuntimeError(message))
    assert is_out_of_memory(OfALibrary(message))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("out of memory"),
        ValueError("DefaultCPUAllocator: can't allocate memory"),
        NotImplementedError("DefaultCPUAllocator: can't allocate memory"),
        OSError(12, "Cannot allocate memory"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_not(error: BaseException) -> None:
    assert not is_out_of_memory(error)
