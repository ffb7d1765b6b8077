"""Zarr stores: folders that hold an array. What they say of themselves is read here, without the package zarr."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from ..atomic import FilePath, check_place, file_name
from ..errors import InputError, format_error
from .arrays import is_image
from .remote import check_reachable, is_url, length_of

ENDING = ".zarr"
_ARRAYS = ("zarr.json", ".zarray")  # the file that describes an array, in versions 3 and 2
_GROUP = ".zgroup"  # and a group, in version 2
_LONGEST_DESCRIPTION = 2**24  # bytes
_CODECS = """
    adler32 astype bitround blosc bytes bz2 crc32 crc32c delta endian fixedscaleoffset fletcher32 gzip jenkins_lookup3
    lz4 lzma packbits pcodec quantize sharding_indexed shuffle transpose zfpy zlib zstd
"""  # others, such as "pickle", may run what a store brings with it


@dataclass(frozen=True)
class Description:
    """What a Zarr store says of its array.

    Attributes:
        version: Of the format, 2 or 3.
        shape: Of the array.
        dtype: Of its numbers, as stored.
        attributes: Names of what is noted with the array.
    """

    version: Literal[2, 3]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: tuple[str, ...]


def description_in(folder: FilePath) -> str | None:
    """Return the name of the file that makes a folder a Zarr store, an array or a group; None if it is none."""
    files = (os.path.join(folder, name) for name in (*_ARRAYS, _GROUP))
    return next(filter(os.path.isfile, files), None)


def is_store(path: Any) -> bool:
    """Tell whether a path is a folder that is a Zarr store, an array or a group."""
    return isinstance(path, str | os.PathLike) and os.path.isdir(path) and description_in(path) is not None


def is_description(file: IO[bytes]) -> bool:
    """Tell whether an open file is the one that describes a Zarr store."""
    name = getattr(file, "name", None)
    return isinstance(name, str) and os.path.basename(name) in (*_ARRAYS, _GROUP)


def describe(file: IO[bytes], name: str) -> Description:
    """Read what a store says of its array.

    Args:
        file: The one that describes it, open at its start.
        name: Of the store, for messages.

    Raises:
        InputError: It is a group, is damaged, or needs codecs that pysr does not run.
    """
    try:
        known = json.loads(file.read(_LONGEST_DESCRIPTION))
        if os.path.basename(file.name) == _GROUP or known.get("node_type", "array") != "array":
            raise _group_error(name)
        version: Literal[2, 3] = 3 if known["zarr_format"] == 3 else 2
        shape = tuple(map(int, known["shape"]))
        dtype = _dtype(known["data_type" if version == 3 else "dtype"])
        if version == 3:
            codecs, attributes = known["codecs"], known.get("attributes", {})
        else:
            codecs, attributes = [known["compressor"], known["filters"]], _attributes(os.path.dirname(file.name))
        foreign = sorted({*_names(codecs)} - {*_CODECS.split()})
        attributes = tuple(map(str, attributes))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OSError) as error:
        raise InputError(
            f"the description of the Zarr store {name!r} is damaged ({format_error(error)}); use another copy of it"
        ) from error
    if foreign:
        raise InputError(
            f"{name!r} is a Zarr store with the codecs {', '.join(foreign)}, which pysr does not run; store the array"
            " with others, such as zstd or blosc"
        )
    return Description(version, shape, dtype, attributes)


def _dtype(stored: Any) -> np.dtype[Any]:
    """Return NumPy's type for one; void for those that it does not know."""
    try:
        return np.dtype(stored if isinstance(stored, str) else "V1")
    except TypeError:
        return np.dtype("V1")


def _attributes(folder: str) -> Any:
    notes = Path(folder) / ".zattrs"
    return json.loads(notes.read_bytes()) if notes.is_file() else {}


def _names(codecs: Any) -> Iterator[str]:
    """Yield the names of codecs, and of those within them."""
    if isinstance(codecs, list):
        for codec in codecs:
            yield from _names(codec)
    elif isinstance(codecs, dict):
        yield from (str(codecs[key]).removeprefix("numcodecs.") for key in ("name", "id") if key in codecs)
        for value in codecs.values():
            yield from _names(value)


def _group_error(name: str) -> InputError:
    arrays = [entry.name for entry in os.scandir(name) if is_array(entry.path)] if os.path.isdir(name) else []
    inside = f", with {', '.join(sorted(arrays)[:5])}" if arrays else ""
    example = os.path.join(name, min(arrays, default="NAME"))
    return InputError(f"{name!r} is a Zarr group, not an array{inside}; name an array in it, as in {example!r}")


def is_array(path: FilePath, *, image: bool = False) -> bool:
    """Tell whether a folder is a Zarr store of one array.

    Args:
        path: Anything.
        image: Whether the array must be an image, too.
    """
    if not os.path.isdir(path) or not (description := description_in(path)):
        return False
    try:
        with open(description, "rb") as file:
            found = describe(file, file_name(path))
    except (InputError, OSError):
        return False
    return not image or is_image(found.shape, found.dtype)


def stored_files(path: FilePath) -> Iterator[os.DirEntry[str]]:
    """Yield the files of a store, in an order of their own.

    Raises:
        InputError: It has pipes, devices or links to folders in it, which no store has.
        OSError: It cannot be read.
    """
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from stored_files(entry.path)
        elif entry.is_file():
            yield entry
        else:
            raise InputError(f"{entry.path!r} is no file; remove it from the Zarr store")


def stored_bytes(path: FilePath) -> int:
    """Return the length of a file; of a Zarr store, that of all its files.

    Raises:
        InputError: As for `stored_files`.
        OSError: It cannot be read.
    """
    if is_url(path):
        return length_of(path)
    if is_store(path):
        return sum(entry.stat().st_size for entry in stored_files(path))
    return os.stat(path).st_size


def check_target(path: FilePath, *, folder_is_made: bool = False) -> None:
    """Check that an image can be written, as `check_place` does. A Zarr store takes the place of another one only.

    Raises:
        InputError: As for `check_place`.
    """
    name = file_name(path)
    if is_url(name):
        check_reachable(name)
        return
    if not name.lower().endswith(ENDING) or not os.path.lexists(name):
        check_place(name, folder_is_made=folder_is_made)
        return
    if not is_array(name) and not (os.path.isdir(name) and not os.listdir(name)):
        raise InputError(f"{name!r} exists and is no Zarr array, so it is not replaced; choose another name")
    check_place(name, folder_is_made=folder_is_made, replaces_folder=True)
