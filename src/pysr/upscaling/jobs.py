"""Upscale planned files, one by one or several at a time, with progress over all of them."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, format_error
from ..files import image_size
from ..files.output import Output
from ..files.remote import Fetched, Place, Url, fetched, is_url
from ..files.streams import Source, name_of
from ..files.zarr_store import stored_bytes
from ..namespaces import LOCAL
from ..plugin import EngineWork, Progress
from ..registry import registry
from .file_jobs import FileJob, FileResult
from .manifest import Manifest, Record
from .memory import free_memory
from .progress import FilesProgress, JobProgress
from .remote_manifest import RemoteManifest, manifest_at, records_at
from .report import Report, collected_warnings
from .settings import Settings, file_digest, settings_of
from .threads import in_any_order
from .tiling import CALL_SHARE, ROWS_SHARE, TiledStage
from .turns import AT_ONCE, SMALL, Turn

if TYPE_CHECKING:
    from .upscaler import Upscaler

Done = tuple[FileResult, Record | None]  # what became of a file, for the caller and for the manifest

_BYTES_PER_PIXEL = 12  # of an image and of its result: decoded, filtered and compressed
_ROWS_PER_PIXEL = 12  # of a result, at most: what a row of patches gives, as floats
_PIXELS_OF_BYTE = 8  # of files elsewhere, whose headers are not read before their turn comes: as of JPEG
_THERE = "its result is there already"
_SHARE = 0.5  # of the free memory, for all files that are worked on at the same time
_MOST_WORKERS = 8  # where none are asked for: as many threads write a file
_LIGHT, _MORE_LIGHT = 2**18, 2 * AT_ONCE  # bytes of small images, and workers more for them: they wait for each other


@dataclass(frozen=True)
class Course:
    """How many files are gone through.

    Attributes:
        workers: How many are worked on at the same time, of which one computes with a network; 1: one by one, as the
            results are taken; None: as many as suit the engine, in this process one for each processor, and some more
            for small images, of which a network takes several at once.
        max_memory: Bytes that the work may take: half of it for a network call, of which there is one at a time, and
            half for all files, by their headers and with their rows of patches. None: shares of what is free.
        skip_existing: Whether those are skipped whose results are there already.
        manifest: The file that tells what an earlier run did, and that this one adds to; None if there is none.
        fail_fast: Whether the first failure ends the work.
        dry_run: Whether nothing is done or written.
        engine: Where the files are worked on.
        address: For the engine.

    Raises:
        InputError: They contradict each other.
    """

    workers: int | None = 1
    max_memory: int | None = None
    skip_existing: bool = False
    manifest: Place | None = None
    fail_fast: bool = False
    dry_run: bool = False
    engine: str = LOCAL
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise InputError(f"workers is {self.workers!r}; give a positive number")
        if self.skip_existing and self.manifest:
            raise InputError("resume and skip_existing both choose what is skipped; give only one of them")


ONE_BY_ONE = Course()


def upscale_jobs(
    jobs: Sequence[FileJob],
    upscaler_for: Callable[[FileJob], Upscaler],
    scale: int,
    *,
    output: Output,
    course: Course = ONE_BY_ONE,
    progress: JobProgress | None = None,
) -> Iterator[FileResult]:
    """Upscale planned files.

    Args:
        jobs: The files to read and to write.
        upscaler_for: Returns what upscales a file; called by one thread at a time. For engines that work elsewhere, it
            is picklable.
        scale: Of jobs that note none.
        output: What the files are to be like; the names of the targets choose the format.
        course: How they are gone through.
        progress: Called at the start of each file and after each patch, by one thread at a time; an exception raised in
            it ends the work.

    Yields:
        One result per file, in order; of several workers, in the order in which they are ready. An error in one file is
        recorded in its result, not raised.

    Raises:
        InputError: The manifest or the engine cannot be used.
    """
    engine = registry().engine(course.engine)
    reports = (
        FilesProgress(progress, jobs, [_pixels(job) * (job.scale or scale) ** 2 for job in jobs]) if progress else None
    )
    with ExitStack() as stack:
        manifest, records = _opened_manifest(course, stack)
        worker = FileWorker(upscaler_for, output, course, records)

        work = EngineWork(
            jobs,
            worker,
            lambda number, done: _finished(number, jobs[number], done, reports, manifest),
            progress=reports.of if reports else lambda number: None,
            lost=worker.lost,
            workers=course.workers,
            address=course.address,
            weight=lambda n: _weight(jobs[n], jobs[n].scale or scale, course.max_memory),
            max_memory=course.max_memory and max(1, course.max_memory - course.max_memory // CALL_SHARE),
        )
        for result in stack.enter_context(closing(engine.run(work))):
            yield result
            if result.error and course.fail_fast:
                return


def _opened_manifest(course: Course, stack: ExitStack) -> tuple[Manifest | RemoteManifest | None, Mapping[str, Record]]:
    """Open the manifest for as long as a stack lasts; return it, unless nothing is to be written, and what it says."""
    if not course.manifest:
        return None, {}
    if course.dry_run:
        return None, records_at(course.manifest)
    manifest = stack.enter_context(manifest_at(course.manifest))
    return manifest, manifest.records


def _finished(
    number: int,
    job: FileJob,
    done: Done,
    reports: FilesProgress | None,
    manifest: Manifest | RemoteManifest | None,
) -> FileResult:
    """Note what became of a file, and return it as callers get it."""
    result, record = done
    if reports:
        if result.error and result.error is reports.error:
            raise result.error
        reports.end(number, skipped=bool(result.skipped))
    if manifest and record:
        manifest.add(record)
    return replace(result, source=job.source, target=job.target)


def work_locally(work: EngineWork) -> Generator[FileResult]:
    """Work on files in threads of this process, as `Engine.run` does; on one at a time, in the caller's."""
    workers = work.workers or min(os.cpu_count() or 1, _MOST_WORKERS)

    def do(number: int) -> FileResult:
        result: FileResult = work.finish(number, work.worker(work.jobs[number], work.progress(number)))
        return result

    numbers = range(len(work.jobs))
    if work.workers == 1 or len(numbers) == 1:
        yield from map(do, numbers)
        return
    most, more = work.max_memory or int(free_memory() * _SHARE), 0 if work.workers else _MORE_LIGHT
    with in_any_order(do, numbers, workers, weigh=work.weight, most=most, light=_LIGHT, more=more) as results:
        yield from results


@dataclass
class Outcome:
    """What became of a file.

    Attributes:
        upscaler: What was chosen to upscale it.
        report: What `Upscaler.upscale_file` returned.
        error: Why it failed.
        skipped: Why there was nothing to do.
        digest: The input's sha256, for the manifest.
        settings: What decides the result, for the manifest.
        started: Clock when the work began.
    """

    upscaler: Upscaler | None = None
    report: Report | None = None
    error: Exception | None = None
    skipped: str = ""
    digest: str = ""
    settings: Settings | None = None
    started: float = 0

    def result(self, job: FileJob, warnings: Sequence[str]) -> FileResult:
        """Return it as callers get it."""
        size, seconds = self.report.size if self.report else None, time.perf_counter() - self.started
        about = self.error, self.upscaler, self.report, self.skipped, tuple(warnings), self.settings
        return FileResult(job.source, job.target, size, seconds, *about)

    def record(self, result: FileResult) -> Record:
        """Return it as the manifest has it."""
        target = _absolute(result.target)
        return Record(
            _absolute(result.source),
            target,
            "failed" if result.error else "done",
            self.digest,
            self.settings,
            bytes=0 if result.error else stored_bytes(target),
            seconds=round(result.seconds, 3),
            warnings=result.warnings,
            error=format_error(result.error) if result.error else "",
        )


class FileWorker:
    """Upscales planned files; threads may share it.

    Args:
        upscaler_for: As for `upscale_jobs`.
        output: As for `upscale_jobs`.
        course: As for `upscale_jobs`.
        records: What a manifest says of the inputs.
    """

    def __init__(
        self,
        upscaler_for: Callable[[FileJob], Upscaler],
        output: Output,
        course: Course,
        records: Mapping[str, Record],
    ) -> None:
        self._upscaler_for, self._output, self._course, self._records = upscaler_for, output, course, records
        self._loading, self._turn = threading.Lock(), threading.Lock()
        self._shared: dict[Upscaler, Upscaler] = {}  # with networks that take turns

    def __reduce__(self) -> tuple[Any, ...]:
        return FileWorker, (self._upscaler_for, self._output, self._course, self._records)

    def __call__(self, job: FileJob, progress: Progress | None = None) -> Done:
        """Upscale a file, unless there is nothing to do.

        Returns:
            What became of it, and what to add to the manifest, if there is one.
        """
        outcome = Outcome(started=time.perf_counter())
        with collected_warnings() as warnings:
            try:
                if job.error:
                    raise job.error
                self._go_through(job, outcome, progress)
            except Exception as error:
                outcome.error = error
        return self._done(job, outcome, warnings)

    def _go_through(self, job: FileJob, outcome: Outcome, progress: Progress | None) -> None:
        if isinstance(job.source, Url):
            if self._is_there(job):
                outcome.skipped = _THERE
                return
            with fetched(job.source) as file:
                self._go_through(replace(job, source=file), outcome, progress)
            return
        image_size(job.source)  # a file that is damaged makes no folder
        outcome.skipped = self._reason_to_skip(job, outcome)
        if not outcome.skipped and not self._course.dry_run:
            self._upscale(job, outcome, progress)

    def _is_there(self, job: FileJob) -> bool:
        """Whether a result is there that is not to be made again."""
        return self._course.skip_existing and isinstance(job.target, Place) and job.target.exists()

    def lost(self, job: FileJob, error: Exception) -> Done:
        """Return what became of a file whose worker was lost."""
        return self._done(job, Outcome(error=error, started=time.perf_counter()), ())

    def _done(self, job: FileJob, outcome: Outcome, warnings: Sequence[str]) -> Done:
        result = outcome.result(job, warnings)
        has_record = self._course.manifest and not outcome.skipped and not self._course.dry_run
        return result, outcome.record(result) if has_record else None

    def _reason_to_skip(self, job: FileJob, outcome: Outcome) -> str:
        if self._is_there(job):
            return _THERE
        if not self._course.manifest:
            return ""
        assert isinstance(job.source, Path | Fetched)
        outcome.digest = file_digest(job.source)
        if not (record := self._records.get(_absolute(job.source))):
            return ""
        outcome.settings = settings_of(self._chosen(job, outcome), self._output)
        same = record.is_of(_absolute(job.target), outcome.digest, outcome.settings)
        return "it is done already, as the manifest says" if same else ""

    def _upscale(self, job: FileJob, outcome: Outcome, progress: Progress | None) -> None:
        own = self._output
        if isinstance(job.target, Place):
            if isinstance(job.target, Path):
                job.target.parent.mkdir(parents=True, exist_ok=True)
            own = replace(own, format=None)
        upscaler = self._chosen(job, outcome)
        outcome.settings = settings_of(upscaler, self._output)
        outcome.started = time.perf_counter()
        outcome.report = upscaler.upscale_file(job.source, job.target, output=own, progress=progress)

    def _chosen(self, job: FileJob, outcome: Outcome) -> Upscaler:
        if not outcome.upscaler:
            with self._loading:
                chosen = self._upscaler_for(job).chosen_for(job.source)
                if self._course.workers != 1 and chosen not in self._shared:
                    self._shared[chosen] = _taking_turns(chosen, self._turn)
                outcome.upscaler = self._shared.get(chosen, chosen)
        return outcome.upscaler


def _taking_turns(upscaler: Upscaler, lock: threading.Lock) -> Upscaler:
    """Return the same upscaler, whose networks compute only while they hold a lock."""

    def in_turn(tiled: TiledStage) -> TiledStage:
        most = tiled.affordable_area(channels=3, enough=AT_ONCE * SMALL)
        return replace(tiled, stage=replace(tiled.stage, turn=Turn(lock, most)))

    shared = copy.copy(upscaler)
    shared._stages = tuple(map(in_turn, upscaler._stages))
    return shared


def _weight(job: FileJob, scale: int, max_memory: int | None) -> int:
    """Return the bytes that a file takes while it is worked on, but for its network calls."""
    image = _pixels(job)
    result = image * scale**2
    rows = min(result * _ROWS_PER_PIXEL, max_memory // ROWS_SHARE) if max_memory else 0
    return (image + result) * _BYTES_PER_PIXEL + rows


def _pixels(job: FileJob) -> int:
    if isinstance(job.source, Url):
        return job.source.bytes * _PIXELS_OF_BYTE
    try:
        width, height = (0, 0) if job.error else image_size(job.source)
    except InputError:  # reported when the file's turn comes
        return 0
    return width * height


def _absolute(file: Source) -> str:
    if is_url(name := name_of(file)):
        return name
    return os.path.abspath(name)
