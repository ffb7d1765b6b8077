"""What ``pysr upscale`` tells while it works: a bar and a line per file, or lines of JSON for other programs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .terminal import Bar, eprint, explain_error

if TYPE_CHECKING:
    from ..upscaling.file_jobs import FileJob, FileResult

_INTERVAL = 0.1  # seconds between two lines of progress, at least


def file_name(file: Any) -> str:
    """Return the name of a file or a stream, as jobs and results hold them."""
    from ..files.streams import name_of

    return name_of(file)


class Report(ExitStack):
    """Tells of files being upscaled, in a ``with`` block.

    Args:
        jobs: All files.
        quiet: Whether to leave out the line for a finished file.
    """

    wants_progress = False

    def __init__(self, jobs: Sequence[FileJob], *, quiet: bool) -> None:
        super().__init__()
        self._quiet, self._finished = quiet, 0
        self._numbers = {file_name(job.source): number for number, job in enumerate(jobs, 1)}

    def progress(self, job: FileJob, done: int, total: int) -> None:
        """Tell how many pixels of all results are done, while a file is being upscaled."""

    def finished(self, result: FileResult) -> None:
        """Tell what became of a file."""
        self._finished += 1
        if result.size and not self._quiet:
            eprint(_summary(result, result.size))
        elif result.skipped and not self._quiet:
            eprint(f"{file_name(result.source)} is skipped: {result.skipped}")


class BarReport(Report):
    """Shows a bar with the remaining time on a terminal; elsewhere, where it takes long, lines of what is left."""

    def __init__(self, jobs: Sequence[FileJob], *, quiet: bool) -> None:
        super().__init__(jobs, quiet=quiet)
        self._bar = Bar("starting", unit="MP", shown=not quiet)
        self.wants_progress = not quiet

    def __enter__(self) -> Self:
        self.enter_context(self._bar)
        return self

    def progress(self, job: FileJob, done: int, total: int) -> None:
        """As `Report.progress`."""
        name, files = file_name(job.source).rpartition("/")[2], len(self._numbers)
        counted = f"{min(self._finished + 1, files)}/{files} {name}" if files > 1 else name
        self._bar.update(done / 1e6, total / 1e6, counted)

    def finished(self, result: FileResult) -> None:
        """As `Report.finished`."""
        super().finished(result)
        self._bar.other_line()


class JsonReport(Report):
    """Prints lines of JSON on standard error, each with an "event": "start", "progress" or "end" of a file."""

    wants_progress = True

    def __init__(self, jobs: Sequence[FileJob], *, quiet: bool) -> None:
        super().__init__(jobs, quiet=quiet)
        self._started: set[str] = set()
        self._printed = 0.0
        self._began: tuple[float, int] | None = None  # clock, and pixels done, at the first progress

    def progress(self, job: FileJob, done: int, total: int) -> None:
        """As `Report.progress`."""
        name, now = file_name(job.source), time.perf_counter()
        if name not in self._started:
            self._started.add(name)
            about = {"output": file_name(job.target), "number": self._numbers[name], "of": len(self._numbers)}
            _print_event("start", job.source, about)
        began, before = self._began = self._began or (now, done)
        if now - self._printed < _INTERVAL and done < total:
            return
        self._printed = now
        eta = round((now - began) * (total - done) / (done - before), 3) if done > before else None
        _print_event("progress", job.source, {"done": done, "total": total, "eta": eta})

    def finished(self, result: FileResult) -> None:
        """As `Report.finished`."""
        outcome = {"output": file_name(result.target), "seconds": round(result.seconds, 3)}
        _print_event("end", result.source, outcome | _undone(result))


REPORTS: dict[str, type[Report]] = {"bar": BarReport, "json": JsonReport, "none": Report}


def facts(result: FileResult) -> dict[str, Any]:
    """Return what became of a file, for --json."""
    known: dict[str, Any] = {"input": file_name(result.source), "output": file_name(result.target)}
    if result.warnings:
        known["warnings"] = list(result.warnings)
    if undone := _undone(result):
        return known | undone
    if not result.settings or not result.report or not result.size:  # of a dry run
        return known
    told, (width, height) = result.report.as_dict(), result.size
    known |= {name: getattr(result.settings, name) for name in ("model", "scale", "device", "precision")}
    known |= {"width": width, "height": height, "seconds": round(result.seconds, 3)}
    return known | {name: told[name] for name in ("kept", "changed", "dropped")}


def intention(result: FileResult) -> str:
    """Return what would be done to a file, for --dry-run."""
    if result.error or result.skipped:
        return f"{file_name(result.source)}: {'fails' if result.error else 'skipped'}"
    return _names(result) + (" (is replaced)" if Path(file_name(result.target)).exists() else "")


def _undone(result: FileResult) -> dict[str, str]:
    """Return why a file was not upscaled; empty if it was."""
    if result.error:
        return {"error": explain_error(result.error)}
    return {"skipped": result.skipped} if result.skipped else {}


def _names(result: FileResult) -> str:
    return f"{file_name(result.source)} -> {file_name(result.target)}"


def _print_event(event: str, source: Any, more: dict[str, Any]) -> None:
    eprint(json.dumps({"event": event, "file": file_name(source)} | more))


def _summary(result: FileResult, size: tuple[int, int]) -> str:
    width, height = size
    rate = width * height / 1e6 / result.seconds
    return f"{_names(result)}  {width} x {height} pixels in {result.seconds:.1f} s, {rate:.3g} MP/s"
