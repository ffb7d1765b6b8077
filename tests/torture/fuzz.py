"""A fuzzer that is guided by coverage (atheris), over the gates of files and of weights; skipped without it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from . import hostile, weights
from .experiment import Outcome, environment

_GATES: dict[str, Callable[[], dict[str, bytes]]] = {"files": hostile.samples, "weights": weights.samples}


def run(count: int, folder: Path) -> Outcome:
    """Fuzz each gate for half of that many seconds."""
    outcome = Outcome()
    if not find_spec("atheris"):
        outcome.notes.append("needs atheris (pip install atheris)")
        return outcome
    for gate, samples in _GATES.items():
        corpus = folder / gate
        corpus.mkdir()
        for number, data in enumerate(samples().values()):
            (corpus / str(number)).write_bytes(data)
        command = [sys.executable, "-m", "torture.fuzz", gate, str(corpus), f"-max_total_time={count // 2}"]
        command += ["-timeout=60", "-rss_limit_mb=6000", f"-artifact_prefix={folder}/{gate}-", "-print_final_stats=1"]
        done = subprocess.run(
            command, env=environment(Path(__file__).parents[1]), cwd=folder, capture_output=True, text=True, check=False
        )
        made = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        outcome.n += int(made[1]) if made else 0
        if done.returncode:
            why = re.search(r"(Uncaught Python exception.*\n.*|ERROR: libFuzzer.*|ALARM.*)", done.stderr)
            outcome.failures.append(f"{gate}: {why[1] if why else done.stderr[-300:]}, in {_kept(folder, gate)}")
    return outcome


def _kept(folder: Path, gate: str) -> list[str]:
    """Copy what the fuzzer found to the current folder; return the names."""
    found = [path for path in folder.glob(f"{gate}-*") if path.is_file()]
    return [shutil.copy(path, Path.cwd()) for path in found]


def _fuzz(gate: str) -> None:
    import atheris

    from pysr.errors import PysrError

    with atheris.instrument_imports(include=["pysr"]):
        from pysr.files import read_image  # noqa: F401
    read = {"files": hostile.read, "weights": weights.read}[gate]

    def once(data: bytes) -> None:
        with suppress(PysrError):
            read(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    _fuzz(sys.argv[1])
