"""The garbage collector rests while torch is imported, which makes half a million objects and no garbage.

Looking through them again and again takes a tenth of the import's time. What was made stays out of later collections,
of which the last, at the program's end, takes up to a second.
"""

import gc
import os
import stat
import sys
from _io import _IOBase  # io.IOBase asks every object's class in Python, which takes ten times as long
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom, BufferedWriter, TextIOWrapper

if sys.platform != "win32":
    import fcntl


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Collect nothing in the block, in which torch is imported, and never what the block leaves.

    Does nothing where torch has been imported already, or the collector has been switched off.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def skip_last_collection() -> None:
    """Let the program end without looking for garbage once more, but write what is left in the buffers of files.

    Of files that are part of a cycle of references, as a plugin may have left one, Python's own collection loses it. So
    this is called last, when threads and the plugins' exit handlers have ended.
    """
    if _some_file_is_written():
        _flush_files()
    gc.freeze()


def _flush_files() -> None:
    gc.unfreeze()
    files = [thing for thing in gc.get_objects() if issubclass(type(thing), _IOBase)]
    for file in sorted(files, key=_depth):
        with suppress(Exception):  # it is closed, or its class is a plugin's
            file.flush()


def _depth(file: _IOBase) -> int:
    """How far below others a file may lie: text is encoded, perhaps compressed, and then buffered."""
    return 0 if isinstance(file, TextIOWrapper) else 2 if isinstance(file, BufferedWriter | BufferedRandom) else 1


def _some_file_is_written() -> bool:
    """Whether a file is open for writing, but for the standard streams; True where that cannot be told."""
    if sys.platform == "win32":
        return True
    try:
        descriptors = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return True
    return any(number > 2 and _is_written(number) for number in descriptors)


def _is_written(descriptor: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        writes = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        return writes and stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:  # it was that of the listing
        return False
