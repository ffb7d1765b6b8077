"""One image file in, one out: read, restore the size that it was shrunk from, check, upscale, write."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..files import Raster, check_output, read_raster, write_raster
from ..files.metadata import Changes
from ..files.original import restored_size, without_note
from .report import Report, collected_warnings


def upscale_file(upscale: Callable[[Raster], Raster], scale: int, source: Path, target: Path, *, model: str) -> Report:
    """Upscale a file as `Upscaler.upscale_file` does.

    Args:
        upscale: Enlarges the decoded image, in its own kind and depth.
        scale: By how much.
        source: An image file.
        target: The file to write.
        model: Name of what upscales, for the report.

    Returns:
        What became of the file.

    Raises:
        InputError: The source cannot be read, or the target cannot hold the result or is the source itself.
    """
    started = time.perf_counter()
    with collected_warnings() as warnings:
        size, changes = _upscaled(upscale, scale, source, target)
    seconds = time.perf_counter() - started
    known = changes.kept, changes.changed, changes.dropped
    return Report(str(source), str(target), size, seconds, model, *known, tuple(warnings))


def _upscaled(
    upscale: Callable[[Raster], Raster], scale: int, source: Path, target: Path
) -> tuple[tuple[int, int], Changes]:
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is the input and would be overwritten; choose another name for the output")
    raster = read_raster(source)
    size = restored_size(raster, scale, str(source))
    check_output(target, size, raster.mode, transparent=raster.transparent_palette)
    metadata = replace(raster.metadata, xmp=without_note(raster.metadata.xmp))
    result = upscale(replace(raster, metadata=metadata))
    return size, write_raster(result.with_pixels(result.pixels[: size[1], : size[0]]), target)
