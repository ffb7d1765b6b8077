"""What an experiment is, and how its programs are run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What an experiment found.

    Attributes:
        n: How many trials were made.
        failures: One line for each that went wrong.
        notes: Figures worth reading.
    """

    n: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, trial: str, problem: str | None) -> None:
        """Count a trial, with what went wrong in it, if anything did."""
        self.n += 1
        if problem:
            self.failures.append(f"{trial}: {problem}")


@dataclass(frozen=True)
class Experiment:
    """A way to break pysr.

    Attributes:
        name: Of the experiment.
        run: Makes about as many trials as it is told, in an empty folder.
        quick: How many trials the tests make.
        long: How many ``make torture`` makes.
    """

    name: str
    run: Callable[[int, Path], Outcome]
    quick: int
    long: int


def environment(*folders: Path) -> dict[str, str]:
    """The environment of a program that is to see the same modules as this one, and those in the folders."""
    paths = os.pathsep.join([*map(str, folders), *(path for path in sys.path if path)])
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def python(*arguments: str, folder: Path, **options: object) -> subprocess.Popen[str]:
    """Start a Python program in a folder, with its output in pipes."""
    settings: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, cwd=folder, text=True, errors="replace", **(settings | options))  # type: ignore[call-overload]
