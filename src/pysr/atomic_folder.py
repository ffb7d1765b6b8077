"""Atomic writes of folders: one that holds what others write as a file appears complete, or not at all."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .atomic import FilePath, file_name, lock, new_sibling, remove, remove_abandoned, sync_folder, tolerate, unfinished

_EXCHANGE = 2  # RENAME_EXCHANGE of Linux
_HERE = -100  # AT_FDCWD


@contextmanager
def atomic_folder(path: FilePath) -> Iterator[str]:
    """Make a folder that takes the place of ``path`` when the ``with`` block succeeds, as `atomic_write` makes files.

    It is filled as a sibling ``.pysr-<pid>-...``. If the block raises, the old folder is untouched. What a killed
    process left is removed by the next write into the folder above.

    Where the system cannot let two folders change places (outside Linux), the old one is moved aside for a moment, as
    ``.NAME.old-...``.

    Args:
        path: The folder to make or to replace; with all that is in it.

    Yields:
        The name of the new folder, which is empty.

    Raises:
        OSError: It cannot be written; raised here or in the block. What was there before is unchanged.
    """
    target = os.path.realpath(file_name(path))
    folder = os.path.dirname(target)
    remove_abandoned(folder)
    mode = os.stat(target).st_mode if os.path.isdir(target) else None
    sibling = new_sibling(folder)
    unfinished.add(sibling)
    try:
        with _made(sibling, 0o777 if mode is None else 0o700) as descriptor:
            yield sibling
            _sync(sibling)
            if mode is not None and descriptor is not None:  # by its descriptor, as its name may stand for another
                loss = f"{target!r} could not keep its permissions"
                tolerate(os.fchmod, descriptor, stat.S_IMODE(mode), loss=loss)
            _into_place(sibling, target)
    finally:
        remove(sibling)  # what is unfinished, or the old folder
        unfinished.discard(sibling)
    sync_folder(folder)


@contextmanager
def _made(folder: str, mode: int) -> Iterator[int | None]:
    """Make a folder, which is locked in the ``with`` block against being taken for an abandoned one.

    Yields:
        Its descriptor, where folders have some.
    """
    if sys.platform == "win32":
        os.mkdir(folder)
        yield None
        return
    while True:
        os.mkdir(folder, mode)
        with suppress(FileNotFoundError):  # another process took it for an abandoned one before it was locked
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            lock(descriptor, wait=True)
            if os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(folder: str) -> None:
    """Make all that is in a folder durable."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _sync(entry.path)
            continue
        with open(entry.path, "rb+") as file:
            tolerate(os.fsync, file.fileno(), loss=f"{folder!r} may not be on the disk yet")
    sync_folder(folder)


def _into_place(sibling: str, target: str) -> None:
    """Give a new folder its name; an old one of that name then has the name of the sibling, or is gone."""
    if not os.path.lexists(target):
        os.rename(sibling, target)
    elif not _exchange(sibling, target):
        aside = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.old-{secrets.token_hex(4)}")
        os.rename(target, aside)
        try:
            os.rename(sibling, target)
        except OSError:
            os.rename(aside, target)
            raise
        shutil.rmtree(aside)


def _exchange(one: str, other: str) -> bool:
    """Let two names change places at once; tell whether the system could."""
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)
