"""What libraries in C print on standard error while they decode: libtiff, on damaged files."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_log = logging.getLogger(__name__)
_one_at_a_time = threading.RLock()
_LONGEST = 1000  # bytes of it that are logged


@contextmanager
def printed_to_log(name: str) -> Iterator[None]:
    """Let what is printed on standard error in the ``with`` block go to the log, for the level of debugging.

    It is the process's: what other threads print meanwhile goes there, too.

    Args:
        name: Of the file, for the log.
    """
    with _one_at_a_time, tempfile.TemporaryFile() as printed:
        try:
            before = os.dup(2)
        except OSError:  # it is closed
            yield
            return
        os.dup2(printed.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            with suppress(OSError):
                printed.seek(0)
                if text := printed.read(_LONGEST).decode(errors="replace").strip():
                    _log.debug("%r: its decoder says: %s", name, text)
