"""Ctrl-C and SIGTERM at a moment that suits: work that must not be cut off in the middle asks for them."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within its ``with`` block the signals are only noted; a second one acts at once.

    patience: seconds from the first signal in which more are taken for the same.
    A signal that was ignored before, or that a handler outside Python takes, is left alone. Outside the main thread,
    where Python delivers no signals, nothing is ever noted.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self.noted: int | None = None
        self._patience, self._since = patience, 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self._before = {number: by for number, by in handlers.items() if by not in (None, signal.SIG_IGN)}
            for number in self._before:
                signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._restore()

    def deliver(self, number: int) -> None:
        """Let a signal act as it would have without this block."""
        self._restore()
        signal.raise_signal(number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.noted is None:
            self.noted, self._since = number, now
        elif now - self._since >= self._patience:
            self.deliver(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
