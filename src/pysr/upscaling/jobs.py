"""Upscale planned files one by one, with progress over all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import image_size
from ..files.output import Output
from ..plugin import Progress
from .folder import FileJob, FileResult

if TYPE_CHECKING:
    from .upscaler import Upscaler


def upscale_jobs(
    jobs: Sequence[FileJob],
    upscaler_for: Callable[[FileJob], Upscaler],
    scale: int,
    *,
    output: Output,
    progress: Progress | None = None,
) -> Iterator[FileResult]:
    """Upscale planned files one by one.

    Args:
        jobs: The files to read and to write.
        upscaler_for: Returns what upscales a file.
        scale: Of jobs that note none.
        output: What the files are to be like; the names of the targets choose the format.
        progress: As for `Upscaler.upscale_folder`.

    Yields:
        One result per file, in order. An error in one file is recorded in its result, not raised.
    """
    reports = FilesProgress(progress, jobs, scale) if progress else None
    for number, job in enumerate(jobs):
        report = reports.of(number) if reports else None
        done, failure, chosen, started = None, None, None, time.perf_counter()
        try:
            if job.error:
                raise job.error
            image_size(job.source)  # a file that is damaged makes no folder
            if isinstance(job.target, Path):
                job.target.parent.mkdir(parents=True, exist_ok=True)
            chosen = upscaler_for(job).chosen_for(job.source)
            started = time.perf_counter()
            own = replace(output, format=None) if isinstance(job.target, Path) else output
            done = chosen.upscale_file(job.source, job.target, output=own, progress=report)
        except Exception as error:
            if reports and error is reports.error:
                raise
            failure = error
        size, seconds = done.size if done else None, time.perf_counter() - started
        yield FileResult(job.source, job.target, size, seconds, failure, chosen, done)


class FilesProgress:
    """Progress over several files, in pixels of output.

    Attributes:
        error: The exception that the caller's callback raised, if any. Unlike an error in a file, it ends the work.
    """

    def __init__(self, report: Progress, jobs: Sequence[FileJob], scale: int) -> None:
        self.error: Exception | None = None
        self._report = report
        self._pixels = [_pixels(job) * (job.scale or scale) ** 2 for job in jobs]
        self._before = [0, *accumulate(self._pixels)]

    def of(self, number: int) -> Progress:
        """Report that a file has started, and return the callback for its progress."""

        def report(done: int, total: int) -> None:
            try:
                self._report(self._before[number] + self._pixels[number] * done // total, self._before[-1])
            except Exception as error:
                self.error = error
                raise

        report(0, 1)
        return report


def _pixels(job: FileJob) -> int:
    try:
        width, height = (0, 0) if job.error else image_size(job.source)
    except InputError:  # reported when the file's turn comes
        return 0
    return width * height
