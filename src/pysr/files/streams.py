"""Image files that are open already: pipes, `io.BytesIO` and whatever else has a method ``read`` that gives bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any, TypeGuard

from ..atomic import FilePath, file_name, special_kind
from ..errors import InputError, format_error
from .remote import Fetched, fetched, is_url
from .zarr_store import description_in

Source = FilePath | IO[bytes]  # what an image is read from
Target = FilePath | IO[bytes]  # what an image is written to


class InMemory(io.BytesIO):
    """The bytes of a stream in memory, so that they can be read several times.

    Attributes:
        name: The stream's, for messages.
    """

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


Buffered = InMemory | Fetched


def is_stream(value: Any) -> TypeGuard[IO[bytes]]:
    """Tell whether something is an open file, not an image that happens to have a method of such a name."""
    return not isinstance(value, str | PathLike) and (hasattr(value, "read") or hasattr(value, "write"))


def buffered(source: Source) -> FilePath | Buffered:
    """Read a stream from where it is to its end, or fetch a file from elsewhere; a path is returned as it is.

    A stream that can be rewound is left where it was.

    Raises:
        InputError: The stream gives text, reading fails, or the file cannot be fetched.
    """
    if isinstance(source, Buffered):
        return source
    if isinstance(source, str | PathLike):
        return fetched(source) if is_url(source) else source
    name = name_of(source)
    try:
        place = source.tell() if source.seekable() else None
        data = source.read()
        if place is not None:
            source.seek(place)
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise InputError(f"{name} cannot be read ({error}); give an open file or a pipe") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InputError(f"{name} gives {type(data).__name__}, not bytes; open it in binary mode ('rb')")
    return InMemory(bytes(data), name)


def stream_name(stream: IO[bytes]) -> str:
    """Return a stream's name for messages, such as ``<stdin>``."""
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else f"<{type(stream).__name__}>"


def name_of(source: Source) -> str:
    """Return the name of a file or a stream, for messages.

    Raises:
        InputError: It is neither of both, or no name of a file.
    """
    if isinstance(source, str | PathLike):
        return file_name(source)
    if is_stream(source):
        return stream_name(source)
    raise InputError(f"a file is given by its path, or open, not as {type(source).__name__}; give one of these")


@contextmanager
def open_for_reading(source: Source) -> Iterator[IO[bytes]]:
    """Open a file for reading, or rewind one that is open (see `buffered`).

    Raises:
        InputError: The file is missing or unreadable.
    """
    at_hand = buffered(source)
    if isinstance(at_hand, Buffered):
        at_hand.seek(0)
        yield at_hand
        return
    with _open(file_name(at_hand)) as file:
        yield file


def _open(name: str) -> IO[bytes]:
    try:
        if not (kind := special_kind(name)):
            return open(name, "rb")
        if kind == "a folder" and (description := description_in(name)):  # of a Zarr store
            return open(description, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no file {name!r}; check the name and the folder") from None
    except OSError as error:
        raise InputError(f"cannot open the file: {format_error(error)}; check its name and permissions") from error
    raise InputError(f"{name!r} is {kind}, not a file; give the name of an image file")
