"""Progress of work in several parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat

from ..plugin import Progress
from .file_jobs import FileJob

JobProgress = Callable[[FileJob, int, int], None]  # the file, and pixels of all results: done, total


def progress_shares(progress: Progress | None, sizes: Iterable[int]) -> Iterator[Progress | None]:
    """Split a progress callback among the parts of some work.

    Args:
        progress: Called as progress(done, total), ``total`` being the sum of the sizes; None reports nothing.
        sizes: How much work each part is; not looked at if ``progress`` is None.

    Yields:
        For each part in order, a callback for its own progress, in any units; None if ``progress`` is None.
    """
    if not progress:
        yield from repeat(None)
        return
    parts = list(sizes)
    before, total = 0, sum(parts)
    for size in parts:

        def report(done: int, of: int, before: int = before, size: int = size) -> None:
            progress(before + done * size // of, total)

        yield report
        before += size


def progress_sums(progress: Progress | None, sizes: Sequence[int]) -> Iterator[Progress | None]:
    """Split a progress callback among parts that are worked on by turns.

    Args:
        progress: As for `progress_shares`.
        sizes: How much work each part is.

    Yields:
        As `progress_shares`.
    """
    done = [0] * len(sizes)
    for number, size in enumerate(sizes):

        def report(now: int, of: int, number: int = number, size: int = size) -> None:
            if progress:
                done[number] = now * size // of
                progress(sum(done), sum(sizes))

        yield report if progress else None


class FilesProgress:
    """Progress over several files, in pixels of output.

    Args:
        report: The caller's callback.
        jobs: The files.
        pixels: Of the result of each.

    Attributes:
        error: The exception that the caller's callback raised, if any. Unlike an error in a file, it ends the work.
    """

    def __init__(self, report: JobProgress, jobs: Sequence[FileJob], pixels: Sequence[int]) -> None:
        self.error: Exception | None = None
        self._report, self._jobs, self._lock = report, jobs, threading.Lock()
        self._pixels = list(pixels)
        self._done = [0] * len(jobs)
        self._all_pixels, self._all_done = sum(self._pixels), 0  # kept up, as there may be very many files

    def of(self, number: int) -> Progress:
        """Report that a file has started, and return the callback for its progress."""

        def report(done: int, total: int) -> None:
            with self._lock:
                self._set_done(number, self._pixels[number] * done // total)
                try:
                    self._report(self._jobs[number], self._all_done, self._all_pixels)
                except Exception as error:
                    self.error = error
                    raise

        report(0, 1)
        return report

    def end(self, number: int, *, skipped: bool) -> None:
        """Count a file as done; or not at all if there was nothing to do, so that it does not change the speed."""
        with self._lock:
            if skipped:
                self._all_pixels -= self._pixels[number]
                self._pixels[number] = 0
            self._set_done(number, self._pixels[number])

    def _set_done(self, number: int, pixels: int) -> None:
        self._all_done += pixels - self._done[number]
        self._done[number] = pixels
