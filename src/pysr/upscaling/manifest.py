"""The manifest of a run over many files: one line of JSON for each input, so that a run that was cut off can go on."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Literal

from ..atomic import FilePath, atomic_write
from ..errors import InputError
from ..files.remote import Place, as_place
from ..files.zarr_store import stored_bytes
from .settings import Settings

if sys.platform != "win32":
    import fcntl

NAME = "pysr-manifest.jsonl"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What became of an input, as a line of a manifest.

    Attributes:
        input: The image file, by its absolute path.
        output: The file that was to be written, likewise.
        state: "done", or "failed".
        digest: The input's sha256; empty if it could not be read.
        settings: What decided the result; None if it failed before that was known.
        bytes: Length of the output.
        seconds: Wall time of reading, upscaling and writing.
        warnings: What the log warned of meanwhile.
        error: The reason for a failure.
    """

    input: str
    output: str
    state: Literal["done", "failed"]
    digest: str = ""
    settings: Settings | None = None
    bytes: int = 0
    seconds: float = 0
    warnings: tuple[str, ...] = ()
    error: str = ""

    def as_line(self) -> str:
        """Return it as a line of JSON; the settings stand among the other fields."""
        known = asdict(self)
        known |= known.pop("settings") or {}
        return json.dumps({name: value for name, value in known.items() if value != ""}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Record | None:
        """Read a line; return None if it is none of a manifest, or was cut off."""
        try:
            known = json.loads(line)
            settings = {field.name: known.pop(field.name) for field in fields(Settings) if field.name in known}
            known["warnings"] = tuple(known.pop("warnings", ()))
            record = cls(**known, settings=Settings(**settings) if settings else None)
        except (ValueError, TypeError, AttributeError, RecursionError):  # whatever JSON may hold instead
            return None
        return record if isinstance(record.input, str) and isinstance(record.output, str) else None

    def is_of(self, output: str, digest: str, settings: Settings) -> bool:
        """Whether it tells of this output, made from this input by these settings, and the output is still whole."""
        made = self.state, self.output, self.digest, self.settings
        with suppress(OSError, InputError):
            return made == ("done", output, digest, settings) and stored_bytes(output) == self.bytes
        return False


def manifest_in(folder: FilePath) -> Place:
    """Return the manifest of a folder of results."""
    return as_place(folder) / NAME


def read_records(path: Path) -> dict[str, Record]:
    """Read a manifest: what it says of each input, by its name. What was cut off is left out.

    Raises:
        InputError: The file is there, and is no manifest.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"the manifest {path} cannot be read ({error.strerror}); check its permissions") from error
    return parsed(lines, path)


def parsed(lines: Sequence[bytes], path: FilePath) -> dict[str, Record]:
    """Read the lines of a manifest, as `read_records` does.

    Args:
        lines: With their ends.
        path: Of the manifest, for messages.
    """
    found = [Record.from_line(line.decode("utf-8", "replace")) for line in lines]
    records = {record.input: record for record in found if record}
    if not records and any(line.endswith(b"\n") for line in lines):
        raise InputError(f"{path} is no manifest of pysr; move it away, or choose another folder for the output")
    if None in found:
        _log.info("%s: %d line(s) that were cut off are left out", path, found.count(None))
    return records


class Manifest:
    """A manifest that is being written, in a ``with`` block; threads may share it.

    A line is written as soon as a file is done, so that a run that is killed loses no more than what it was working on.
    When the block begins and when it ends, each input has one line; between, its last one counts.

    Args:
        path: The file. Its folder is made if it is missing.

    Attributes:
        records: What an earlier run wrote, by input.

    Raises:
        InputError: The file is no manifest, or another run is writing it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self.records: Mapping[str, Record] = {}

    def __enter__(self) -> Manifest:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()
        try:
            self.records = read_records(self._path)
            self._written = dict(self.records)
            self._file = self._compacted(self._file)
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            os.close(self._compacted(self._file))

    def add(self, record: Record) -> None:
        """Write what became of an input."""
        line = record.as_line().encode()
        with self._lock:
            self._written[record.input] = record
            os.write(self._file, line)

    def _open(self) -> int:
        """Open the file for appending and lock it, for as long as it is open."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        try:
            file = os.open(self._path, flags, 0o666)
        except OSError as error:
            reason = f"the manifest {self._path} cannot be written ({error.strerror})"
            raise InputError(f"{reason}; check its permissions, or choose another folder for the output") from error
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                raise InputError(f"another run is writing {self._path}; wait for it, or stop it") from None
            except OSError as error:  # a file system without locks
                _log.debug("%s is not locked (%s)", self._path, error.strerror)
        return file

    def _compacted(self, file: int) -> int:
        """Leave one line for each input; return the file, open and locked."""
        text = text_of(self._written.values()).encode()
        if self._path.read_bytes() == text:
            return file
        with atomic_write(self._path) as compacted:
            compacted.write(text)
        os.close(file)
        return self._open()


def text_of(records: Iterable[Record]) -> str:
    return "".join(record.as_line() for record in records)
