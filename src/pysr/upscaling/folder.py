"""Batches of image files: the output of each input, checked before any work, and progress over all of them.

Nothing here imports torch or loads a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import FilePath
from ..errors import InputError
from ..files import READABLE, WRITABLE, image_files, image_metadata, image_size
from ..files.original import noted_original
from ..plugin import Progress

if TYPE_CHECKING:
    from .report import Report
    from .upscaler import Upscaler


@dataclass(frozen=True)
class FileJob:
    """One image file to upscale and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class FileResult:
    """The outcome for one image file.

    Attributes:
        source: The image file that was read.
        target: The file to write.
        size: (width, height) of the result in pixels; None if it failed.
        seconds: Wall time of reading, upscaling and writing.
        error: The reason for a failure; None if ``target`` was written.
        upscaler: What upscaled it; None if it failed before a model was chosen.
        report: What became of it, as `Upscaler.upscale_file` returns it; None if it failed.
    """

    source: Path
    target: Path
    size: tuple[int, int] | None
    seconds: float
    error: Exception | None = None
    upscaler: Upscaler | None = None
    report: Report | None = None


def plan_folder(
    source: FilePath, target: FilePath, *, format: str | None = None, suffix: str | None = None
) -> list[FileJob]:
    """Plan to upscale the images of one folder into another; see `Upscaler.upscale_folder`."""
    jobs = _jobs_into(image_files(source), Path(target), format, suffix or "")
    _check_targets(jobs)
    return jobs


def plan_files(
    inputs: Sequence[Path], output: Path | None, *, scale: int, format: str | None = None, suffix: str | None = None
) -> list[FileJob]:
    """Plan to upscale files and the images of folders.

    Args:
        inputs: Image files and folders; a folder stands for the images in it, without its sub-folders.
        output: The file to write if one file is given, or a folder. None: each result is written beside its input.
        scale: Enlargement per side, for the names of results that are written beside their inputs.
        format: Ending of the files to write, such as "png". None: the input's (PNG if pysr cannot write that).
        suffix: Appended to each name as NAME_SUFFIX.EXT. None: "x3" (the scale) beside the input, else nothing.

    Returns:
        One job per file, in the order of the inputs.

    Raises:
        InputError: A folder has no images, a format cannot be written, an input would be overwritten, or two inputs
            would become one file.
    """
    if output and _names_file(output, inputs):
        if format or suffix:
            raise InputError(f"{output} names the file to write; leave out format and suffix, or give a folder")
        jobs = [FileJob(inputs[0], output)]
    else:
        name = f"x{scale}" if suffix is None and output is None else suffix or ""
        jobs = _jobs_into(_sources(inputs), output, format, name)
    _check_targets(jobs)
    return jobs


def noted_scale(inputs: Sequence[Path]) -> int | None:
    """Find the scale by which files were shrunk (see `pysr.files.original`).

    Args:
        inputs: Image files and folders, as for `plan_files`.

    Returns:
        The scale; None if none of the files notes one.

    Raises:
        InputError: They note different scales, or a folder has no images.
    """
    found: dict[int, Path] = {}
    for source in _sources(inputs):
        with suppress(InputError):  # reported when the file's turn comes
            if original := noted_original(image_metadata(source).xmp):
                found.setdefault(original.scale, source)
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise InputError(
            f"{first} was shrunk by {one}, and {second} by {other}; give the scale, or upscale them separately"
        )
    return next(iter(found), None)


def _sources(inputs: Sequence[Path]) -> list[Path]:
    """The files, and for each folder the images in it."""
    return [path for given in inputs for path in (image_files(given) if given.is_dir() else [given])]


def _names_file(output: Path, inputs: Sequence[Path]) -> bool:
    return len(inputs) == 1 and not inputs[0].is_dir() and not output.is_dir() and output.suffix != ""


def _jobs_into(sources: Sequence[Path], folder: Path | None, format: str | None, suffix: str) -> list[FileJob]:
    if format and f".{format.lower().lstrip('.')}" not in WRITABLE:
        raise InputError(f"pysr cannot write the format {format!r}; it can write {', '.join(WRITABLE)}")
    if folder and (folder.is_file() or folder.suffix.lower() in READABLE):
        raise InputError(f"{folder} names a file; to upscale a folder or several files, give a folder for the output")
    return [FileJob(source, _target(source, folder, format, suffix)) for source in sources]


def _target(source: Path, folder: Path | None, format: str | None, suffix: str) -> Path:
    ending = f".{format.lstrip('.')}" if format else source.suffix
    if ending.lower() not in WRITABLE:
        ending = ".png"
    return (folder or source.parent) / f"{source.stem}{'_' if suffix else ''}{suffix}{ending}"


def _check_targets(jobs: Sequence[FileJob]) -> None:
    sources = {job.source.resolve() for job in jobs}
    for job in jobs:
        is_link = job.target.exists() and job.source.exists() and job.target.samefile(job.source)
        if is_link or job.target.resolve() in sources:
            raise InputError(
                f"{job.target} is an input and would be overwritten by the result for {job.source}; "
                "if it is the result of an earlier run, give a folder for the output"
            )
    target, count = Counter(job.target.resolve() for job in jobs).most_common(1)[0]
    if count > 1:
        names = ", ".join(str(job.source) for job in jobs if job.target.resolve() == target)
        raise InputError(f"{names} would all become {target}; upscale them into different folders")


class FilesProgress:
    """Progress over several files, in pixels of output.

    Attributes:
        error: The exception that the caller's callback raised, if any. Unlike an error in a file, it ends the work.
    """

    def __init__(self, report: Progress, sources: Sequence[Path], scale: int) -> None:
        self.error: Exception | None = None
        self._report = report
        self._pixels = [_pixels(source) * scale**2 for source in sources]
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


def _pixels(path: Path) -> int:
    try:
        width, height = image_size(path)
    except InputError:  # reported when the file's turn comes
        return 0
    return width * height
