"""Ctrl-C and SIGTERM: a command ends within a fraction of a second, whatever it is doing, and writes nothing by halves.

Only the main thread notices a signal, and only between two steps of Python: a network call or a decoder may take
seconds. A thread waits beside it, and where the main thread does not notice in time, or what it computes swallows the
exception, that thread ends the process. Nothing is half-written then either (see `pysr.atomic`).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from ..atomic import discard_unfinished
from ..errors import Stop

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 0.1  # seconds in which the main thread must notice the signal
_TIDYING = 0.7  # seconds in which it must then have tidied up
_ENDING = 10.0  # seconds that threads and exit handlers, such as those of plugins, may take after a command is done
_IMPORTS = "<frozen importlib._bootstrap>"  # the file of Python's own code that imports


class Stopping:
    """Raises `Stop` at the first signal, or ends the process; a second signal ends it at once.

    Attributes:
        stop: What was raised, or None. It may have been swallowed, as by C++ code that calls Python.
    """

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self._noticed, self._ended = threading.Event(), threading.Event()

    @contextmanager
    def within(self, *, for_good: bool) -> Iterator[None]:
        """Be stoppable in a ``with`` block.

        A signal that is ignored already stays ignored, as a shell arranges for background jobs.

        Args:
            for_good: Whether the program is over after the block: signals are ignored then, as all is done.
        """
        with _handled(self._handle, ignored_after=for_good), self._watched():
            try:
                yield
            finally:
                self._ended.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._ended.is_set():
            return
        if self.stop or _is_importing(frame):
            leave(128 + number)
        self.stop = Stop(number)
        self._noticed.set()
        raise self.stop

    @contextmanager
    def _watched(self) -> Iterator[None]:
        if sys.platform == "win32":  # signals wake only sockets there
            yield
            return
        ours, theirs = os.pipe()
        os.set_blocking(theirs, False)
        before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(ours,), daemon=True, name="pysr-stopping").start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(theirs)

    def _watch(self, pipe: int) -> None:
        while number := os.read(pipe, 1):
            # a training and the service have handlers of their own, which wait for the end of a step
            if signal.getsignal(number[0]) == self._handle:
                in_time = self._noticed.wait(_PATIENCE) and self._ended.wait(_TIDYING)
                if not in_time and not self._ended.is_set():
                    leave(128 + number[0])
        os.close(pipe)


def leave(code: int) -> NoReturn:
    """End the process at once, with this exit code, because of a signal."""
    discard_unfinished()
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\r")  # the cursor, which a progress bar hides
        os.write(2, b"Stopped.\n")
    os._exit(code)


def end_in_time(code: int) -> None:
    """End the process soon, with this exit code, even if a plugin has started a thread that does not end."""
    timer = threading.Timer(_ENDING, _end, (code,))
    timer.daemon = True
    timer.start()


def _end(code: int) -> NoReturn:
    threads = [thread.name for thread in threading.enumerate() if not thread.daemon]
    threads.remove(threading.main_thread().name)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        left = f"the thread {threads[0]} of a plugin" if threads else "an exit handler"  # perhaps of torch
        os.write(2, f"pysr: done, but {left} does not end; ended it\n".encode())
    os._exit(code)


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """Let a signal end the process while the command line is imported: nothing is to be tidied up yet."""
    with _handled(lambda number, frame: leave(128 + number), ignored_after=False):
        yield


@contextmanager
def _handled(handler: signal._HANDLER, *, ignored_after: bool) -> Iterator[None]:
    in_main_thread = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS} if in_main_thread else {}
    before = {number: by for number, by in handlers.items() if by not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, by in before.items():
            signal.signal(number, signal.SIG_IGN if ignored_after else by)


def _is_importing(frame: FrameType | None) -> bool:
    """Tell whether a module is being imported: what imports it, and C++ code that does, would swallow an exception."""
    while frame:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


def _forget_in_child() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)  # else what stops the child would wake the parent's thread


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
