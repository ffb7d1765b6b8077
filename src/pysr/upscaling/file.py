"""One image file in, one out: read, convert, check, upscale, resize, write."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from .. import __version__
from ..atomic import FilePath
from ..errors import InputError
from ..files import Raster, check_output, open_image_file, write_raster
from ..files.conversion import Some, converted, fitted, fitted_mode
from ..files.encoders import BY_ROWS
from ..files.formats import ENDINGS, FORMATS, Format, format_of_ending
from ..files.frames import read_frame
from ..files.metadata import Changes
from ..files.original import restored_size, without_note
from ..files.output import Output
from ..files.planes import open_raster
from ..files.raster import Described
from ..files.raster_rows import AnyRaster, RasterRows
from ..files.reader import ImageFile
from ..files.remote import is_url
from ..files.streams import Buffered, Source, Target, is_stream, name_of
from ..files.writer import format_by_name
from ..imaging.colour import white_of
from ..imaging.resize import resize
from ..plugin import Progress
from .colour import upscale_in_colour
from .frames import Upscale, held_frames, upscale_frames
from .report import Report, collected_warnings
from .row_resizing import resize_rows
from .row_upscaling import is_transparent_somewhere

IN_MEMORY = 2**24  # pixels of a result up to which an image is not taken row by row, as its memory is no concern
_log = logging.getLogger(__name__)


def upscale_file(
    upscale: Upscale,
    scale: int,
    source: FilePath | Buffered,
    target: Target,
    output: Output,
    *,
    model: str,
    by_rows: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Upscale a file as `Upscaler.upscale_file` does.

    Args:
        upscale: Enlarges a decoded image, in its own kind and depth, and reports its progress; of rows it makes rows.
        scale: By how much.
        source: An image file, or its bytes.
        target: The file to write, or one that is open for writing.
        output: What the file is to be like.
        model: Name of what upscales, for the report.
        by_rows: Whether it takes rows.
        progress: As in `Upscaler.upscale_file`.

    Returns:
        What became of the file.

    Raises:
        InputError: The source cannot be read, or the target cannot hold the result or is the source itself.
    """
    started = time.perf_counter()
    with collected_warnings() as warnings:
        done = f"pysr {__version__}, {model} x{scale}"
        size, changes = _upscaled(upscale, scale, source, target, output, done, by_rows, progress)
    seconds = time.perf_counter() - started
    known = changes.kept, changes.changed, changes.dropped
    return Report(name_of(source), name_of(target), size, seconds, model, *known, tuple(warnings))


def _upscaled(
    upscale: Upscale,
    scale: int,
    source: FilePath | Buffered,
    target: Target,
    output: Output,
    done: str,
    by_rows: bool,
    progress: Progress | None,
) -> tuple[tuple[int, int], Changes]:
    if not output.in_place:
        _check_differs(source, target)
    if output.keep_time and is_url(target):
        raise InputError(f"the time of change cannot be kept in {target}; leave it out")
    modified = os.stat(source).st_mtime_ns if output.keep_time and not isinstance(source, Buffered) else None
    name = name_of(source)
    if output.frame is None and (held := held_frames(source, target, output)):

        def enlarge(raster: Raster, progress: Progress | None) -> Raster:
            size = result_size(raster, scale, name, output)
            return _enlarged(partial(upscale, progress=progress), raster, size, output, held.format, name)

        def note(size: tuple[int, int]) -> str:
            return _note(done, size, output)

        return upscale_frames(enlarge, held, source, target, output, note=note, modified=modified, progress=progress)
    with _opened(source, target, scale, output, by_rows) as decoded:
        kind = chosen_format(decoded.format, target, output)
        raster = converted(decoded, kind, output, name)
        size = result_size(raster, scale, name, output)
        mode = fitted_mode(raster, kind)
        check_output(target, size, mode, transparent=raster.transparent_palette, kind=kind)
        raster = raster.changed(metadata=replace(raster.metadata, xmp=without_note(raster.metadata.xmp)))
        if isinstance(raster, RasterRows) and _needs_all(raster, output):
            raster = raster.whole()
        enlarged = _enlarged(partial(upscale, progress=progress), raster, size, output, kind.name, name)
        result = fitted(enlarged, kind, name)
        done = _note(done, raster.size, output)
        return size, write_raster(result, target, output=output, kind=kind, modified=modified, done=done)


@contextmanager
def _opened(source: Source, target: Target, scale: int, output: Output, by_rows: bool) -> Iterator[AnyRaster]:
    """Open an image file: row by row where that is possible and saves memory, else as a whole."""
    if output.frame is not None:
        yield read_frame(source, output.frame)
        return
    with open_image_file(source) as file:
        if by_rows and math.prod(file.header.size) * scale**2 > IN_MEMORY and not whole_because(file, target, output):
            yield file.rows()
        else:
            yield file.read()


def _needs_all(raster: RasterRows, output: Output) -> bool:
    """Whether colours behind transparent pixels, of the image or of what is resized, come from around them."""
    return is_transparent_somewhere(raster) or (raster.has_alpha and output.target_size() is not None)


def whole_because(file: ImageFile, target: Target, output: Output) -> str | None:
    """Tell why an image file, or the result, must be in memory as a whole; None if rows suffice."""
    if output.target_size() and file.outline().has_alpha:
        return "the result is resized, and may have transparent pixels"
    kind = chosen_format(file.header.format, target, output)
    return file.whole_because or (None if kind.name in BY_ROWS else f"{kind.name} is encoded as a whole")


def _note(done: str, size: tuple[int, int], output: Output) -> str:
    """Return what was done to an image of a size, given what the model does."""
    if not output.target_size():
        return done
    return f"{done if needs_model(size, output) else done.partition(',')[0]}, resized"


def _enlarged(
    upscale: Callable[[Some], Some], raster: Some, size: tuple[int, int], output: Output, format: str, name: str
) -> Some:
    if not needs_model(raster.size, output):
        _log.info("%r is made smaller, which takes no model", name)
        return resized(raster, size)
    result = upscale_in_colour(upscale, raster, output.colour, format, name)
    return resized(result, size) if output.target_size() else result.cropped(size)


def needs_model(size: tuple[int, int], output: Output) -> bool:
    """Tell whether an image of a size, (width, height), is enlarged: not if it is only made smaller."""
    target_size = output.target_size()
    return target_size is None or target_size.enlargement(size) > 1


def resized(raster: Some, size: tuple[int, int]) -> Some:
    """Resize an image by MATLAB's antialiased bicubic.

    Args:
        raster: The image.
        size: (width, height) of the result in pixels.
    """
    if size == raster.size:
        return raster
    if isinstance(raster, RasterRows):
        rows: Some = resize_rows(raster, size)  # type: ignore[assignment]  # rows of rows
        return rows
    shape = size[1], size[0]
    assert isinstance(raster, Raster)
    opened = open_raster(raster)
    for low, high in opened.parts(shape) + opened.alphas(shape):
        for plane, filled in zip(low, high, strict=True):
            exact = resize(torch.from_numpy(plane.astype("float64"))[None], shape=shape)[0]
            exact.clamp_(0, white_of(filled.dtype))
            filled[:] = exact.numpy() if filled.dtype.kind == "f" else exact.round_().numpy()
    result: Some = opened.result()
    return result


def _check_differs(source: FilePath | Buffered, target: Target) -> None:
    if is_url(target) and name_of(source) == name_of(target):
        raise InputError(f"{target} is the input and would be overwritten; choose another name for the output")
    if isinstance(source, Buffered) or not isinstance(target, str | os.PathLike):
        return
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise InputError(f"{target} is the input and would be overwritten; choose another name for the output")


def chosen_format(format: str, target: Target, output: Output) -> Format:
    """Return the format to write: as chosen, else as the target ends, else as the image came (PNG if unwritable)."""
    if output.in_place and format not in ENDINGS:
        raise InputError(f"{format} files are not written by pysr, so this one cannot be replaced; choose a target")
    if output.format:
        return format_of_ending(output.format)
    if is_stream(target) or output.in_place:
        return next((kind for kind in FORMATS if kind.name == format), FORMATS[0])
    kind = format_by_name(name_of(target))
    if output.lossless:
        output.check_format(kind.name)
    return kind


def result_size(raster: Described, scale: int, name: str, output: Output) -> tuple[int, int]:
    """Return (width, height) of the result of an image in pixels.

    Raises:
        InputError: The model does not enlarge as much as is asked for.
    """
    target_size = output.target_size()
    if not target_size:
        return restored_size(raster, scale, name)
    if (needed := target_size.enlargement(raster.size)) > scale:
        raise InputError(
            f"{name!r} is to become {float(needed):.3g} times as large, and the model enlarges by {scale}; load it at a"
            " larger scale, or choose a smaller size"
        )
    return target_size.of(raster.size)
