"""One image file in, one out: read, convert, check, upscale, resize, write."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from .. import __version__
from ..atomic import FilePath
from ..errors import InputError
from ..files import Raster, check_output, read_raster, write_raster
from ..files.conversion import converted, fitted, fitted_mode
from ..files.formats import ENDINGS, FORMATS, Format, format_of_ending
from ..files.metadata import Changes
from ..files.original import restored_size, without_note
from ..files.output import Output
from ..files.planes import open_raster
from ..files.streams import Buffered, Target, is_stream, name_of
from ..files.writer import format_by_name
from ..imaging.colour import white_of
from ..imaging.resize import resize
from .report import Report, collected_warnings

_log = logging.getLogger(__name__)


def upscale_file(
    upscale: Callable[[Raster], Raster],
    scale: int,
    source: FilePath | Buffered,
    target: Target,
    output: Output,
    *,
    model: str,
) -> Report:
    """Upscale a file as `Upscaler.upscale_file` does.

    Args:
        upscale: Enlarges the decoded image, in its own kind and depth.
        scale: By how much.
        source: An image file, or its bytes.
        target: The file to write, or one that is open for writing.
        output: What the file is to be like.
        model: Name of what upscales, for the report.

    Returns:
        What became of the file.

    Raises:
        InputError: The source cannot be read, or the target cannot hold the result or is the source itself.
    """
    started = time.perf_counter()
    with collected_warnings() as warnings:
        size, changes = _upscaled(upscale, scale, source, target, output, f"pysr {__version__}, {model} x{scale}")
    seconds = time.perf_counter() - started
    known = changes.kept, changes.changed, changes.dropped
    return Report(name_of(source), name_of(target), size, seconds, model, *known, tuple(warnings))


def _upscaled(
    upscale: Callable[[Raster], Raster],
    scale: int,
    source: FilePath | Buffered,
    target: Target,
    output: Output,
    done: str,
) -> tuple[tuple[int, int], Changes]:
    if not output.in_place:
        _check_differs(source, target)
    modified = os.stat(source).st_mtime_ns if output.keep_time and not isinstance(source, Buffered) else None
    name = name_of(source)
    raster = read_raster(source)
    kind = _format(raster, target, output)
    raster = converted(raster, kind, output, name)
    size = _size(raster, scale, name, output)
    mode = fitted_mode(raster, kind)
    check_output(target, size, mode, transparent=raster.transparent_palette, kind=kind)
    raster = replace(raster, metadata=replace(raster.metadata, xmp=without_note(raster.metadata.xmp)))
    target_size = output.target_size()
    if target_size and target_size.enlargement(raster.size) <= 1:
        _log.info("%r is made smaller, which takes no model", name)
        done = f"{done.partition(',')[0]}, resized"
        result = resized(raster, size)
    elif target_size:
        result, done = resized(upscale(raster), size), f"{done}, resized"
    else:
        result = upscale(raster)
        result = result.with_pixels(result.pixels[: size[1], : size[0]])
    result = fitted(result, kind, name)
    return size, write_raster(result, target, output=output, kind=kind, modified=modified, done=done)


def resized(raster: Raster, size: tuple[int, int]) -> Raster:
    """Resize an image by MATLAB's antialiased bicubic.

    Args:
        raster: The image.
        size: (width, height) of the result in pixels.
    """
    if size == raster.size:
        return raster
    shape = size[1], size[0]
    opened = open_raster(raster)
    for low, high in opened.parts(shape) + opened.alphas(shape):
        for plane, filled in zip(low, high, strict=True):
            exact = resize(torch.from_numpy(plane.astype("float64"))[None], shape=shape)[0]
            exact.clamp_(0, white_of(filled.dtype))
            filled[:] = exact.numpy() if filled.dtype.kind == "f" else exact.round_().numpy()
    result: Raster = opened.result()
    return result


def _check_differs(source: FilePath | Buffered, target: Target) -> None:
    if isinstance(source, Buffered) or not isinstance(target, str | os.PathLike):
        return
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(source, target):
        raise InputError(f"{target} is the input and would be overwritten; choose another name for the output")


def _format(raster: Raster, target: Target, output: Output) -> Format:
    """Return the format to write: as chosen, else as the target ends, else as the image came (PNG if unwritable)."""
    if output.in_place and raster.format not in ENDINGS:
        raise InputError(
            f"{raster.format} files are not written by pysr, so this one cannot be replaced; choose a target"
        )
    if output.format:
        return format_of_ending(output.format)
    if is_stream(target) or output.in_place:
        return next((kind for kind in FORMATS if kind.name == raster.format), FORMATS[0])
    kind = format_by_name(name_of(target))
    if output.lossless:
        output.check_format(kind.name)
    return kind


def _size(raster: Raster, scale: int, name: str, output: Output) -> tuple[int, int]:
    target_size = output.target_size()
    if not target_size:
        return restored_size(raster, scale, name)
    if (needed := target_size.enlargement(raster.size)) > scale:
        raise InputError(
            f"{name!r} is to become {float(needed):.3g} times as large, and the model enlarges by {scale}; load it at a"
            " larger scale, or choose a smaller size"
        )
    return target_size.of(raster.size)
