"""Work on items in several threads: results in any order, memory within a limit, and an end as quick as Ctrl-C."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

_LONGEST_WAIT = 0.5  # seconds until Ctrl-C is noticed on Windows, which does not interrupt a wait
_LONGEST_END = 30.0  # seconds for a thread to notice that it was stopped: more than a network call takes

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Stopped(BaseException):
    """Raised in a thread whose work is no longer wanted, wherever it is, as Ctrl-C is in the main thread."""


@contextmanager
def in_any_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    *,
    weigh: Callable[[Item], int],
    most: int,
    light: int = 0,
    more: int = 0,
) -> Iterator[Iterator[Result]]:
    """Call a function for each item in several threads, within a ``with`` block; what is unfinished at its end stops.

    The items are begun in their order. No more results than threads wait to be taken; then the work pauses.

    Args:
        work: Called with an item.
        items: Any number.
        threads: How many items are worked on at the same time.
        weigh: Tells the bytes of memory that an item takes.
        most: Bytes that the items may take together. One that takes more is worked on alone.
        light: Bytes up to which an item is light.
        more: How many items more are worked on at the same time where they are light.

    Yields:
        The results, in the order in which they are ready. An exception of ``work`` or ``items`` ends them.
    """
    crew = _Crew(work, items, threads, weigh, most, light, more)
    try:
        yield crew.results()
    finally:
        crew.stop()


class _Crew(Generic[Item, Result]):
    def __init__(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        threads: int,
        weigh: Callable[[Item], int],
        most: int,
        light: int,
        more: int,
    ) -> None:
        self._work, self._items, self._weigh, self._most = work, iter(items), weigh, most
        self._light, self._most_heavy, self._heavy = light, threads, 0  # items
        self._lock = threading.Lock()  # taken by itself, not by way of the condition, so that `_Stopped` cannot leak it
        self._changed = threading.Condition(self._lock)
        self._next: deque[tuple[Item, int]] = deque()  # the item whose turn it is, and its weight
        self._results: deque[Result] = deque()
        self._error: BaseException | None = None
        self._taken = 0  # bytes
        self._busy: set[int] = set()  # threads that are within the work
        self._is_stopped = False
        self._running = threads + more
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._running)]

    def results(self) -> Iterator[Result]:
        for thread in self._threads:
            thread.start()
        while True:
            with self._lock:
                while not self._results and self._error is None and self._running:
                    self._changed.wait(_LONGEST_WAIT)
                if not self._results:
                    break
                result = self._results.popleft()
                self._changed.notify_all()
            yield result
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop what is still being done, and wait for the threads."""
        with self._lock:
            self._is_stopped = True
            for ident in self._busy:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(_Stopped))
            self._changed.notify_all()
        end = time.monotonic() + _LONGEST_END
        for thread in self._threads:
            if thread.ident:
                thread.join(max(end - time.monotonic(), 0))

    def _run(self) -> None:
        try:
            while (taken := self._take()) is not None:
                self._give(self._work(taken[0]), taken[1])
        except BaseException as error:
            self._error = self._error or error
        with self._lock:
            self._busy.discard(threading.get_ident())
            self._running -= 1
            self._changed.notify_all()

    def _take(self) -> tuple[Item, int] | None:
        """Wait until the next item fits into memory, and take it; None if there is none."""
        with self._lock:
            while not self._is_stopped:
                if not self._next:
                    for item in self._items:
                        self._next.append((item, self._weigh(item)))
                        break
                    else:
                        return None
                weight = self._next[0][1]
                if self._fits(weight):
                    self._taken += weight
                    self._heavy += weight > self._light
                    self._busy.add(threading.get_ident())
                    return self._next.popleft()
                self._changed.wait()
        return None

    def _fits(self, weight: int) -> bool:
        """Whether an item can be begun beside those that are worked on."""
        if weight > self._light and self._heavy == self._most_heavy:
            return False
        return self._taken == 0 or self._taken + weight <= self._most

    def _give(self, result: Result, weight: int) -> None:
        """Hand a result over; wait as long as too many of them wait."""
        with self._lock:
            self._busy.discard(threading.get_ident())
            self._taken -= weight
            self._heavy -= weight > self._light
            self._results.append(result)
            self._changed.notify_all()
            while len(self._results) > len(self._threads) and not self._is_stopped:
                self._changed.wait()
