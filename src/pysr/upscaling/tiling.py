"""Tiled inference: an image through a stage patch by patch, with smaller patches if memory runs out."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError, OutOfMemoryError
from ..imaging.planes import Array
from ..ops.hardware import device_of
from ..ops.patches import blend_patches, extract_patches
from ..ops.resample import Resampler, enlarge
from ..plugin import Progress
from .memory import budget, fit_patch, is_out_of_memory, smallest_patch
from .plan import Mode, Plan, plan_tiles
from .stage import Stage

logger = logging.getLogger("pysr")

RESAMPLED = 2**24  # values of the result between two reports of progress, if an image is only resampled
OVERLAP = 16  # pixels of the input; ramps of that width hide the seams of models that see the whole image


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
        max_memory: Bytes that one network call may use; None: a share of the free memory, on a CPU at most 2 GiB.

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
class TiledStage:
    """A stage that processes images of any size patch by patch.

    Attributes:
        stage: The loaded model.
        tiling: How images are cut.
    """

    stage: Stage
    tiling: Tiling

    def plan(self, shape: Sequence[int], max_area: float = math.inf) -> Plan:
        """Plan the patches for an image of shape (C, H, W), each of at most ``max_area`` pixels.

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
            area = min(self._affordable_area(channels), max_area)
            patch = fit_patch((height, width), area=area, halo=margin, multiple_of=multiple_of)
        else:
            side = tiling.patch if max_area == math.inf else min(tiling.patch, math.isqrt(int(max_area)))
            least = min(tiling.patch, overlap + multiple_of) if mode == "mean" else smallest_patch(margin, multiple_of)
            patch = (max(side, least),) * 2
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
        """Return how often `upscale` reports progress for an image (C, H, W) on a device, unless memory runs out."""
        if self._resampler(device):
            return math.ceil(shape[1] / self._rows_at_once(shape))
        return self.plan(shape).count

    def upscale(self, image: Array, out: Array, *, progress: Progress | None = None, clip: bool = True) -> None:
        """Upscale an image, with smaller patches if memory runs out.

        Args:
            image: (C, H, W) of any supported dtype, C being 1 or 3.
            out: Where to put the result, (C, H * scale, W * scale).
            progress: Called as progress(done, total), in patches, after each network call.
            clip: Whether floats are clipped to [0, 1].

        Raises:
            OutOfMemoryError: Even the smallest patch does not fit.
        """
        if resampler := self._resampler(device_of(image)):
            return self._resample(resampler, image, out, progress, clip)
        plan = self.plan(image.shape)
        self._warn_if_over_budget(plan, len(image))
        while True:
            failure = None
            try:
                return self._upscale_by(plan, image, out, progress, clip)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failure = str(error)
            # outside the except block: its traceback would keep the tensors alive
            size = f"{plan.patch[1]} x {plan.patch[0]}"
            smaller = self.plan(image.shape, max_area=math.prod(plan.patch) // 2)
            if math.prod(smaller.patch) >= math.prod(plan.patch):
                raise OutOfMemoryError(
                    f"upscaling ran out of memory even with patches of {size} pixels; close other programs or use "
                    f"device='cpu' ({failure})"
                )
            logger.warning("patches of %s pixels did not fit into memory; trying smaller ones", size)
            if self.stage.runner.device.type == "cuda":
                torch.cuda.empty_cache()
            plan = smaller

    def _resampler(self, device: torch.device) -> Resampler | None:
        """Return what enlarges images on a device without patches: the same result, by less work and in less memory."""
        asked_for_patches = self.tiling.patch != "auto" or self.tiling.mode in ("blend", "mean")
        return None if asked_for_patches or device.type != "cpu" else self.stage.resampler

    def _rows_at_once(self, shape: Sequence[int]) -> int:
        return max(1, RESAMPLED // (shape[0] * shape[2] * self.stage.scale**2))

    def _resample(self, resampler: Resampler, image: Array, out: Array, progress: Progress | None, clip: bool) -> None:
        rows, scale, total = self._rows_at_once(image.shape), resampler.scale, self.steps(image.shape, device_of(image))
        for number in range(total):
            first = number * rows
            part = out[:, first * scale : (first + rows) * scale]
            enlarge(image, scale, resampler.kernel, part, first_row=first, clip=clip)
            if progress:
                progress(number + 1, total)

    def _upscale_by(self, plan: Plan, image: Array, out: Array, progress: Progress | None, clip: bool) -> None:
        tile_rows: dict[int, Tensor] = {}  # those that output rows are still blended from
        for finished in plan.output_rows():
            first, last = finished.needed
            tile_rows = {number: tiles for number, tiles in tile_rows.items() if number >= first}
            tile_rows[finished.tile_row] = self._tile_row(plan, finished.tile_row, image, progress)
            blend_patches(
                list(tile_rows.values()),
                plan.rows.axis(first, last),
                plan.columns.axis(),
                span=finished.span,
                out=out[:, slice(*finished.span)],
                clip=clip,
            )

    def _tile_row(self, plan: Plan, number: int, image: Array, progress: Progress | None) -> Tensor:
        """The outputs of one row of patches, (K, C, h * scale, w * scale) float32, on the image's device."""
        origins = plan.origins(number)
        batch = 1  # larger batches are not faster on a CPU
        if self.stage.runner.device.type != "cpu":
            batch = max(1, int(self._affordable_area(len(image)) // math.prod(plan.patch)))
        tiles: Tensor | None = None
        for first in range(0, len(origins), batch):
            group = origins[first : first + batch]
            output = self.stage.process(extract_patches(image, group, plan.patch)).to(device_of(image))
            if len(group) == len(origins):
                tiles = output
            else:
                tiles = output.new_empty(len(origins), *output.shape[1:]) if tiles is None else tiles
                tiles[first : first + len(group)] = output
            if progress:
                progress(number * len(origins) + first + len(group), plan.count)
        assert tiles is not None
        return tiles

    def _affordable_area(self, channels: int) -> float:
        """Pixels of the image that one network call has the memory for."""
        return budget(self.stage.runner.device, self.tiling.max_memory) / self.stage.bytes_per_pixel(channels)

    def _warn_if_over_budget(self, plan: Plan, channels: int) -> None:
        if self.tiling.patch != "auto" or self.tiling.max_memory is None:
            return
        if math.prod(plan.patch) > self._affordable_area(channels):
            size = f"{plan.patch[1]} x {plan.patch[0]}"
            logger.warning("max_memory is too small even for patches of %s pixels; using these anyway", size)
