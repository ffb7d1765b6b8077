"""Image files in, image files out: what ``pysr upscale`` is to do, and doing it file by file."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..imaging.files import READABLE, WRITABLE, image_files, image_size
from .terminal import Bar, complain, describe, say

if TYPE_CHECKING:
    from ..upscaling.upscaler import Upscaler


@dataclass(frozen=True)
class Job:
    """One image file to upscale, and the file to make."""

    source: Path
    target: Path


def plan(
    inputs: Sequence[Path], output: Path | None, *, scale: int, extension: str | None = None, suffix: str | None = None
) -> list[Job]:
    """What to make of which file. A folder among ``inputs`` stands for the images in it, without its sub-folders.

    output: the file to make, when one file is given; or a folder. None: beside each input, as NAME_x3.EXT.
    extension: of the files to make, such as "png"; None: as the input's (PNG for those that pysr cannot write).
    suffix: added to the name as NAME_SUFFIX.EXT; None: nothing in an ``output`` folder, "x3" (the scale) beside.
    Raises InputError for an empty folder, and before anything is overwritten or made twice.
    """
    if extension and f".{extension.lower().lstrip('.')}" not in WRITABLE:
        raise InputError(f"pysr cannot write the format {extension!r}; it can write {', '.join(WRITABLE)}")
    sources = [path for given in inputs for path in (image_files(given) if given.is_dir() else [given])]
    if output and _names_file(output, inputs):
        if extension or suffix:
            raise InputError(f"{output} names the file to make; leave out --format and --suffix, or give a folder")
        jobs = [Job(sources[0], output)]
    else:
        if output and (output.is_file() or output.suffix.lower() in READABLE):
            raise InputError(f"{output} names a file; when a folder or several files come in, give a folder with -o")
        name = f"x{scale}" if suffix is None and output is None else suffix or ""
        jobs = [Job(source, _target(source, output, extension, name)) for source in sources]
    _check_targets(jobs)
    return jobs


def _names_file(output: Path, inputs: Sequence[Path]) -> bool:
    return len(inputs) == 1 and not inputs[0].is_dir() and not output.is_dir() and output.suffix != ""


def _target(source: Path, folder: Path | None, extension: str | None, suffix: str) -> Path:
    ending = f".{extension.lstrip('.')}" if extension else source.suffix
    if ending.lower() not in WRITABLE:
        ending = ".png"
    return (folder or source.parent) / f"{source.stem}{'_' if suffix else ''}{suffix}{ending}"


def _check_targets(jobs: Sequence[Job]) -> None:
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        if job.target.resolve() in sources or (job.target.exists() and job.source.exists()
                                               and job.target.samefile(job.source)):  # fmt: skip
            raise InputError(
                f"{job.target} is an input and would be overwritten by what {job.source} becomes; "
                "if it is the result of an earlier run, give a folder with -o"
            )
    target, count = Counter(job.target.resolve() for job in jobs).most_common(1)[0]
    if count > 1:
        names = ", ".join(str(job.source) for job in jobs if job.target.resolve() == target)
        raise InputError(f"{names} would all become {target}; upscale them into different folders")


@dataclass(frozen=True)
class Report:
    """How a batch tells what it did: a line per file on standard error, or JSON lines on standard output."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False

    def done(self, job: Job, upscaler: Upscaler, size: tuple[int, int], seconds: float) -> None:
        if not self.json and self.quiet:
            return
        width, height = size
        if self.json:
            self._print(
                job, model=upscaler.model.name, scale=upscaler.scale, device=str(upscaler.device),
                precision=upscaler.precision, width=width, height=height, seconds=round(seconds, 3),
            )  # fmt: skip
        else:
            rate = width * height / 1e6 / seconds
            say(f"{job.source} -> {job.target}  {width} x {height} pixels in {seconds:.1f} s, {rate:.3g} MP/s")

    def failed(self, job: Job, error: Exception, *, again: bool) -> None:
        """``again``: the error will be reported once more by whoever called."""
        if self.json:
            self._print(job, error=describe(error))
        if not again:
            named = job.source.name in describe(error)
            complain(error, about="" if named else f"{job.source}: ", verbose=self.verbose)

    def _print(self, job: Job, **facts: Any) -> None:
        print(json.dumps({"input": str(job.source), "output": str(job.target), **facts}), flush=True)


def run(upscaler: Upscaler, jobs: Sequence[Job], report: Report) -> list[Job]:
    """Do the jobs and return those that failed. A file that fails costs only itself; an only file's error is raised."""
    failed: list[Job] = []
    with Bar("starting", unit="MP", shown=not report.quiet) as bar:
        for job, progress in _with_progress(jobs, upscaler.scale, bar):
            started = time.perf_counter()
            try:
                job.target.parent.mkdir(parents=True, exist_ok=True)
                size = upscaler.upscale_file(job.source, job.target, progress=progress)
            except Exception as error:  # whatever is wrong with one file, the others are still wanted
                report.failed(job, error, again=len(jobs) == 1)
                if len(jobs) == 1:
                    raise
                failed.append(job)
            else:
                report.done(job, upscaler, size, time.perf_counter() - started)
    return failed


def _with_progress(
    jobs: Sequence[Job], scale: int, bar: Bar
) -> Iterator[tuple[Job, Callable[[int, int], None] | None]]:
    """The jobs, each with a callback that moves the bar, in megapixels of output."""
    if not bar.shown:
        yield from ((job, None) for job in jobs)
        return
    work = [_megapixels(job.source) * scale**2 for job in jobs]
    for number, job in enumerate(jobs):
        before, text = sum(work[:number]), job.source.name
        if len(jobs) > 1:
            text = f"{number + 1}/{len(jobs)} {text}"
        bar.update(before, sum(work), text)

        def progress(done: int, total: int, before: float = before, share: float = work[number]) -> None:
            bar.update(before + share * done / total, sum(work))

        yield job, progress


def _megapixels(path: Path) -> float:
    try:
        width, height = image_size(path)
    except InputError:  # it is reported when its turn comes
        return 0.0
    return width * height / 1e6
