"""Files elsewhere, such as s3://bucket/scan.png, by the package fsspec, which is imported for such names only."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from ..atomic import FilePath
from ..errors import InputError, format_error

Result = TypeVar("Result")
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # two letters at least: one is a drive of Windows
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "http": "aiohttp requests", "https": "aiohttp requests"}
_TRIES = 3
_PAUSE = 1.0  # seconds before it is tried again, longer each time
_PIECE = 2**24  # bytes that are sent at a time


@dataclass(frozen=True)
class Url(os.PathLike[str]):
    """The place of a file or a folder elsewhere, with what paths have that pysr asks of them.

    Attributes:
        text: As users write it, such as "s3://bucket/scans/1.png".
        bytes: Length of the file, as a listing tells; 0 if it is not known.
    """

    text: str
    bytes: int = field(default=0, compare=False)

    def __fspath__(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, part: str | os.PathLike[str]) -> Url:
        inner = PurePosixPath(*Path(part).parts)
        return self if inner == PurePosixPath() else Url(f"{self.text.rstrip('/')}/{inner}")

    @property
    def name(self) -> str:
        """As of paths."""
        return self.text.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """As of paths."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """As of paths."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> Url:
        """As of paths."""
        return Url(self.text.rstrip("/").rpartition("/")[0])

    def relative_to(self, folder: Url) -> Path:
        """As of paths."""
        return Path(self.text.removeprefix(folder.text.rstrip("/")).strip("/"))

    def is_dir(self) -> bool:
        """As of paths."""
        return bool(_asked(self, lambda system, path: system.isdir(path)))

    def exists(self) -> bool:
        """As of paths."""
        return bool(_asked(self, lambda system, path: system.exists(path)))

    def is_symlink(self) -> bool:
        """As of paths; object storage has no links."""
        return False


Place = Path | Url


def is_url(path: object) -> bool:
    """Tell whether a path is that of a file elsewhere. Colons alone are part of names."""
    return isinstance(path, str | os.PathLike) and bool(_URL.match(os.fsdecode(path)))


def is_store_elsewhere(path: FilePath) -> bool:
    """Tell whether a URL names a Zarr store, by its ending alone: many files, which are not fetched."""
    return is_url(path) and os.fsdecode(path).rstrip("/").lower().endswith(".zarr")


def as_place(path: FilePath) -> Place:
    """Return what a user wrote as a `Url`, or a path."""
    return path if isinstance(path, Url) else Url(os.fsdecode(path)) if is_url(path) else Path(path)


class Fetched(io.BufferedRandom):
    """A file that was fetched, on this machine's disk without a name: it vanishes with the process.

    Attributes:
        name: Where it came from, for messages.
    """

    def __init__(self, url: FilePath) -> None:
        super().__init__(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  # it is closed as this is
        self._url = os.fsdecode(url)

    def __del__(self) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Where it came from, for messages."""
        return self._url


def fetched(url: FilePath) -> Fetched:
    """Fetch a file.

    Raises:
        InputError: There is none, it cannot be fetched, is a Zarr store, or the package for such names is missing.
    """
    if is_store_elsewhere(url):
        raise InputError(
            f"{os.fsdecode(url)} is a Zarr store, which pysr reads only from this computer; copy its folder here first"
        )

    def fetch(system: Any, path: str) -> Fetched:
        file = Fetched(url)
        try:
            with system.open(path, "rb") as source:
                shutil.copyfileobj(source, file, _PIECE)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    return _asked(url, fetch)


@contextmanager
def open_url_for_writing(url: FilePath) -> Iterator[IO[bytes]]:
    """Open a file on this machine's disk that is sent when the ``with`` block succeeds, and appears when all is sent.

    Raises:
        InputError: It cannot be sent.
    """
    with tempfile.TemporaryFile() as file:
        yield file

        def send(system: Any, path: str) -> None:
            file.seek(0)
            if hasattr(system, "auto_mkdir"):  # of this machine, whose folders have to be made; object storage has none
                system.makedirs(os.path.dirname(path), exist_ok=True)
            target = system.open(path, "wb", autocommit=False)
            try:
                shutil.copyfileobj(file, target, _PIECE)
                target.close()
                target.commit()
            except BaseException:
                target.discard()
                raise

        _asked(url, send)


def read_bytes(url: FilePath) -> bytes:
    """Read a file; an empty one if there is none.

    Raises:
        InputError: It cannot be read.
    """
    return _asked(url, lambda system, path: system.cat_file(path) if system.exists(path) else b"")


def write_bytes(url: FilePath, data: bytes) -> None:
    """Write a small file.

    Raises:
        InputError: It cannot be written.
    """
    _asked(url, lambda system, path: system.pipe_file(path, data))


def remove_all(urls: Sequence[Url]) -> None:
    """Remove files.

    Raises:
        InputError: That fails.
    """
    if urls:
        _asked(urls[0], lambda system, path: system.rm([system._strip_protocol(str(url)) for url in urls]))


def length_of(url: FilePath) -> int:
    """Return the length of a file in bytes.

    Raises:
        InputError: There is none, or it cannot be looked at.
    """
    return int(_asked(url, lambda system, path: system.size(path)))


def listed_in(url: Url) -> tuple[list[Url], list[Url]]:
    """List a folder: its files and its sub-folders. One that is not there is empty.

    Raises:
        InputError: It cannot be listed.
    """

    def entries(system: Any, path: str) -> list[dict[str, Any]]:
        system.invalidate_cache()
        found: list[dict[str, Any]] = system.ls(path, detail=True) if system.exists(path) else []
        return [entry for entry in found if entry["name"].strip("/") != path.strip("/")]  # s3's marker of the folder

    files, folders = [], []
    for entry in _asked(url, entries):
        place = url / entry["name"].rstrip("/").rpartition("/")[2]
        if entry["type"] == "directory":
            folders.append(place)
        else:
            files.append(Url(place.text, int(entry["size"] or 0)))
    return files, folders


def check_reachable(url: FilePath) -> None:
    """Check that what such names take is installed.

    Raises:
        InputError: It is not.
    """
    _system(url)


def _system(url: FilePath) -> tuple[Any, str]:
    name = os.fsdecode(url)
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(name)
    except ImportError as error:
        instead = ", or download the file first" if name.lower().startswith("http") else ""
        if (error.name or "").startswith("fsspec"):
            needed = _PACKAGES.get(name.partition(":")[0].lower(), "")
            raise InputError(
                f"{name!r} takes fsspec, which is not installed, and a package for its kind of storage;"
                f" pip install 'pysr-sdk[remote]' {needed}".rstrip()
                + instead
            ) from error
        raise InputError(f"{name!r} takes another package ({error}); install it{instead}") from error
    except ValueError as error:
        raise InputError(f"{name!r} cannot be reached ({error}); check how it begins") from error
    return system, str(path)


def _asked(url: FilePath, request: Callable[[Any, str], Result]) -> Result:
    """Send a request, several times if it fails; whatever is raised becomes an `InputError`."""
    name = os.fsdecode(url)
    system, path = _system(url)
    for left in reversed(range(_TRIES)):
        try:
            return request(system, path)
        except FileNotFoundError:
            raise InputError(f"there is no file {name!r}; check the name") from None
        except Exception as error:  # the packages raise anything: OSError, botocore's errors, ...
            if not left or not isinstance(error, OSError) or isinstance(error, PermissionError):
                raise InputError(
                    f"{name!r} cannot be reached ({format_error(error)}); check the name, the network and your rights"
                ) from error
        time.sleep(_PAUSE * (_TRIES - left))
    raise AssertionError("unreachable")
