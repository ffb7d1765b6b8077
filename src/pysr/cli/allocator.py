"""Memory that stays with the process: for programs that own their process, such as the command line.

glibc hands buffers above 32 MiB back to the system when they are freed, and every next use of such a buffer pays for
fresh pages. A network frees and takes such buffers in every layer: keeping them made VDSR 1.3 times as fast (1 x 1 x
512 x 512 in bfloat16 on two cores: 1.10 s to 0.84 s; no page faults instead of 172,660), and a training step of it 1.10
times as fast (24 patches of 48 x 48, processor time: 1.19 s to 1.09 s; 40,000 page faults to none).
"""

import ctypes
import os
import sys

_MMAP_MAX, _TRIM_THRESHOLD, _ARENA_MAX = -4, -1, -8  # the numbers of mallopt's parameters in malloc.h
_USERS_OWN = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def tune_allocator() -> bool:
    """Let glibc keep freed memory for the next large buffer, in every thread. Call before torch is imported.

    True if it was done; False, and nothing changed, without glibc or where the user's environment tunes it already.
    """
    if any(name in os.environ for name in _USERS_OWN) or not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = (
        (_MMAP_MAX, 0),  # large buffers come from the heap, which is kept, not from pages of their own
        (_TRIM_THRESHOLD, -1),  # the heap never shrinks
        (_ARENA_MAX, 1),  # one heap for all threads: a thread's own heap cannot hold more than 64 MiB
    )
    return [mallopt(parameter, value) for parameter, value in settings] == [1] * len(settings)


def _is_glibc() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except ValueError:  # another C library does not know the question
        return False
