"""pysr within another program: what the program sets for all of torch, its forks, and copies of what holds a lock."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

import torch


def _compute_in_one_thread() -> None:
    """Let torch work in a forked child, where it would wait for OpenMP's threads, which do not survive a fork.

    More of them must not be asked for there: ``torch.set_num_threads(2)`` makes the child hang again.
    """
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_compute_in_one_thread)

_KEPT_LAYERS = "64"  # that oneDNN keeps prepared, each for images of one size: as many as the patches of one image need
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):  # its own, and torch's for each thread
    os.environ.setdefault(_cache, _KEPT_LAYERS)  # both are read when a layer first runs; 1,024 each cost 250 MiB

# Large buffers get huge pages; torch reads it when it first allocates.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_KEPT_BUFFER = 2**25 - 2**16  # bytes: just below the most that glibc ever keeps by itself
_KEPT_TOGETHER = 4


def _keep_freed_buffers() -> None:
    """Have glibc keep freed buffers for the next ones, in place of giving each back to the system.

    It keeps those that are no larger than the largest one freed so far, up to 32 MiB, and looks for room for any buffer
    in what it has kept before it asks the system. So four of these side by side, below one that is never freed, are
    kept for larger buffers, up to 128 MiB in all. None is touched here: they take no memory before they are used.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        libc.free(libc.malloc(_KEPT_BUFFER))
        *kept, _ = [libc.malloc(_KEPT_BUFFER) for _ in range(_KEPT_TOGETHER + 1)]
        for buffer in kept:
            libc.free(buffer)


_keep_freed_buffers()


class ProcessLock:
    """A lock that a forked child finds open, whoever held it in its parent, and that copies of its owner do not share.

    Use it by ``with``.
    """

    def __init__(self) -> None:
        self._locks: dict[int, Lock] = {}  # by process; the child of a fork inherits those of its forebears

    def __enter__(self) -> None:
        self._own().acquire()

    def __exit__(self, *_: object) -> None:
        self._own().release()

    def __reduce__(self) -> tuple[type["ProcessLock"], tuple[()]]:
        return ProcessLock, ()

    def _own(self) -> Lock:
        return self._locks.setdefault(os.getpid(), Lock())


class SharedSetting:
    """A setting of the whole process that has one value while any thread holds it, and then the one from before.

    Args:
        get: Reads the setting.
        put: Changes it.
        value: What it is while it is held.
    """

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], None], value: Any) -> None:
        self._get, self._put, self._value = get, put, value
        self._lock, self._holders, self._before = ProcessLock(), 0, value

    @contextmanager
    def hold(self) -> Iterator[None]:
        with self._lock:
            if not self._holders:
                self._before = self._get()
                self._put(self._value)
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._put(self._before)


_float32_default = SharedSetting(torch.get_default_dtype, torch.set_default_dtype, torch.float32)


def cpu_by_default() -> AbstractContextManager[Any]:
    """Create tensors on the CPU, whatever the program's default; free where that is the default, as it mostly is.

    ``torch.device`` as a context costs 10 microseconds for each function of torch: 3 % of a small image's time.
    """
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


@contextmanager
def own_defaults() -> Iterator[None]:
    """Build networks as if the program had set nothing: on the CPU, in float32, of ordinary tensors, without gradients.

    The program's random numbers go on as if none had been drawn. torch's default dtype is one for all threads; it is
    float32 in all of them until the ``with`` block ends.
    """
    on_cpu = cpu_by_default()
    with torch.inference_mode(False), torch.no_grad(), on_cpu, _float32_default.hold(), torch.random.fork_rng(()):
        yield
