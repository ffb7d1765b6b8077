"""Ctrl-C and SIGTERM at a moment that suits: work that must not be cut off in the middle asks for them."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within its ``with`` block the signals are only noted; a second one acts at once.

    Outside the main thread, where Python delivers no signals, nothing is ever noted.
    """

    def __init__(self) -> None:
        self.noted: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._restore()

    def deliver(self, number: int) -> None:
        """Let a signal act as it would have without this block."""
        self._restore()
        signal.raise_signal(number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.noted is not None:
            self.deliver(number)
        self.noted = number

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
