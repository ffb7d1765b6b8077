"""Files from anyone, examined in a process with limits on time, memory and output: python -m pysr.isolation ...

The worst that a file can do there is to end that process. What is found out is kept in the user's cache by the file's
digest, so that each file is examined once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from .cache import cache_folder
from .errors import InputError, PluginError, PysrError, UnknownNameError, WeightsError, explain_import

LARGEST = 4 * 2**30  # bytes: several times the largest upscaler that people use
SPARE_MEMORY = 512 * 2**20  # bytes beyond the file's numbers, which are held up to four times
SPARE_SECONDS = 1.5  # of CPU time, beyond those for the file's size
SLOWEST = 10 * 2**20  # bytes of a file examined per second of CPU time: a network is built, too
_USUAL_START = 2.0  # seconds of CPU time until the limits begin, where these numbers hold; slower computers get more
_PATIENCE = 30.0  # seconds of wall time beyond those: Python and torch start slowly on a busy computer
_ERRORS = {error.__name__: error for error in (InputError, PluginError, UnknownNameError, WeightsError)}
_HARM = "it is damaged, or made to do harm"


@dataclass(frozen=True)
class Examined:
    """What was found out about a file.

    Attributes:
        facts: What the examining function returned, as JSON types.
        folder: What it wrote.
        digest: The SHA-256 of the file, in lower-case hex.
    """

    facts: dict[str, Any]
    folder: Path
    digest: str


def examine(files: Sequence[Path], function: str, version: str) -> Examined:
    """Examine a model file in a process of its own, unless the user's cache knows it.

    Args:
        files: The file, and those that belong to it.
        function: ``"package.module:name"``: called there with the files' paths and an empty folder for what it writes;
            returns facts as JSON types. Its module is imported before the limits begin. It raises as `ModelReader.open`
            may; any other exception counts as a damaged file.
        version: Part of the key in the cache: that of everything that the facts depend on; letters, digits, "-._".

    Returns:
        The facts, and what was written.

    Raises:
        InputError: The file is too large, or as the function raises.
        WeightsError: It is damaged, or took more time or memory than a model of its size can.
        PluginError: As the function raises; or a package that it needs is missing, or cannot be imported.
    """
    size = sum(file.stat().st_size for file in files)
    if size > LARGEST:
        raise InputError(f"{files[0]} has {size / 2**30:.1f} GiB, more than any upscaler; give the file of a model")
    digest = _digest(files)
    folder = _cache() / f"{digest}-{version}"
    with contextlib.suppress(OSError, ValueError):
        return Examined(json.loads((folder / "facts.json").read_text(encoding="utf-8")), folder, digest)
    with tempfile.TemporaryDirectory(prefix=".examining-", dir=folder.parent) as temporary:
        work = Path(temporary) / "work"
        work.mkdir()
        facts = _run(files, function, work, size)
        (work / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        with contextlib.suppress(OSError):  # another process was faster
            work.rename(folder)
    return Examined(facts, folder, digest)


def _run(files: Sequence[Path], function: str, work: Path, size: int) -> dict[str, Any]:
    # -P, and no relative paths: what lies beside a downloaded file is not imported
    command = [sys.executable, "-P", "-m", __name__, function, str(work), *(str(file.absolute()) for file in files)]
    modules = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    environment = os.environ | {"PYTHONPATH": modules, "OMP_NUM_THREADS": "1"}
    harm = f"{files[0]} took more time or memory than a model of its size can; {_HARM}"
    patience = _PATIENCE + 10 * size / SLOWEST
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        raise WeightsError(harm) from None
    if done.returncode < 0:  # ended by a signal, as a limit does
        raise WeightsError(harm)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.decode(errors="replace").splitlines() or ["no answer"])[-1]
        raise WeightsError(f"{files[0]} cannot be examined ({last[:200]}); use another copy of it") from None
    if "error" in answer:
        raise _ERRORS[answer["error"]](answer["message"])
    facts: dict[str, Any] = answer["facts"]
    return facts


def _digest(files: Sequence[Path]) -> str:
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _cache() -> Path:
    """The folder for files in the cache, or where there is none, one that lasts as long as this process."""
    try:
        return cache_folder("files")
    except InputError:
        return Path(_temporary_folder().name)


@cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pysr-")


def _imported(name: str) -> Callable[..., dict[str, Any]]:
    """Import a function, "package.module:name"."""
    module, _, function = name.partition(":")
    try:
        imported: Callable[..., dict[str, Any]] = getattr(import_module(module), function)
    except PysrError:
        raise
    except Exception as error:  # of a package that is missing or broken: no file has been looked at yet
        raise PluginError(explain_import(name, error)) from error
    return imported


def _answer(name: str, work: Path, files: Sequence[Path]) -> dict[str, Any]:
    """Call the function of that name within the limits; what goes wrong is part of the answer."""
    try:
        function = _imported(name)
        _limit(sum(file.stat().st_size for file in files))
        return {"facts": function(*files, work)}
    except PysrError as error:
        kind = type(error).__name__
        return {"error": kind if kind in _ERRORS else "WeightsError", "message": str(error)}
    except ImportError as error:  # of what is imported only when it is needed
        return {"error": "PluginError", "message": explain_import(name, error)}
    except Exception as error:  # anything that a damaged file makes of a library
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        advice = f"({reason}); use another copy of it"
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            advice = f"in the memory that a model of its size takes; {_HARM}"
        elif isinstance(error, RecursionError):
            advice = f"(it is nested too deeply); {_HARM}"
        return {"error": "WeightsError", "message": f"{files[0]} cannot be read {advice}"}


def _limit(size: int) -> None:
    """Limit what the rest of this process may use for files of that size in bytes, as far as the system can."""
    if sys.platform == "win32":
        return  # the parent limits the time
    import resource

    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])  # of the user and of the system
    seconds = math.ceil(used + max(1, used / _USUAL_START) * (SPARE_SECONDS + size / SLOWEST))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 2**20,) * 2)
    if sys.platform == "linux":  # other systems do not keep to it
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        memory = pages * resource.getpagesize() + SPARE_MEMORY + 4 * size
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def main(arguments: Sequence[str]) -> None:
    """Examine files as this process's only task: FUNCTION FOLDER FILE..."""
    output = os.dup(1)
    os.dup2(2, 1)  # what libraries print does not mix with the answer
    answer = json.dumps(_answer(arguments[0], Path(arguments[1]), [Path(file) for file in arguments[2:]]))
    with open(output, "w", encoding="utf-8") as file:
        file.write(answer)
    os._exit(0)  # nothing that the file left behind runs on the way out


if __name__ == "__main__":
    main(sys.argv[1:])
