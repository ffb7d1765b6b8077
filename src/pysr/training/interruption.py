"""Deferred SIGINT and SIGTERM: handlers set a flag that the training loop polls."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Context manager in which a first signal is only recorded, in ``signal_number``, and a second one acts at once.

    Signals that were ignored, or whose handler was not installed from Python, are left alone. Outside the main thread,
    where Python delivers no signals, nothing is ever recorded.

    Args:
        patience: Seconds after the first signal in which further ones count as repetitions of it.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self.signal_number: int | None = None
        self._patience, self._since = patience, 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._previous = {n: handler for n, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
            for number in self._previous:
                signal.signal(number, self._record)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._restore()

    def deliver(self, number: int) -> None:
        """Restore the previous handlers and raise the signal for them."""
        self._restore()
        signal.raise_signal(number)

    def _record(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal_number is None:
            self.signal_number, self._since = number, now
        elif now - self._since >= self._patience:
            self.deliver(number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
