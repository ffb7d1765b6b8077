"""`Report`: what became of an image file. Importing this imports no torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ..files.metadata import Note

_LOGGER = "pysr"


@dataclass(frozen=True)
class Report:
    """What became of an image file.

    Attributes:
        source: Name of the file that was read.
        target: Name of the file that was written.
        size: (width, height) of the result in pixels.
        seconds: Wall time of reading, upscaling and writing.
        model: Name of the model that was used.
        kept: What the result has as the image had it, by name: "EXIF", "colour profile", 'PNG text "Title"'.
        changed: What the result has in another form, and the reasons.
        dropped: What the result lacks, and the reasons. Each is also among the warnings.
        warnings: What the log warned of meanwhile.
    """

    source: str
    target: str
    size: tuple[int, int]
    seconds: float
    model: str
    kept: tuple[str, ...] = ()
    changed: tuple[Note, ...] = ()
    dropped: tuple[Note, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: names, numbers, lists and objects."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the warnings that the library logs in this thread; they also go where they went before.

    Yields:
        A list that grows with each warning.
    """
    collector = _Collector()
    logger = logging.getLogger(_LOGGER)
    logger.addHandler(collector)
    try:
        yield collector.messages
    finally:
        logger.removeHandler(collector)


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, and print it as Python does where a program has set up no logging."""
        if record.thread != self._thread:
            return
        self.messages.append(record.getMessage())
        handlers = logging.getLogger(_LOGGER).handlers + logging.getLogger().handlers
        others = [handler for handler in handlers if not isinstance(handler, _Collector)]
        outermost = next((h for h in handlers if isinstance(h, _Collector) and h._thread == self._thread), None)
        if logging.lastResort and not others and outermost is self:
            logging.lastResort.handle(record)
