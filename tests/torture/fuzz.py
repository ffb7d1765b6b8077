"""A fuzzer that is guided by coverage (atheris), over the gates of files and of weights; skipped without it."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from .experiment import Outcome, environment

# The module of each gate, with sound files and what reads them. Only what is imported by the fuzzer itself guides it.
_GATES = {"files": "torture.hostile", "weights": "torture.weights"}
_INSTRUMENTED = ["pysr", "PIL"]  # whose coverage guides the fuzzer
_LONGEST = 4096  # bytes of a file: long ones are slow, and reach no other code
_HANG = 200  # seconds by the clock, on a machine that may be busy; what is slow is told by processor time
_BLIND = "no interesting inputs were found"  # what libFuzzer says where no code is instrumented


def run(count: int, folder: Path) -> Outcome:
    """Fuzz each gate for half of that many seconds."""
    outcome = Outcome()
    if not find_spec("atheris"):
        outcome.notes.append("needs atheris (pip install atheris)")
        return outcome
    for gate, module in _GATES.items():
        corpus = folder / gate
        corpus.mkdir()
        for number, data in enumerate(import_module(module).samples().values()):
            if len(data) <= _LONGEST:
                (corpus / str(number)).write_bytes(data)
        command = [sys.executable, "-m", "torture.fuzz", gate, str(corpus), f"-max_total_time={count // 2}"]
        command += [f"-max_len={_LONGEST}", f"-timeout={_HANG}", "-rss_limit_mb=6000"]
        command += [f"-artifact_prefix={folder}/{gate}-", "-print_final_stats=1"]
        done = subprocess.run(
            command, env=environment(Path(__file__).parents[1]), cwd=folder, capture_output=True, text=True, check=False
        )
        made = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        outcome.n += int(made[1]) if made else 0
        if _BLIND in done.stderr:
            outcome.failures.append(f"{gate}: nothing is instrumented, so the fuzzer is blind")
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

    with atheris.instrument_imports(include=_INSTRUMENTED):
        read = import_module(_GATES[gate]).read
        from pysr.errors import PysrError
        from torture.hostile import LONGEST

    logging.getLogger("pysr").addHandler(logging.NullHandler())  # warnings are not printed

    def once(data: bytes) -> None:
        began = time.process_time()
        with suppress(PysrError):
            read(data)
        if (took := time.process_time() - began) > LONGEST:
            raise TimeoutError(f"took {took:.1f} s of processor time")

    atheris.Setup([sys.argv[0], *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    _fuzz(sys.argv[1])
