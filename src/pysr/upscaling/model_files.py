"""Models by name or by file: the installed ones, a path, or a bare name in a folder of models (``PYSR_MODELS``).

Files are opened by the readers of plugins. Nothing here imports torch.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ..errors import InputError, PluginError, PysrError, UnknownNameError, format_error
from ..plugin import Model, ModelReader
from ..registry import Registry, registry
from .file_formats import describe_format

FOLDERS_VARIABLE = "PYSR_MODELS"  # folders of model files, separated as in PATH
START_BYTES = 64 * 1024  # of a file, for readers to recognise it by
_KEPT = 16  # opened files whose descriptions are kept: a command asks for the same one several times
_LISTED = 8  # names in a message
_USUAL_ENDINGS = {".safetensors", ".pth", ".pt", ".ckpt", ".onnx", ".param"}  # of files, whatever is installed

logger = logging.getLogger("pysr")


def find_model(name: str | os.PathLike[str]) -> Model:
    """Return an installed model, or the model of a file.

    Args:
        name: Name or alias of an installed model; else the path of a model file, or its name in a folder of
            ``PYSR_MODELS`` with or without the ending.

    Raises:
        UnknownNameError: Nothing of that name is installed or in the folders.
        InputError: The file is missing, no regular file, or holds no model that can be read.
        WeightsError: The file is damaged.
        PluginError: The plugin that reads such files failed.
    """
    if isinstance(name, os.PathLike):
        return open_model(Path(name))
    try:
        return registry().model(str(name))
    except UnknownNameError as error:
        if path := model_path(str(name)):
            return open_model(path)
        if not (folders := _folders()):
            raise
        listed = [path.name for path in list_models(folders)]
        raise UnknownNameError(
            f"{error}; the folder of models has {', '.join(listed[:_LISTED]) or 'none'}"
            + (f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else "")
        ) from None


def model_path(name: str) -> Path | None:
    """Return the file that a model's name stands for, whether it exists or not; None if it stands for none.

    Raises:
        InputError: Several files of a folder of models have the name.
    """
    if not name or "\0" in name:
        return None
    path = Path(name)
    if path.is_file() or path.name != name or (os.altsep and os.altsep in name):
        return path
    if found := _in_folders(name):
        return found
    return path if path.suffix.lower() in _USUAL_ENDINGS | _endings() else None


def list_models(folders: list[Path] | None = None) -> list[Path]:
    """Return the model files in the folders of ``PYSR_MODELS``, by the endings that installed readers name.

    Raises:
        InputError: A folder cannot be read.
    """
    endings = _endings()
    found = (path for folder in (_folders() if folders is None else folders) for path in _files(folder))
    return [path for path in found if path.suffix.lower() in endings]


def open_model(path: Path) -> Model:
    """Open a model file by the first reader that takes it.

    Raises:
        InputError: It is missing, no regular file, or holds no model that can be read.
        WeightsError: It is damaged.
        PluginError: The plugin that reads such files failed.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"model file {str(path)!r} cannot be read ({reason}); check its name") from None
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
        raise InputError(f"{path} is {what}, not a model file; give the file of a model")
    identity = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return _open(registry(), path.absolute(), identity)


@lru_cache(_KEPT)
def _open(plugins: Registry, path: Path, identity: tuple[int, ...]) -> Model:
    """Open a file; ``identity`` is what changes with its content."""
    if reader := reader_of(path):
        return _open_by(plugins, reader, path)
    what = describe_format(path, _read_start(path), plugins.readers)
    raise InputError(f"{path} is no model file that can be read here: it seems to be {what}")


def reader_of(path: Path) -> ModelReader | None:
    """Return the first reader that takes a file; None if none does.

    Raises:
        InputError: The file cannot be read.
    """
    start, plugins = _read_start(path), registry()
    return next((reader for reader in plugins.readers.values() if _takes(plugins, reader, path, start)), None)


def _read_start(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(START_BYTES)
    except OSError as error:
        raise InputError(f"model file {path} cannot be read ({error.strerror}); check its permissions") from None


def _takes(plugins: Registry, reader: ModelReader, path: Path, start: bytes) -> bool:
    try:
        return bool(reader.reads(path, start))
    except Exception as error:  # costs only this reader its turn
        owner = plugins.reader_owner(reader.name)
        logger.warning("the reader %r of %s failed on %s: %s", reader.name, owner, path, format_error(error))
        return False


def _open_by(plugins: Registry, reader: ModelReader, path: Path) -> Model:
    owner = plugins.reader_owner(reader.name)
    try:
        model = reader.open(path)
    except PysrError:
        raise
    except Exception as error:
        raise PluginError(f"the reader {reader.name!r} of {owner} failed on {path}: {format_error(error)}") from error
    if not isinstance(model, Model):
        raise PluginError(f"the reader {reader.name!r} of {owner} made {type(model).__name__} of {path}, not a Model")
    return replace(model, name=path.stem, aliases=(), file=path)


def _folders() -> list[Path]:
    return [Path(folder) for folder in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if folder]


def _files(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"the folder of models {str(folder)!r} cannot be read ({error.strerror}); correct {FOLDERS_VARIABLE}"
        ) from None


def _in_folders(name: str) -> Path | None:
    for folder in _folders():
        found = [path for path in _files(folder) if path.name == name]
        found = found or [path for path in list_models([folder]) if path.stem == name]
        if len(found) > 1:
            raise InputError(f"{folder} has {', '.join(path.name for path in found)}; give the ending, too")
        if found:
            return found[0]
    return None


def _endings() -> set[str]:
    return {ending.lower() for reader in registry().readers.values() for ending in reader.endings}
