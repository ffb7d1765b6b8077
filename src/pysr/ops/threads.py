"""How many threads compute a network: no more than there are idle processors.

OpenMP's threads wait for each other by spinning. Where other programs keep the processors busy, a thread spins in vain
while the one that it waits for is not running: with all processors busy, two threads of torch took 2.5 times as long
for SRCNN as one. (Programs that own their process can also let the threads sleep: ``OMP_WAIT_POLICY=passive``.)
"""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

_LOOKS = 3  # a program that runs for a moment keeps no processor busy
_PAUSE = 0.0003  # seconds between two looks
_PROC = Path("/proc")


@contextmanager
def threads_on_idle_processors() -> Iterator[None]:
    """Let torch compute with as many threads as processors are idle, at least one, in the calling thread alone.

    Does nothing where that cannot be found out (other systems than Linux), or where OpenMP's threads sleep while they
    wait.
    """
    wanted = torch.get_num_threads()
    openmp = _openmp() if wanted > 1 and os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive" else None
    chosen = max(1, idle_processors(wanted)) if openmp else wanted
    if openmp is None or chosen == wanted:
        yield
        return
    openmp.omp_set_num_threads(chosen)  # torch.set_num_threads would also change that of threads yet to start
    try:
        yield
    finally:
        openmp.omp_set_num_threads(wanted)


def idle_processors(most: int, proc: Path = _PROC) -> int:
    """Count the processors that nothing but this process uses.

    Args:
        most: Count no further than that.
        proc: Where Linux shows its processes.

    Returns:
        The largest number seen in a few looks, 0 to ``most``; ``most`` if there is nothing to see.
    """
    idle = 0
    try:
        for look in range(_LOOKS):
            if look:
                time.sleep(_PAUSE)
            running = int((proc / "loadavg").read_text().split()[3].partition("/")[0])
            idle = max(idle, (os.cpu_count() or 1) - max(0, running - _own_running(proc)))
            if idle >= most:
                return most
    except (OSError, ValueError, IndexError):
        return most
    return idle


def _own_running(proc: Path) -> int:
    """Count the threads of this process that are running, or ready to; one that spins is."""
    running = 0
    for task in (proc / "self" / "task").iterdir():
        try:
            running += (task / "stat").read_text().rpartition(")")[2].split()[0] == "R"
        except FileNotFoundError:  # it has just ended
            continue
    return running


@cache
def _openmp() -> ctypes.CDLL | None:
    """Load the OpenMP library that torch uses, found through torch's own library; None if it is built without."""
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"))
        library.omp_set_num_threads.restype = None
    except (OSError, AttributeError):
        return None
    return library
