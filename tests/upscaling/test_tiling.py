"""Patches as large as memory allows, and smaller ones where it runs out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import pysr
from pysr import Tiling
from pysr.errors import InputError, OutOfMemoryError
from pysr.testing import photo
from pysr.upscaling.stage import Stage


def no_memory() -> RuntimeError:
    return RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.fixture
def before_each(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], None]], None]:
    """before_each(f): from now on f(windows) is called, and may raise, whenever a stage processes windows."""
    process = Stage.process

    def install(hook: Callable[[Tensor], None]) -> None:
        def hooked(stage: Stage, windows: Tensor) -> Tensor:
            hook(windows)
            return process(stage, windows)

        monkeypatch.setattr(Stage, "process", hooked)

    return install


def fail_at(failing: int) -> Callable[[Tensor], None]:
    calls = iter(range(1000))

    def hook(windows: Tensor) -> None:
        if next(calls) == failing:
            raise no_memory()

    return hook


def test_a_memory_limit_that_cannot_be_kept_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    pysr.load("bicubic", 2, ensemble=True, tiling=Tiling(max_memory=1)).upscale(photo(20, 20))
    assert "max_memory is too small" in caplog.text


@pytest.mark.parametrize("failing", range(6))
def test_running_out_of_memory_anywhere_gives_the_right_image(failing: int, before_each: Callable[..., None]) -> None:
    up, image = pysr.load("bicubic", 2, tiling=Tiling(32)), photo(70, 70)
    expected = up.upscale(image)
    before_each(fail_at(failing))
    assert np.abs(up.upscale(image) - expected).max() <= 1e-6


@pytest.mark.parametrize("failing", [0, 2, 10, 20])
def test_running_out_of_memory_in_a_chain_gives_the_right_image(
    failing: int, before_each: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    up, image = pysr.load("bicubic+lanczos", 4, tiling=Tiling(32)), photo(70, 70)
    expected = up.upscale(image)
    before_each(fail_at(failing))
    seen: list[tuple[int, int]] = []
    result = up.upscale(image, progress=lambda *now: seen.append(now))
    assert "trying smaller ones" in caplog.text
    assert np.abs(result - expected).max() <= 1e-6
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1


def test_always_out_of_memory_ends_with_the_smallest_size_tried(before_each: Callable[..., None]) -> None:
    calls = []

    def never(windows: Tensor) -> None:
        calls.append(windows.shape)
        raise no_memory()

    before_each(never)
    with pytest.raises(OutOfMemoryError, match=r"patches of \d+ x \d+"):
        pysr.load("bicubic", 2, ensemble=True).upscale(photo(300, 300))
    assert len(calls) < 40


def test_other_errors_that_mention_memory_are_not_retried(before_each: Callable[..., None]) -> None:
    calls = []

    def broken(windows: Tensor) -> None:
        calls.append(1)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    before_each(broken)
    with pytest.raises(RuntimeError, match="illegal"):
        pysr.load("bicubic", 2, ensemble=True).upscale(photo(30, 30))
    assert calls == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "patch is 0"),
        ({"patch": "big"}, "patch is 'big'"),
        ({"mode": "crop"}, "mode is 'crop'"),
        ({"overlap": -1}, "overlap is -1"),
        ({"overlap": 2.5}, "overlap is 2.5"),
        ({"max_memory": 0}, "max_memory is 0"),
        ({"max_memory": "4G"}, "max_memory is '4G'"),
    ],
)
def test_what_tiling_cannot_use_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tiling(**options)
