"""Several image files: the output of each input, checked before any work.

A file that cannot be used costs only itself: its job says why. Nothing here imports torch or loads a model.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO

from ..atomic import FilePath, check_not_of_the_system, file_name, is_of_the_system
from ..errors import InputError
from ..files import READABLE, WRITABLE, image_metadata, open_for_reading, upright_size
from ..files.formats import ANIMATIONS, ENDINGS, detect_format, name_of_ending
from ..files.frames import FORMATS as ANIMATED
from ..files.frames import count_frames
from ..files.original import noted_original
from ..files.output import TargetSize
from ..files.remote import Place, Url, as_place
from ..files.streams import Buffered, Source, name_of
from ..files.zarr_store import check_target, is_store
from .file_jobs import FileJob
from .inputs import InputFile, Inputs, input_files, is_folder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Enlargement:
    """How much larger results are to be.

    Attributes:
        scale: Enlargement per side.
        size: The size of the results, if that is not ``scale`` times the images'.
        offered: The scales of models to choose from, for ``size``.
    """

    scale: int
    size: TargetSize | None = None
    offered: Sequence[int] = ()

    def of(self, source: Place | Buffered) -> tuple[int | None, str]:
        """Return the scale of the model for a file, as `FileJob.scale`, and what tells of it in the result's name."""
        if self.size is None:
            return None, f"x{self.scale}"
        before = upright_size(source)
        after = self.size.of(before)
        suffix = f"x{float(self.size.scale):g}" if self.size.scale else f"{after[0]}x{after[1]}"
        return self.size.model_scale(before, self.offered) or 1, suffix


def plan_folder(
    source: FilePath,
    target: FilePath,
    *,
    format: str | None = None,
    suffix: str | None = None,
    recursive: bool = False,
) -> list[FileJob]:
    """Plan to upscale the images of one folder into another; see `Upscaler.upscale_folder`."""
    if not is_folder(place := as_place(source)):
        raise InputError(f"there is no folder {file_name(source)!r}; check the name")
    folder = _folder(target)
    inputs = Inputs([place], recursive, folder)
    return _plan(inputs, _Naming(folder, format, suffix or ""), Enlargement(1))


def plan_files(
    inputs: Sequence[Place],
    output: FilePath | None,
    enlargement: Enlargement,
    *,
    format: str | None = None,
    suffix: str | None = None,
    recursive: bool = False,
) -> list[FileJob]:
    """Plan to upscale files and the images of folders.

    Args:
        inputs: Image files and folders; a folder stands for the images in it, without its sub-folders.
        output: The file to write if one file is given, or a folder: one that exists, a name that does not end like a
            file, or one with a slash at its end. None: each result is written beside its input.
        enlargement: For the names of results that are written beside their inputs, and the models' scales.
        format: Ending of the files to write, such as "png". None: the input's (PNG if pysr cannot write that).
        suffix: Appended to each name as NAME_SUFFIX.EXT. None: "x3" (the scale) or "800x600" (the size) beside the
            input, else nothing.
        recursive: Whether a folder stands for the images of its sub-folders, too, whose tree the output repeats.

    Returns:
        One job per file, in the order of the inputs; the files of folders in natural order, and a file that is given
        twice once. Where two results would have the same name, each gets its input's ending into it: a_jpg.png.

    Raises:
        InputError: A format cannot be written, the output contradicts the inputs, or none of the files can be used.
    """
    if output is None:
        return _plan(Inputs(inputs, recursive), _Naming(None, format, suffix), enlargement)
    _check_is_no_device(file_name(output))
    if not names_file(output, inputs):
        folder = _folder(output)
        return _plan(Inputs(inputs, recursive, folder), _Naming(folder, format, suffix or ""), enlargement)
    if format or suffix:
        raise InputError(f"{output} names the file to write; leave out format and suffix, or give a folder")
    return [plan_one(inputs[0], as_place(output), enlargement)]


def plan_one(source: Place | Buffered, target: Place | IO[bytes], enlargement: Enlargement) -> FileJob:
    """Plan to upscale one file, or its bytes, to a file with a name, or one that is open for writing.

    Raises:
        InputError: The source cannot be opened, or the target cannot be written.
    """
    _look_at(source)
    if isinstance(target, Place) and target.suffix.lower() not in WRITABLE and not _holds_frames(source, target):
        raise InputError(_unwritten(target))
    job = FileJob(source, target, enlargement.of(source)[0])
    if error := _target_error(job, set()) if isinstance(target, Place) else None:
        raise error
    return job


def _holds_frames(source: Place | Buffered, target: Place) -> bool:
    """Tell whether an image is an animation, and its result a file that holds one."""
    if target.suffix.lower() not in ANIMATIONS:
        return False
    format, frames = count_frames(source)
    return format in ANIMATED and frames > 1


def _unwritten(target: Place) -> str:
    if target.suffix.lower() in ANIMATIONS:
        return f"{target} would be an animation, and the image is none; write .png, or another format for one image"
    listed = ", ".join(WRITABLE)
    return f"{target} ends neither like an image file that pysr writes ({listed}) nor like a folder (/)"


def plan_in_place(inputs: Sequence[Place], enlargement: Enlargement, *, recursive: bool = False) -> list[FileJob]:
    """Plan to replace files, and the images of folders, by their results; otherwise as `plan_files`."""
    jobs = []
    for file in input_files(Inputs(inputs, recursive)):
        source, scale, error = file.path, None, file.error
        try:
            if not error and _look_at(source) not in ENDINGS:
                raise InputError(f"{source} has a format that is not written, so it cannot be replaced; leave it out")
            if not error:
                check_target(source)
                scale, _ = enlargement.of(source)
        except InputError as reason:
            error = reason
        jobs.append(FileJob(source, source, scale, error))
    return _not_all_failed(jobs)


def noted_scale(inputs: Sequence[Place | Buffered], *, recursive: bool = False) -> int | None:
    """Find the scale by which files were shrunk (see `pysr.files.original`).

    Args:
        inputs: Image files and folders, as for `plan_files`, or a file's bytes.
        recursive: As for `plan_files`.

    Returns:
        The scale; None if none of the files notes one.

    Raises:
        InputError: They note different scales.
    """
    found: dict[int, str] = {}
    files: list[Place | Buffered] = [given for given in inputs if isinstance(given, Buffered)]
    paths = [given for given in inputs if isinstance(given, Place)]
    files += [file.path for file in input_files(Inputs(paths, recursive), log=False)]
    for source in files:
        with suppress(InputError):  # reported when the file's turn comes
            if original := noted_original(image_metadata(source).xmp):
                found.setdefault(original.scale, name_of(source))
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise InputError(
            f"{first} was shrunk by {one}, and {second} by {other}; give the scale, or upscale them separately"
        )
    return next(iter(found), None)


def _look_at(source: Source) -> str:
    """Return the format of a file by its content. Raises InputError if it cannot be opened or is no image.

    A file elsewhere is not fetched for that; its name tells.
    """
    if isinstance(source, Url) and (kind := next((k for k, e in ENDINGS.items() if source.suffix.lower() in e), "")):
        return kind
    with open_for_reading(source) as file:
        return detect_format(file, name_of(source))


@dataclass(frozen=True)
class _Naming:
    """How results are called: folder (None: beside the input), ending (None: the input's), suffix (None: the size).

    Below the folder, the tree of the inputs is repeated.
    """

    folder: Place | None
    format: str | None
    suffix: str | None

    def target(self, file: InputFile, kind: str | None, size: str, mark: str = "") -> Place:
        """Return the result's name; ``kind`` is the input's format, and ``mark`` sets it apart from others."""
        source, suffix = file.path, self.suffix if self.suffix is not None else size
        ending = f".{self.format.lstrip('.')}" if self.format else _ending(source, kind)
        folder = self.folder / file.place if self.folder else source.parent
        return folder / f"{source.stem}{mark}{'_' if suffix else ''}{suffix}{ending}"


def _plan(inputs: Inputs, naming: _Naming, enlargement: Enlargement) -> list[FileJob]:
    if naming.format:
        name_of_ending(naming.format)  # raises an error if it has none
    jobs: list[FileJob] = []
    renamed: list[Callable[[str], Place]] = []  # for each job: its target with a mark in the name
    for file in input_files(inputs):
        source, error = file.path, file.error
        kind, scale, size = None, None, f"x{enlargement.scale}"
        try:
            if not error:
                kind = _look_at(source)
                scale, size = enlargement.of(source)
        except InputError as reason:
            error = reason
        target = naming.target(file, kind, size)
        if not error and target.suffix.lower() in ANIMATIONS and not _holds_frames(source, target):
            error = InputError(_unwritten(target))
        jobs.append(FileJob(source, target, scale, error))
        renamed.append(partial(naming.target, file, kind, size))
        if not naming.format:
            _tell_of_format(source, kind, target)
    return _checked(_apart(jobs, renamed))


def _ending(source: Place, kind: str | None) -> str:
    """Return the ending for a file of a format: its own where that is true, or else the format's (PNG if not written).

    ``kind`` is None for a file that fails anyway.
    """
    own = source.suffix.lower()
    if kind in ENDINGS and kind != "PPM":  # which has endings that are not written
        return source.suffix if own in ENDINGS[kind] else ENDINGS[kind][0]
    return source.suffix if own in WRITABLE and kind in (None, "PPM") else ".png"


def _tell_of_format(source: Place, kind: str | None, target: Place) -> None:
    own = source.suffix.lower()
    if kind and own in WRITABLE and own not in ENDINGS.get(kind, ()):
        _log.info("%s is a %s file, whatever its name says; its result is called %s", source, kind, target.name)


def _apart(jobs: Sequence[FileJob], renamed: Sequence[Callable[[str], Place]]) -> list[FileJob]:
    """Give results that would become one file names that differ."""
    same = defaultdict(list)
    for number, job in enumerate(jobs):
        if not job.error:
            same[_key(job.target)].append(number)
    result, taken = list(jobs), set(same) | {_key(job.source) for job in jobs}
    for numbers in (numbers for numbers in same.values() if len(numbers) > 1):
        for number in numbers:
            ending = Path(name_of(jobs[number].source)).suffix.lstrip(".").lower()
            marks = (f"_{ending}" + (f"_{n}" if n > 1 else "") for n in count(1))
            target = next(name for name in map(renamed[number], marks) if _key(name) not in taken)
            taken.add(_key(target))
            result[number] = replace(jobs[number], target=target)
        names = ", ".join(f"{name_of(job.source)} -> {name_of(job.target)}" for job in (result[n] for n in numbers))
        _log.info("not to become the same file, these results get other names: %s", names)
    return result


def _key(file: Source) -> str:
    return os.path.normcase(os.path.realpath(name_of(file)))


def _checked(jobs: Sequence[FileJob]) -> list[FileJob]:
    """Note in each job why its target cannot be written."""
    sources = {_key(job.source) for job in jobs}
    return _not_all_failed([job if job.error else replace(job, error=_target_error(job, sources)) for job in jobs])


def _target_error(job: FileJob, sources: set[str]) -> InputError | None:
    """Return why a job's target cannot be written; ``sources`` are the keys of all files that are read."""
    source, target = job.source, job.target
    assert isinstance(target, Place)
    same = isinstance(source, Path) and os.path.exists(target) and os.path.samefile(target, source)
    if same or _key(target) in sources:
        return InputError(
            f"{target} is an input and would be overwritten by the result for {name_of(source)}; choose another folder "
            "for the results, or a suffix for their names; to replace inputs for good, ask for it (in place)"
        )
    try:
        check_target(target, folder_is_made=True)
    except InputError as error:
        return error
    return None


def _not_all_failed(jobs: list[FileJob]) -> list[FileJob]:
    failed = [job.error for job in jobs if job.error]
    if len(failed) < len(jobs):
        return jobs
    if len(failed) == 1:
        raise failed[0]
    raise InputError(f"none of the {len(jobs)} inputs can be used; the first: {failed[0]}") from failed[0]


def _check_is_no_device(output: str) -> None:
    check_not_of_the_system(output)
    if is_of_the_system(output) or (os.path.exists(output) and not _is_place(output)):
        raise InputError(
            f"{output} is a device or a pipe, which can hold no complete file; write to a file, or to standard output"
            " with -o -"
        )


def _is_place(path: str) -> bool:
    return os.path.isfile(path) or os.path.isdir(path)


_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


def names_file(output: FilePath, inputs: Sequence[Place]) -> bool:
    """Tell whether an output is the name of a file, not of a folder."""
    if len(set(map(os.path.abspath, inputs))) != 1 or is_folder(inputs[0]) or is_folder(output):
        return False
    return not file_name(output).endswith(_SEPARATORS) and os.path.splitext(file_name(output))[1] != ""


def _folder(output: FilePath) -> Place:
    """Check that the name of a folder is none of a file."""
    name = file_name(output)
    if (
        os.path.isfile(name)
        or is_store(name)
        or (
            os.path.splitext(name)[1].lower() in READABLE and not name.endswith(_SEPARATORS) and not os.path.isdir(name)
        )
    ):
        raise InputError(f"{output} names a file; to upscale a folder or several files, give a folder for the output")
    return as_place(output)
