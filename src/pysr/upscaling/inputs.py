"""Which files are meant: those that are named, and the images of folders, with or without their sub-folders."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import FilePath
from ..errors import InputError
from ..files import READABLE, folder_images
from ..files.listing import FolderImages
from ..files.remote import Place, Url, is_store_elsewhere
from ..files.zarr_store import is_store

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What is to be upscaled.

    Attributes:
        paths: Image files and folders. A folder stands for the images in it.
        recursive: Whether it stands for those of its sub-folders, too. Hidden ones are left out, and links to folders.
        without: A folder that is left out of ``recursive``: that of the results.
    """

    paths: Sequence[Place]
    recursive: bool = False
    without: Place | None = None


@dataclass(frozen=True)
class InputFile:
    """A file to upscale.

    Attributes:
        path: The file; or a folder without images, if ``error`` says so.
        error: Why it cannot be upscaled, as far as that is known; None if nothing speaks against it.
        place: Its folder, as seen from the folder that was given.
    """

    path: Place
    error: InputError | None = None
    place: Path = Path()


def is_folder(path: FilePath) -> bool:
    """Tell whether a path is a folder, here or elsewhere, and no Zarr store, which counts as a file."""
    if isinstance(path, Url):
        return not is_store_elsewhere(path) and path.is_dir()
    return os.path.isdir(path) and not is_store(path)


def input_files(inputs: Inputs, *, log: bool = True) -> Iterator[InputFile]:
    """Yield each file once: those of folders in natural order, before those of their sub-folders.

    Args:
        inputs: What is to be upscaled.
        log: Whether images that pysr cannot read are named in the log.
    """
    seen: set[str] = set()
    for given in inputs.paths:
        for file in _files_of(given, inputs, log) if is_folder(given) else [InputFile(given)]:
            if (name := os.path.abspath(file.path)) not in seen:
                seen.add(name)
                yield file


def _files_of(root: Place, inputs: Inputs, log: bool) -> list[InputFile]:
    try:
        top = folder_images(root)
    except InputError as error:
        return [InputFile(root, error)]
    files = [*_own_files(root, top, log)]
    if inputs.recursive:
        for folder in top.sub_folders:
            files += _files_below(folder, root, inputs, log)
    else:
        why = "is a folder, not an image; name it, to upscale what is in it"
        named = (path for path in top.sub_folders if path.suffix.lower() in READABLE)
        files += [InputFile(path, InputError(f"{path} {why}")) for path in named] if files else []
    if files:
        return files
    if inputs.recursive and top.sub_folders:
        nothing = f"neither the folder {str(root)!r} nor its sub-folders have an image that pysr reads; check the name"
        return [InputFile(root, InputError(nothing))]
    return [InputFile(root, top.why_empty(str(root)))]


def _files_below(folder: Any, root: Any, inputs: Inputs, log: bool) -> Iterator[InputFile]:
    """Yield the files of a sub-folder and of those in it."""
    place = folder.relative_to(root)
    if folder.is_symlink() or (inputs.without and os.path.realpath(folder) == os.path.realpath(inputs.without)):
        return
    try:
        found = folder_images(folder)
    except InputError as error:
        yield InputFile(folder, error, place.parent)
        return
    yield from _own_files(folder, found, log, place)
    for inner in found.sub_folders:
        yield from _files_below(inner, root, inputs, log)


def _own_files(folder: Place, found: FolderImages, log: bool, place: Path = Path()) -> Iterator[InputFile]:
    if log and found.left_out:
        names = ", ".join(path.name for path in found.left_out)
        _log.warning("left out of %s, as pysr cannot read them: %s", folder, names)
    for path in found.images:
        yield InputFile(path, place=place)
