"""Opening a file in a process of its own, and what is kept of it in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pysr.errors import InputError, PysrError, WeightsError
from pysr.plugin import cache_folder

from .library import spandrel, spandrel_version

REVISION = 1  # of the facts: raised when `child` finds out more
LARGEST = 4 * 2**30  # bytes: several times the largest upscaler that people use
_SECONDS = 30.0  # of wall time, beyond those for the file's size: starting Python and torch on a busy computer
_BYTES_PER_SECOND = 2**20
_ERRORS: dict[str, type[PysrError]] = {"InputError": InputError, "WeightsError": WeightsError}


@dataclass(frozen=True)
class Opened:
    """A file that was opened once.

    Attributes:
        weights: Its tensors as safetensors: the file itself, or what was made of a pickle.
        digest: The SHA-256 of the file, in lower-case hex.
        facts: What `child` found out.
    """

    weights: Path
    digest: str
    facts: dict[str, Any]


def open_once(path: Path, kind: str) -> Opened:
    """Open a file in a process with limits, unless the cache knows it.

    Args:
        path: The model file.
        kind: "pickle" or "safetensors".

    Raises:
        InputError: It is too large, or holds no model that pysr can use.
        WeightsError: It is damaged, or took more time or memory than a model of its size can.
        PluginError: spandrel is not installed.
    """
    spandrel()
    size = path.stat().st_size
    if size > LARGEST:
        raise InputError(f"{path} has {size / 2**30:.1f} GiB, more than any upscaler; give the file of a model")
    digest = _digest(path)
    folder = _folder()
    weights = folder / f"{digest}.safetensors" if kind == "pickle" else path
    facts = folder / f"{digest}-spandrel{spandrel_version()}-{REVISION}.json"
    with contextlib.suppress(OSError, ValueError):
        if weights.exists():
            return Opened(weights, digest, json.loads(facts.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory(prefix=".opening-", dir=folder) as work:
        converted, written = Path(work) / "weights", Path(work) / "facts"
        found = _run_child(path, converted, kind, size)
        if kind == "pickle":
            os.replace(converted, weights)
        written.write_text(json.dumps(found), encoding="utf-8")
        os.replace(written, facts)
    return Opened(weights, digest, found)


def _run_child(path: Path, converted: Path, kind: str, size: int) -> dict[str, Any]:
    # -P and a path without the current folder: what lies beside a downloaded file is not imported
    command = [sys.executable, "-P", "-m", "pysr_spandrel.child", str(path.absolute()), str(converted), kind]
    modules = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    environment = os.environ | {"PYTHONPATH": modules, "OMP_NUM_THREADS": "1"}
    seconds = _SECONDS + size / _BYTES_PER_SECOND
    harm = f"{path} took more time or memory than a model of its size can; it is damaged, or made to do harm"
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(harm) from None
    if done.returncode < 0:  # by a signal: a limit was reached
        raise WeightsError(harm)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.decode(errors="replace").splitlines() or ["no answer"])[-1]
        raise WeightsError(f"{path} cannot be opened ({last[:200]}); use another copy of it") from None
    if "error" in found:
        raise _ERRORS.get(found["error"], WeightsError)(found["message"])
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder() -> Path:
    """The cache, or where there is none, a folder that lasts as long as this process."""
    try:
        return cache_folder("spandrel")
    except InputError:
        return Path(_temporary_folder().name)


@cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pysr-")
