"""The manifest of a run whose results go elsewhere: nothing is appended there, each line is a file until the end."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType

from ..files.remote import Place, Url, listed_in, read_bytes, remove_all, write_bytes
from .manifest import Manifest, Record, parsed, read_records, text_of


class RemoteManifest:
    """A manifest that is being written elsewhere, in a ``with`` block, as `Manifest`; threads may share it.

    While it runs, each line is a file of its own beside the manifest, as object storage replaces files as a whole. When
    the block begins and when it ends, all are put together. Nothing is locked.

    Args:
        url: Of the manifest.

    Attributes:
        records: What an earlier run wrote, by input.
    """

    def __init__(self, url: Url) -> None:
        self._url, self._lock = url, threading.Lock()
        self._run, self._count = secrets.token_hex(4), 0
        self.records: Mapping[str, Record] = {}

    def __enter__(self) -> RemoteManifest:
        self.records = records_at(self._url)
        self._written = dict(self.records)
        self._put_together()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_together()

    def add(self, record: Record) -> None:
        """Write what became of an input."""
        with self._lock:
            self._written[record.input] = record
            self._count += 1
            part = f"{self._url.name}.{self._run}-{self._count}"
        write_bytes(self._url.parent / part, record.as_line().encode())

    def _put_together(self) -> None:
        """Leave one file, with one line for each input."""
        with self._lock:
            parts = _parts(self._url)
            if parts or read_bytes(self._url) != text_of(self._written.values()).encode():
                write_bytes(self._url, text_of(self._written.values()).encode())
            remove_all(parts)


def manifest_at(place: Place) -> AbstractContextManager[Manifest | RemoteManifest]:
    """Return the manifest at a place, to be written."""
    return RemoteManifest(place) if isinstance(place, Url) else Manifest(place)


def records_at(place: Place) -> dict[str, Record]:
    """Read a manifest as `read_records` does, wherever it lies.

    Raises:
        InputError: As for `read_records`, or it cannot be reached.
    """
    if not isinstance(place, Url):
        return read_records(place)
    lines = [line for part in (place, *_parts(place)) for line in read_bytes(part).splitlines(keepends=True)]
    return parsed(lines, place)


def _parts(url: Url) -> list[Url]:
    """The lines that are files of their own, in the order of their names."""
    files, _ = listed_in(url.parent)
    return sorted((file for file in files if file.name.startswith(f"{url.name}.")), key=str)
