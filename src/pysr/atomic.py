"""Atomic writes: a file of any kind appears complete, or not at all."""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from .errors import InputError, format_error

if sys.platform != "win32":
    import fcntl

FilePath = str | os.PathLike[str]

_log = logging.getLogger(__name__)
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM})  # FAT, SMB, FUSE
_EXCLUSIVE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_SIBLING = re.compile(r"\.pysr-\d+-[0-9a-f]{16}(-[0-9a-f]{8})?")  # the last part is that of earlier versions
_OF_THE_SYSTEM, _BUT = ("/dev/", "/proc/", "/sys/"), "/dev/shm/"  # which show what it consists of, and keep no files
unfinished: set[str] = set()  # siblings, whether they have their names already or not
_LONGEST_NAME = 255  # bytes in a file's name: the limit of ext4, XFS, Btrfs, APFS and NTFS


class NotCopiedError(OSError):
    """A finished file could not be copied over the old one, which may be damaged; the message says where it is."""


def file_name(path: FilePath) -> str:
    """Convert a path to a string.

    Raises:
        InputError: It is not a path, is empty, or has a null character in it.
    """
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise InputError(f"a file's name is a string or a path, not {type(path).__name__}; give one of these") from None
    if not name or "\0" in name:
        raise InputError(f"{name!r} is not a file name; give one such as 'photo.png'")
    return name


def special_kind(path: FilePath) -> str | None:
    """Tell what a path is that is no regular file, as "a folder"; None for a file. To read a pipe might never end.

    Raises:
        OSError: There is no such path, or it cannot be looked at.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"


def is_of_the_system(path: str) -> bool:
    """Tell whether an absolute path lies where the system shows devices and processes; /dev/shm holds files."""
    return path.startswith(_OF_THE_SYSTEM) and not path.startswith(_BUT)


def check_not_of_the_system(path: FilePath) -> None:
    """Check that a new file, or a folder for it, does not lie where the system shows devices and processes.

    Raises:
        InputError: It does.
    """
    name = file_name(path)
    target = os.path.realpath(name)
    if is_of_the_system(target) and not os.path.exists(name):  # a pipe is there, though its real path is not
        folder = "/" + target.split("/")[1]
        raise InputError(f"{name} would lie in {folder}, where the system keeps no files; choose another folder")


def check_place(path: FilePath, *, folder_is_made: bool = False, replaces_folder: bool = False) -> None:
    """Check that a file can be written, before computing the result that it will hold.

    Args:
        path: The file.
        folder_is_made: Whether its folder, and those above it, are created later where they are missing.
        replaces_folder: Whether what is written is a folder itself, which takes the place of one.

    Raises:
        InputError: The folder is missing, write-protected or the system's, or the path is a folder, a device,
            write-protected or too long.
    """
    name = file_name(path)
    check_not_of_the_system(name)
    target = os.path.realpath(name)
    folder = os.path.dirname(target)
    while folder_is_made and not os.path.lexists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"{folder!r}, where {name!r} is to lie, is not a folder; choose another one")
    if not os.path.isdir(folder):
        raise InputError(f"there is no folder {folder!r} for {name!r}; create it first")
    if os.path.exists(name) and not (os.path.isdir if replaces_folder else os.path.isfile)(target):
        raise InputError(f"{name!r} is a folder or a device, not a file; choose another name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"the folder {folder!r} is write-protected; choose another one")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise InputError(f"{name!r} exists and is write-protected; choose another name")
    if len(os.fsencode(os.path.basename(target))) > _LONGEST_NAME:
        raise InputError(f"{name!r} is too long for a file name; use at most {_LONGEST_NAME} bytes")


@contextmanager
def atomic_write(path: FilePath) -> Iterator[BinaryIO]:
    """Open a binary file for writing that replaces ``path`` when the ``with`` block succeeds.

    A reader sees either the complete old file or the complete new one, even if the process or the machine dies: the
    bytes go to a file without a name, which vanishes if the process is killed. Once it is flushed to disk, it becomes a
    sibling ``.pysr-<pid>-...``, and that is renamed. If the block raises, the old file is untouched. The permissions of
    an existing file are kept; a symbolic link is kept, and the file that it points to is replaced.

    Where the system has no files without names (such as on NFS and outside Linux) the sibling exists from the start.
    What a killed process left of these is removed by the next write into the folder.

    File systems such as FAT, SMB and FUSE refuse some of these steps. Then the next best is done, and a warning is
    logged: the file may not be on the disk yet, has other permissions, or was copied over the old one.

    Args:
        path: The file to create or replace.

    Yields:
        The open file.

    Raises:
        InputError: ``path`` is a folder or a device.
        NotCopiedError: It had to be copied over the old file, and that failed.
        OSError: The file cannot be written; raised here or in the block. What was there before is unchanged.
    """
    target = os.path.realpath(file_name(path))
    mode = _mode_of_target(target)
    folder = os.path.dirname(target)
    remove_abandoned(folder)
    sibling = new_sibling(folder)
    file = named = _create(folder, sibling, 0o666 if mode is None else 0o600)
    unfinished.add(sibling)
    try:
        yield file
        file.flush()
        if mode is not None:
            tolerate(_set_mode, file, mode, loss=f"{target!r} could not keep its permissions")
        tolerate(os.fsync, file.fileno(), loss=f"{target!r} may not be on the disk yet")
        os.close(os.dup(file.fileno()))  # what only closing would tell, as on NFS, must be told before the renaming
        named = _named(file, sibling)
        refused = _rename(named, sibling, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(sibling)
        with suppress(OSError):
            file.close()
            named.close()
        raise
    finally:
        unfinished.discard(sibling)
    try:
        if refused:
            _log.warning("%r is copied into place: its file system does not let files be renamed (%s)", target, refused)
            _copy(named, sibling, target)
    finally:
        with suppress(OSError):  # the file is complete and in its place
            file.close()
            named.close()
    sync_folder(folder)


def new_sibling(folder: str) -> str:
    """Return the name of a file, or a folder, that is not finished, in the folder where it is to lie."""
    return os.path.join(folder, f".pysr-{os.getpid()}-{secrets.token_hex(8)}")


def discard_unfinished() -> None:
    """Remove what this process has not finished writing, before it ends by `os._exit`."""
    for sibling in tuple(unfinished):
        if os.path.basename(sibling).startswith(f".pysr-{os.getpid()}-"):  # else its parent's
            remove(sibling)


def remove(sibling: str) -> None:
    """Remove an unfinished file or folder, as far as that is possible."""
    with suppress(OSError):
        if os.path.isdir(sibling):
            shutil.rmtree(sibling, ignore_errors=True)
        else:
            os.unlink(sibling)


def tolerate(step: Callable[..., object], *arguments: object, loss: str) -> None:
    """Do a step that a finished file can do without: where the file system does not know it, only a warning is logged.

    Any other error is raised, such as EIO or ENOSPC of `os.fsync`, which tell that the bytes are lost.
    """
    try:
        step(*arguments)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _log.warning("%s: its file system does not support that (%s)", loss, format_error(error))


def _set_mode(file: BinaryIO, mode: int) -> None:
    """Set the permissions of an open file: by its descriptor, as its name may stand for another file by now."""
    if sys.platform != "win32":  # where there are none
        os.fchmod(file.fileno(), mode)


def _named(file: BinaryIO, sibling: str) -> BinaryIO:
    """Give a file the name of the sibling if it has none; where that is refused, copy it into a file of that name."""
    if sys.platform == "win32" or os.fstat(file.fileno()).st_nlink:
        return file
    try:
        os.link(_link_to(file.fileno()), sibling, src_dir_fd=file.fileno(), follow_symlinks=True)
        return file
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    named = _create_named(sibling, 0o600)
    try:
        file.seek(0)
        shutil.copyfileobj(file, named)
        named.flush()
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        tolerate(_set_mode, named, mode, loss=f"{sibling!r} could not get its permissions")
        tolerate(os.fsync, named.fileno(), loss=f"{sibling!r} may not be on the disk yet")
    except BaseException:
        named.close()
        raise
    return named


def _rename(file: BinaryIO, sibling: str, target: str) -> str | None:
    """Rename the sibling, which ``file`` is, to the target; return the reason if the file system does not do that."""
    if sys.platform == "win32":
        file.close()
    elif not os.path.samestat(os.stat(sibling, follow_symlinks=False), os.fstat(file.fileno())):
        raise OSError(errno.ESTALE, "another program has replaced the unfinished file", sibling)
    try:
        os.replace(sibling, target)
    except OSError as error:
        if error.errno not in _UNSUPPORTED or sys.platform == "win32":
            raise
        return format_error(error)
    return None


def _copy(file: BinaryIO, sibling: str, target: str) -> None:
    """Copy the sibling, which ``file`` is, over the target. If that fails, the sibling stays: it is complete."""
    file.seek(0)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW  # the target is no link, unless somebody has just made it one
    try:
        with open(target, "wb", opener=lambda name, _: os.open(name, flags, 0o666)) as copy:
            os.ftruncate(copy.fileno(), 0)
            shutil.copyfileobj(file, copy)
            copy.flush()
            tolerate(os.fsync, copy.fileno(), loss=f"{target!r} may not be on the disk yet")
    except OSError as error:
        raise NotCopiedError(
            error.errno, f"{error.strerror}; the complete file is kept as {sibling!r}", target
        ) from error
    os.unlink(sibling)


def _mode_of_target(target: str) -> int | None:
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{target!r} is a folder or a device, not a file; choose another name")
    return status.st_mode & 0o777  # without set-uid: the new file may have another owner than the old one


def _create(folder: str, sibling: str, mode: int) -> BinaryIO:
    """Create a file without a name in a folder, or where the system has none, the sibling; it is locked while open."""
    with suppress(OSError, AttributeError):  # AttributeError: only Linux has the flag
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
        if _can_be_linked(descriptor):
            lock(descriptor, wait=True)
            return _opened(descriptor)
        os.close(descriptor)
    return _create_named(sibling, mode)


def _create_named(sibling: str, mode: int) -> BinaryIO:
    while True:
        descriptor = os.open(sibling, _EXCLUSIVE, mode)
        try:
            lock(descriptor, wait=True)
            if sys.platform == "win32" or os.fstat(descriptor).st_nlink:
                return _opened(descriptor)
        except BaseException:
            with suppress(OSError):
                os.unlink(sibling)
            raise
        os.close(descriptor)  # another process took it for an abandoned one before it was locked


def _opened(descriptor: int) -> BinaryIO:
    try:
        return open(descriptor, "w+b")
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise


def _link_to(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _can_be_linked(descriptor: int) -> bool:
    """Whether a file without a name can get one: not where /proc is missing."""
    try:
        return os.path.samestat(os.stat(_link_to(descriptor)), os.fstat(descriptor))
    except OSError:
        return False


def lock(descriptor: int, *, wait: bool) -> bool:
    """Lock a file against being taken for an abandoned one; tell whether it is locked."""
    if sys.platform == "win32":
        return True  # Windows does not remove open files
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def remove_abandoned(folder: str) -> None:
    """Remove the siblings that killed processes left in a folder: those that nobody has locked.

    The process's number tells nothing: it may run in another container, or on another computer.
    """
    if sys.platform == "win32":
        return  # a sibling is closed before it is renamed there, and is not locked then
    with suppress(OSError):
        for name in filter(_SIBLING.fullmatch, os.listdir(folder)):
            _remove_if_unlocked(os.path.join(folder, name))


def _remove_if_unlocked(sibling: str) -> None:
    with suppress(OSError):
        descriptor = os.open(sibling, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would wait
        try:
            mode = os.fstat(descriptor).st_mode
            if (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and lock(descriptor, wait=False):
                remove(sibling)
        finally:
            os.close(descriptor)


def sync_folder(folder: str) -> None:
    """Make the rename durable where the system supports it; the file itself is already in place."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
