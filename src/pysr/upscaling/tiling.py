"""Tiled inference: an image through a stage patch by patch, from top to bottom."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from ..imaging.planes import Array
from ..ops.patches import blend_patches, extract_patches, from_float
from ..ops.resample import Resampler, enlarge
from ..plugin import Progress
from .memory import budget, fit_patch, smallest_patch
from .plan import OVERLAP, Mode, Plan, plan_tiles, round_up
from .rows import Rows, WholeRows
from .splitting import Splitter
from .stage import Stage

logger = logging.getLogger("pysr")

RESAMPLED = 2**23  # values of the result between two reports of progress, if an image is only resampled
MOST_AT_ONCE = 2**29  # values of the result that a row of patches completes: wide images get lower patches


_CPU = torch.device("cpu")
CALL_SHARE, ROWS_SHARE = 2, 4  # parts of `max_memory`: what a network call and the rows that it completes get
_ROWS_BLENDED = 3  # rows of patches that are in memory where they are blended

Place = Callable[[int, int], Array]  # where rows [first, last) of a result go: (C, last - first, W)


@dataclass(frozen=True)
class Tiling:
    """How images are cut into patches and joined; by default whatever is exact and fits into memory.

    Attributes:
        patch: Side of a patch in pixels of the model's input, or "auto": as large as ``max_memory`` allows. A side
            below four times the margin (halo or overlap) that a patch loses on each side is raised to that, as smaller
            patches would be mostly margin; with "mean" it must exceed the overlap instead.
        mode: How patches are joined. "exact" gives the same result as the whole image; "blend" fades neighbours into
            each other over ``overlap`` pixels; "mean" averages all patches that overlap; "auto" is "exact" if the
            model's receptive field is bounded, else "blend".
        overlap: Pixels of the model's input that neighbours share in "blend" and "mean".
        max_memory: Bytes that the work on an image may use beside the model, the image and the result: half of it for a
            network call. None: for a network call a share of the free memory, on a CPU at most 2 GiB.

    Raises:
        InputError: A value is not allowed.
    """

    patch: int | Literal["auto"] = "auto"
    mode: Mode | Literal["auto"] = "auto"
    overlap: int = OVERLAP
    max_memory: int | None = None

    def __post_init__(self) -> None:
        if self.patch != "auto" and (not isinstance(self.patch, int) or self.patch < 1):
            raise InputError(f"patch is {self.patch!r}; give 'auto' or a positive number of pixels")
        if self.mode not in ("auto", "exact", "blend", "mean"):
            raise InputError(f"mode is {self.mode!r}; it can be auto, exact, blend or mean")
        if not isinstance(self.overlap, int) or self.overlap < 0:
            raise InputError(f"overlap is {self.overlap!r}; give 0 or more whole pixels")
        if self.max_memory is not None and (not isinstance(self.max_memory, int) or self.max_memory < 1):
            raise InputError(f"max_memory is {self.max_memory!r}; give a positive number of bytes")


@dataclass(frozen=True)
class _Work:
    """An image on its way through a stage; the names are those of `TiledStage.bands`."""

    rows: Rows
    place: Place
    process: Splitter
    progress: Progress | None
    clip: bool


@dataclass(frozen=True)
class TiledStage:
    """A stage that processes images of any size patch by patch.

    Attributes:
        stage: The loaded model.
        tiling: How images are cut.
    """

    stage: Stage
    tiling: Tiling

    def plan(self, shape: Sequence[int]) -> Plan:
        """Plan the patches for an image of shape (C, H, W).

        Raises:
            InputError: Patches cannot be joined in this mode, or are too small for it.
        """
        channels, height, width = shape
        model, tiling, halo, multiple_of = self.stage.model, self.tiling, self.stage.halo, self.stage.model.multiple_of
        mode = tiling.mode
        if mode == "auto":
            mode = "blend" if halo is None else "exact"
        if mode == "exact" and halo is None:
            raise InputError(f"{model.name} sees the whole image at once; use mode='blend', not 'exact'")
        overlap = 0 if mode == "exact" else tiling.overlap
        margin = (halo or 0) if mode == "exact" else overlap
        minimum: tuple[int, int] = (model.minimum_size,) * 2
        if model.input_size:
            patch = minimum = self._only_patch(model.input_size)
            overlap = min(overlap, min(patch) // 2)
        elif tiling.patch == "auto":
            most = MOST_AT_ONCE if tiling.max_memory is None else tiling.max_memory // (4 * ROWS_SHARE)
            tallest = most // (channels * width * self.stage.scale**2) // (1 if mode == "exact" else _ROWS_BLENDED)
            whole = round_up(height, multiple_of) * round_up(width, multiple_of)
            area = self.affordable_area(channels, whole)
            patch = fit_patch((height, width), area=area, halo=margin, multiple_of=multiple_of, tallest=tallest)
        else:
            least = min(tiling.patch, overlap + multiple_of) if mode == "mean" else smallest_patch(margin, multiple_of)
            patch = (max(tiling.patch, least),) * 2
        logger.debug("patches of %d x %d pixels, mode %s, halo %s", patch[1], patch[0], mode, halo)
        geometry = {"scale": self.stage.scale, "halo": halo or 0, "overlap": overlap, "multiple_of": multiple_of}
        return plan_tiles((height, width), patch=patch, mode=mode, minimum=minimum, **geometry)

    def _only_patch(self, size: tuple[int, int]) -> tuple[int, int]:
        """The patch of a network that takes only one (height, width)."""
        if self.tiling.patch not in ("auto", *size):
            height, width = size
            raise InputError(f"{self.stage.model.name} takes only patches of {width} x {height}; leave the patch out")
        return size

    def steps(self, shape: Sequence[int], device: torch.device) -> int:
        """Return how often `upscale` reports progress for an image (C, H, W) on a device."""
        if self.resampler(device):
            return math.ceil(shape[1] / self._rows_at_once(shape))
        return self.plan(shape).count

    def upscale(self, image: Array, out: Array, *, progress: Progress | None = None, clip: bool = True) -> None:
        """Upscale an image, by smaller parts of the patches if memory runs out.

        Args:
            image: (C, H, W) of any supported dtype, C being 1 or 3.
            out: Where to put the result, (C, H * scale, W * scale).
            progress: Called as progress(done, total), in patches, after each network call.
            clip: Whether floats are clipped to [0, 1].

        Raises:
            OutOfMemoryError: Even the smallest part does not fit.
        """
        for _ in self.bands(WholeRows(image), lambda first, last: out[:, first:last], progress=progress, clip=clip):
            pass

    def bands(
        self, rows: Rows, place: Place, *, progress: Progress | None = None, clip: bool = True
    ) -> Iterator[Array]:
        """Upscale an image from top to bottom.

        Args:
            rows: The image; rows are taken as they are needed.
            place: Called as place(first, last) for the rows of the result that come next; returns where to put them,
                (C, last - first, W * scale).
            progress: As for `upscale`.
            clip: As for `upscale`.

        Yields:
            What ``place`` returned, filled.

        Raises:
            OutOfMemoryError: As for `upscale`.
        """
        if resampler := self.resampler(rows.device):
            yield from self._resampled(resampler, rows, place, progress, clip)
            return
        plan = self.plan(rows.shape)
        self._warn_if_over_budget(plan, rows.shape[0])
        join = self._placed if plan.mode == "exact" else self._blended
        yield from join(plan, _Work(rows, place, Splitter(self.stage), progress, clip))

    def resampler(self, device: torch.device) -> Resampler | None:
        """Return what enlarges images on a device without patches: the same result, by less work and in less memory."""
        asked_for_patches = self.tiling.patch != "auto" or self.tiling.mode in ("blend", "mean")
        return None if asked_for_patches or device.type != "cpu" else self.stage.resampler

    def _rows_at_once(self, shape: Sequence[int]) -> int:
        return max(1, RESAMPLED // (shape[0] * shape[2] * self.stage.scale**2))

    def _resampled(
        self, resampler: Resampler, rows: Rows, place: Place, progress: Progress | None, clip: bool
    ) -> Iterator[Array]:
        count, scale, reach = self._rows_at_once(rows.shape), resampler.scale, resampler.reach
        height, total = rows.shape[1], self.steps(rows.shape, rows.device)
        for number, first in enumerate(range(0, height, count)):
            last = min(first + count, height)
            top = max(0, first - reach)
            out = place(first * scale, last * scale)
            seen = rows.take(top, min(last + reach, height))
            enlarge(seen, scale, resampler.kernel, out, first_row=first - top, clip=clip)
            if progress:
                progress(number + 1, total)
            yield out

    def _placed(self, plan: Plan, work: _Work) -> Iterator[Array]:
        """Put what is kept of each patch where it belongs: in this mode only one patch has weight on a pixel."""
        for finished in plan.output_rows():
            out = work.place(*finished.span)
            top = plan.rows.output_starts[finished.tile_row]
            kept = slice(finished.span[0] - top, finished.span[1] - top)
            for first, tiles in self._tile_groups(plan, finished.tile_row, work):
                spans = zip(tiles, plan.columns.spans[first:], plan.columns.output_starts[first:], strict=False)
                for tile, (left, right), start in spans:
                    from_float(tile[:, kept, left - start : right - start], out[:, :, left:right], clip=work.clip)
            yield out

    def _blended(self, plan: Plan, work: _Work) -> Iterator[Array]:
        tile_rows: dict[int, Tensor] = {}  # those that output rows are still blended from
        for finished in plan.output_rows():
            first, last = finished.needed
            tile_rows = {number: tiles for number, tiles in tile_rows.items() if number >= first}
            tile_rows[finished.tile_row] = self._tile_row(plan, finished.tile_row, work)
            out = work.place(*finished.span)
            blend_patches(
                list(tile_rows.values()),
                plan.rows.axis(first, last),
                plan.columns.axis(),
                span=finished.span,
                out=out,
                clip=work.clip,
            )
            yield out

    def _tile_row(self, plan: Plan, number: int, work: _Work) -> Tensor:
        """The outputs of one row of patches, (K, C, h * scale, w * scale) float32, on the image's device."""
        tiles: Tensor | None = None
        for first, group in self._tile_groups(plan, number, work):
            if len(group) == plan.grid[1]:
                return group
            tiles = group.new_empty(plan.grid[1], *group.shape[1:]) if tiles is None else tiles
            tiles[first : first + len(group)] = group
        assert tiles is not None
        return tiles

    def _tile_groups(self, plan: Plan, number: int, work: _Work) -> Iterator[tuple[int, Tensor]]:
        """Yield the outputs of a row of patches, as many at a time as one network call takes, from left to right.

        Yields:
            The number of the first one, and the outputs, (k, C, h * scale, w * scale) float32, on the image's device.
        """
        origins = plan.origins(number)
        batch = self._batch(plan, work.rows.shape[0])
        top, last = plan.input_rows(number)
        seen = work.rows.take(top, last)
        for first in range(0, len(origins), batch):
            group = origins[first : first + batch] - (top, 0)
            output = work.process(extract_patches(seen, group, plan.patch)).to(work.rows.device)
            if work.progress:
                work.progress(number * len(origins) + first + len(group), plan.count)
            yield first, output

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Estimate the bytes that `bands` takes for an image of shape (C, H, W) beside the image and the result."""
        if self.resampler(_CPU):
            return 2 * RESAMPLED
        plan, (channels, _, width) = self.plan(shape), shape
        values = channels * width * plan.patch[0] * self.stage.scale**2
        held = values if plan.mode == "exact" else _ROWS_BLENDED * values * 4
        call = self._batch(plan, channels) * math.prod(plan.patch) * self.stage.bytes_per_pixel(channels)
        return int(call) + held

    def seconds_per_pixel(self, channels: int, side: int) -> float:
        """Measure how long a pixel of an image takes, by upscaling a patch of noise a few times.

        Args:
            channels: 1 or 3.
            side: Of the patch, in pixels of the image, as far as the model leaves the choice.
        """
        side = round_up(max(side, self.stage.model.minimum_size), self.stage.model.multiple_of)
        height, width = self.stage.model.input_size or (side, side)
        noise = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))
        times = [time.perf_counter()]
        for _ in range(3):  # at first, memory is allocated and kernels are chosen
            self.stage.process(noise)
            times.append(time.perf_counter())
        return min(end - start for start, end in pairwise(times)) / (height * width)

    def _batch(self, plan: Plan, channels: int) -> int:
        """How many patches a network call takes; larger batches are not faster on a CPU."""
        if self.stage.runner.device.type == "cpu":
            return 1
        return max(1, int(self.affordable_area(channels) // math.prod(plan.patch)))

    def affordable_area(self, channels: int, enough: float = math.inf) -> float:
        """Pixels of the image that one network call has the memory for; more than ``enough`` are of no use."""
        most = self.tiling.max_memory
        share = None if most is None else max(1, most // CALL_SHARE)
        pixel = self.stage.bytes_per_pixel(channels)
        return budget(self.stage.runner.device, share, enough * pixel) / pixel

    def _warn_if_over_budget(self, plan: Plan, channels: int) -> None:
        if self.tiling.patch != "auto" or self.tiling.max_memory is None:
            return
        if math.prod(plan.patch) > self.affordable_area(channels):
            size = f"{plan.patch[1]} x {plan.patch[0]}"
            logger.warning("max_memory is too small even for patches of %s pixels; using these anyway", size)
