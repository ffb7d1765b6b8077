"""The number of threads that a network gets beside other programs."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import pysr
from pysr.ops import threads
from pysr.ops.threads import idle_processors, threads_on_idle_processors
from pysr.testing import photo


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def pretend(monkeypatch: pytest.MonkeyPatch, idle: int) -> None:
    monkeypatch.setattr(threads, "idle_processors", lambda most: idle)


@pytest.mark.parametrize(("idle", "expected"), [(0, 1), (1, 1), (2, 2)])
@pytest.mark.skipif(threads._openmp() is None, reason="this torch does not use OpenMP")
def test_there_are_no_more_threads_than_idle_processors(
    monkeypatch: pytest.MonkeyPatch, idle: int, expected: int
) -> None:
    pretend(monkeypatch, idle)
    elsewhere: list[int] = []
    with threads_on_idle_processors():
        assert torch.get_num_threads() == expected
        other = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        other.start()
        other.join()
    assert torch.get_num_threads() == 2
    assert elsewhere == [2]


def test_threads_that_sleep_while_they_wait_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 0)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    with threads_on_idle_processors():
        assert torch.get_num_threads() == 2


def test_a_busy_machine_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    up, image = pysr.load("vdsr", 2, device="cpu"), photo(20, 30)
    pretend(monkeypatch, 2)
    expected = up.upscale(image)
    pretend(monkeypatch, 0)
    assert (up.upscale(image) == expected).all()


def proc(folder: Path, running: int, own: str) -> Path:
    """A /proc with so many running threads on the machine, and this process's in these states."""
    (folder / "loadavg").write_text(f"0.10 0.20 0.30 {running}/99 1234\n")
    for number, state in enumerate(own):
        task = folder / "self" / "task" / str(number)
        task.mkdir(parents=True)
        (task / "stat").write_text(f"{number} (a) S) {state} 1 1")
    return folder


@pytest.mark.parametrize(
    ("running", "own", "expected"), [(1, "R", 4), (3, "RSR", 3), (3, "RRR", 4), (5, "R", 0), (9, "R", 0), (0, "R", 4)]
)
def test_what_other_programs_run_is_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, running: int, own: str, expected: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert idle_processors(4, proc(tmp_path, running, own)) == expected
    assert idle_processors(2, tmp_path) == min(expected, 2)


def test_without_proc_all_threads_are_used(tmp_path: Path) -> None:
    assert idle_processors(8, tmp_path) == 8
