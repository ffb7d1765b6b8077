"""Every call of the system fails once: for every function, the first time, the second, and so on until it works.

After each, the old file is as it was and an error was raised, or the new file is complete; and nothing else is left.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from .experiment import Outcome, environment

FUNCTIONS = (
    "open",
    "write",
    "fsync",
    "rename",
    "link",
    "close",
    "seek",
    "unlink",
    "chmod",
    "flock",
    "fstat",
    "stat",
    "dup",
)
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EMFILE, errno.EINTR, errno.EROFS)
_MOST = 40  # calls of one function while a file is written
_ENDINGS = (".png", ".tif", ".jpg", ".webp", ".avif", ".bmp", ".ppm")


def compiler() -> str | None:
    """The C compiler that makes the calls fail."""
    return shutil.which("cc") or shutil.which("gcc") if sys.platform == "linux" else None


def run(count: int, folder: Path) -> Outcome:
    """Let calls fail for the first ``count`` of seven formats and seven errors, on both ways to write."""
    outcome, found = Outcome(), compiler()
    if not found:
        outcome.notes.append("needs Linux and a C compiler")
        return outcome
    shim = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([found, "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "torture.system_calls", str(count), str(folder)],
        env=environment(Path(__file__).parents[1]) | {"LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        outcome.failures.append(done.stderr[-500:])
    for line in done.stdout.splitlines():
        trial, _, problem = line.partition("\t")
        outcome.check(trial, problem or None)
    return outcome


def _try_all(count: int, folder: Path) -> None:
    import numpy as np
    from PIL import Image

    from pysr.files import write_image

    generator = np.random.default_rng(0)
    old, new = (Image.fromarray(generator.integers(0, 256, (90, 90, 3), np.uint8)) for _ in "ab")
    for ending in _ENDINGS[:count]:
        target = folder / f"target{ending}"
        write_image(new, target)
        wanted = target.read_bytes()
        for named in (False, True):
            for function in range(len(FUNCTIONS)):
                for error in (*ERRORS[:count], *([0] if FUNCTIONS[function] == "write" else [])):
                    for k in range(1, _MOST):
                        write_image(old, target)
                        before = target.read_bytes()
                        code = _write(new, target, named, function, k, error)
                        if code == _DONE:
                            break
                        problem = _problem(code, target, before, wanted)
                        trial = (
                            f"{ending} {FUNCTIONS[function]} {k} {errno.errorcode.get(error, 'short')} named={named}"
                        )
                        print(f"{trial}\t{problem or ''}", flush=True)


_DONE, _WRITTEN, _REFUSED, _RAISED = 100, 0, 10, 11


def _write(image: object, target: Path, named: bool, function: int, k: int, error: int) -> int:
    """Write in a child process whose k-th call fails; tell what became of it."""
    from pysr.errors import PysrError
    from pysr.files import write_image

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = _WRITTEN
    with suppress(BaseException):
        shim = ctypes.CDLL(None)
        if named:
            del os.O_TMPFILE
        try:
            shim.torture_arm(function, ctypes.c_long(k), error)
            write_image(image, target)  # type: ignore[arg-type]
        except PysrError:
            code = _REFUSED
        except BaseException:
            code = _RAISED
        calls = shim.torture_calls()
        shim.torture_arm(-1, ctypes.c_long(0), 0)
        code = _DONE if calls < k and code == _WRITTEN else code
    os._exit(code)


def _problem(code: int, target: Path, before: bytes, wanted: bytes) -> str | None:
    now = target.read_bytes() if target.exists() else None
    left = [path.name for path in target.parent.glob(".pysr-*")]
    for name in left:
        (target.parent / name).unlink()
    if now is None:
        return "the file is gone"
    if code == _WRITTEN and now != wanted:
        return "no error, and not the new file"
    if code == _REFUSED and now != before:
        return "an error, and not the old file"
    if code not in (_WRITTEN, _REFUSED):
        return f"not a PysrError ({code})"
    return f"{left} is left" if left else None


if __name__ == "__main__":
    _try_all(int(sys.argv[1]), Path(sys.argv[2]))
