"""Animations frame by frame, and TIFF files page by page."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Protocol

from ..atomic import check_place
from ..files import Raster, check_output
from ..files.conversion import converted, fitted
from ..files.formats import ENDINGS, FORMATS
from ..files.frames import FORMATS as ANIMATED
from ..files.frames import count_frames, encode_animation, read_animation
from ..files.metadata import Changes
from ..files.output import Output
from ..files.streams import Source, Target, is_stream, name_of
from ..files.tiff_pages import join_pages, read_page, read_pages
from ..files.writer import image_encoder, write_encoded
from ..plugin import Progress
from .progress import progress_shares

_TIFF = next(kind for kind in FORMATS if kind.name == "TIFF")
_SHARE = 1000  # of progress, for each frame


class Upscale(Protocol):
    """Enlarges an image, and reports its progress."""

    def __call__(self, raster: Raster, progress: Progress | None) -> Raster: ...


@dataclass(frozen=True)
class HeldFrames:
    """The frames of a file that the result's format holds.

    Attributes:
        format: The result's: "GIF", "PNG", "WEBP" or "TIFF".
        count: How many there are, at least two.
    """

    format: str
    count: int


def held_frames(source: Source, target: Target, output: Output) -> HeldFrames | None:
    """Tell whether a file has several frames or pages that the result's format holds, too; None if not."""
    format, count = count_frames(source)
    if count < 2:
        return None
    if is_stream(target) or output.in_place:
        chosen = format
    else:
        ending = f".{output.format.lstrip('.')}" if output.format else os.path.splitext(name_of(target))[1]
        holders = {"TIFF": ENDINGS["TIFF"]} if format == "TIFF" else ANIMATED
        chosen = next((kind for kind, endings in holders.items() if ending.lower() in endings), "")
    return HeldFrames(chosen, count) if chosen else None


def upscale_frames(
    enlarge: Upscale,
    held: HeldFrames,
    source: Source,
    target: Target,
    output: Output,
    *,
    note: Callable[[tuple[int, int]], str],
    modified: int | None,
    progress: Progress | None,
) -> tuple[tuple[int, int], Changes]:
    """Upscale all frames of an animation, with their timing, or all pages of a TIFF file.

    Args:
        enlarge: Makes a frame as large as it is to be.
        held: What the file has.
        source: The file.
        target: The file to write.
        output: What it is to be like.
        note: What was done to a frame of a size.
        modified: As for `write_raster`.
        progress: Called as progress(done, total), in parts of frames.

    Returns:
        (width, height) of the first frame of the result in pixels, and what became of the metadata.

    Raises:
        InputError: The source cannot be read, or the target cannot be written.
    """
    output.check_format(held.format)
    reports = progress_shares(progress, [_SHARE] * held.count)
    if held.format == "TIFF":
        return _upscale_pages(enlarge, held.count, source, target, output, note, modified, reports)
    animation = read_animation(source)
    if held.format != "GIF":  # which is written for animations only
        kind = next(kind for kind in FORMATS if kind.name == held.format)
        check_output(target, animation.frames[0].size, animation.frames[0].mode, kind=kind)
    elif isinstance(target, str | os.PathLike):
        check_place(target)
    frames = [enlarge(frame, progress=next(reports)) for frame in animation.frames]
    changes = Changes()

    def encode(file: IO[bytes]) -> None:
        nonlocal changes
        changes = encode_animation(
            replace(animation, frames=frames),
            *(held.format, file, output),
            name=name_of(target),
            done=note(animation.frames[0].size),
        )

    write_encoded(encode, target, modified)
    return frames[0].size, changes


def _upscale_pages(
    enlarge: Upscale,
    count: int,
    source: Source,
    target: Target,
    output: Output,
    note: Callable[[tuple[int, int]], str],
    modified: int | None,
    reports: Iterator[Progress | None],
) -> tuple[tuple[int, int], Changes]:
    name = name_of(source)
    done: list[tuple[tuple[int, int], Changes]] = []
    first = read_page(source, 0)
    check_output(target, first.size, converted(first, _TIFF, output, name).mode, kind=_TIFF)

    def pages() -> Iterator[bytes]:
        for raster in read_pages(source):
            page = converted(raster, _TIFF, output, name)
            result = fitted(enlarge(page, progress=next(reports)), _TIFF, name)
            said = done[0][1].warning if done else ""
            encoder = image_encoder(result, target, output=output, kind=_TIFF, done=note(page.size), said=said)
            file = io.BytesIO()
            encoder(file, None)
            done.append((result.size, encoder.changes))
            yield file.getvalue()

    write_encoded(lambda file: join_pages(pages(), file), target, modified)
    return done[0][0], _of_all([changes for _, changes in done])


def _of_all(pages: Sequence[Changes]) -> Changes:
    """Return what became of the metadata of all pages, each thing once."""
    fields = ("kept", "changed", "dropped", "moved")
    return Changes(*(tuple(dict.fromkeys(each for page in pages for each in getattr(page, name))) for name in fields))
