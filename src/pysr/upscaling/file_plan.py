"""`FilePlan`: what upscaling a file will do, take and cost, told before it is done."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..files import check_output, open_image_file
from ..files.conversion import converted, fitted
from ..files.encoders import FOLDERS, encode_image
from ..files.metadata import Metadata, Note
from ..files.output import Output
from ..files.raster import Described, Raster
from ..files.streams import Source, Target, name_of
from ..files.writer import fitted_metadata
from .file import IN_MEMORY, chosen_format, needs_model, result_size, whole_because
from .report import collected_warnings
from .tiling import TiledStage

_PROBED = 256  # side of what is upscaled to learn how long it takes, in pixels
_BAND = 2**26  # bytes of rows that wait to be encoded, and of those that are decoded
_HELD = 4  # bytes of a pixel in Pillow's memory


@dataclass(frozen=True)
class StagePlan:
    """How one model of a chain processes an image.

    Attributes:
        model: Its name.
        patches: How many there are; 0 if the image is only interpolated, which takes none.
        patch: (width, height) of each in pixels of the model's input; of an image that is interpolated, all of it.
        mode: How patches are joined: "exact", "blend" or "mean".
        halo: Pixels around a patch that its result depends on; None if it depends on all of the image.
        memory: Bytes that it takes beside the image and the result, as estimated.
        seconds: How long it takes, as estimated from a short probe.
    """

    model: str
    patches: int
    patch: tuple[int, int]
    mode: str
    halo: int | None
    memory: int
    seconds: float


@dataclass(frozen=True)
class FilePlan:
    """What upscaling a file will do.

    Attributes:
        source: Name of the file to read.
        format: Its format, such as "TIFF".
        size: (width, height) in pixels.
        mode: Kind and depth, such as "RGB;16".
        target: Name of the file to write.
        target_format: Its format.
        target_size: (width, height) of the result in pixels.
        target_mode: Kind and depth of the result.
        target_bytes: Of the pixels, uncompressed.
        device: Where the networks run.
        precision: How they compute.
        stages: The models, in order; none if the image is only made smaller.
        by_rows: Whether the image is taken from top to bottom, few rows being in memory at a time.
        whole_because: Why it is not, if it is not.
        held_because: Why the decoded image is in memory as a whole even so, if it is.
        memory: Bytes that the process takes in addition, as estimated.
        seconds: How long it takes, as estimated from a short probe.
        kept: What the result will have as the image has it.
        changed: What it will have in another form, and the reasons.
        dropped: What it will lack, and the reasons.
        warnings: What the log will warn of, as far as the header tells.
        problem: Why it cannot be done; None if it can.
    """

    source: str
    format: str
    size: tuple[int, int]
    mode: str
    target: str
    target_format: str
    target_size: tuple[int, int]
    target_mode: str
    target_bytes: int
    device: str
    precision: str
    stages: tuple[StagePlan, ...]
    by_rows: bool
    whole_because: str | None
    held_because: str | None
    memory: int
    seconds: float
    kept: tuple[str, ...] = ()
    changed: tuple[Note, ...] = ()
    dropped: tuple[Note, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: names, numbers, lists and objects."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def plan_file(
    stages: Sequence[TiledStage],
    source: Source,
    target: Target,
    output: Output,
    precision: str,
    reason: str | None,
) -> FilePlan:
    """Plan what `Upscaler.upscale_file` will do.

    Args:
        stages: What enlarges colours, one after the other.
        source: As in `Upscaler.upscale_file`.
        target: As in `Upscaler.upscale_file`.
        output: As in `Upscaler.upscale_file`.
        precision: As `Upscaler.precision`.
        reason: Why the models need the whole image; None if they do not.

    Raises:
        InputError: The source cannot be read, or a choice contradicts another.
    """
    scale, name = prod(tiled.stage.scale for tiled in stages), name_of(source)
    with collected_warnings() as warnings, open_image_file(source) as file:
        kind = chosen_format(file.header.format, target, output)
        image = file.outline()
        given = converted(image, kind, output, name)
        size = result_size(given, scale, name, output)
        result = fitted(given, kind, name)
        problem = None
        try:
            check_output(target, size, result.mode, transparent=result.transparent_palette, kind=kind)
        except InputError as error:
            problem = str(error)
        _, changes = fitted_metadata(result, kind.name, output, "", name_of(target))
        because = reason or whole_because(file, target, output)
        by_rows = because is None and prod(image.size) * scale**2 > IN_MEMORY
        planned = tuple(_stage_plans(stages, given)) if needs_model(given.size, output) else ()
        memory = max((stage.memory for stage in planned), default=0)
        memory += 2 * _BAND if by_rows else sum(map(_bytes, (image, given))) + 2 * prod(size) * _pixel_bytes(result)
        memory += prod(image.size) * _HELD if by_rows and file.held_because else 0
        seconds = sum(stage.seconds for stage in planned) + _seconds_to_encode(result, kind.name, output, size)
        return FilePlan(
            source=name,
            format=image.format,
            size=image.size,
            mode=image.mode,
            target=name_of(target),
            target_format=kind.name,
            target_size=size,
            target_mode=result.mode,
            target_bytes=prod(size) * _pixel_bytes(result),
            device=str(stages[0].stage.runner.device),
            precision=precision,
            stages=planned,
            by_rows=by_rows,
            whole_because=None if by_rows else because or "it is small",
            held_because=file.held_because if by_rows else None,
            memory=memory,
            seconds=seconds,
            kept=changes.kept,
            changed=changes.changed,
            dropped=changes.dropped,
            warnings=tuple(warnings),
            problem=problem,
        )


def _pixel_bytes(image: Described) -> int:
    return image.channels * image.dtype.itemsize


def _bytes(image: Described) -> int:
    return prod(image.size) * _pixel_bytes(image)


def _stage_plans(stages: Sequence[TiledStage], image: Described) -> Iterator[StagePlan]:
    channels = 1 if image.kind in ("gray", "bilevel") else 3
    width, height = image.size
    for tiled in stages:
        shape = channels, height, width
        yield _stage_plan(tiled, shape)
        width, height = width * tiled.stage.scale, height * tiled.stage.scale


def _stage_plan(tiled: TiledStage, shape: tuple[int, int, int]) -> StagePlan:
    stage = tiled.stage
    if tiled.resampler(torch.device("cpu")):
        patches, patch, mode = 0, shape[:0:-1], "exact"
    else:
        plan = tiled.plan(shape)
        patches, patch, mode = plan.count, plan.patch[::-1], plan.mode
    work = patches * prod(patch) if patches else shape[1] * shape[2]
    seconds = work * tiled.seconds_per_pixel(shape[0], _PROBED)
    return StagePlan(stage.model.name, patches, (patch[0], patch[1]), mode, stage.halo, tiled.memory(shape), seconds)


def _seconds_to_encode(result: Described, format: str, output: Output, size: tuple[int, int]) -> float:
    """Estimate by writing noise, of half the range."""
    shape = (_PROBED * 2, _PROBED * 2, *([result.channels] if result.channels > 1 else []))
    levels = np.random.default_rng(0).integers(64, 192, shape).astype(np.uint8)
    pixels = levels.astype(np.float32) / 255 if result.dtype.kind == "f" else levels.astype(result.dtype)
    probe = Raster(pixels * (result.palette is None), result.kind, result.palette)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sink = folder if format in FOLDERS else io.BytesIO()
        encode_image(probe, format, sink, Metadata(), **output.encoding(format))
    return (time.perf_counter() - started) * prod(size) / prod(shape[:2])
