"""An image through a stage, patch by patch: cut, process, blend; with smaller patches where memory runs out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError, OutOfMemoryError
from ..imaging.image import Array
from ..ops.patches import blend_patches, extract_patches
from .memory import budget, fit_patch, is_out_of_memory, smallest_patch
from .plan import Mode, Plan, plan
from .stage import Stage

logger = logging.getLogger("pysr")

Progress = Callable[[int, int], None]
OVERLAP = 16  # pixels of the low-resolution image that neighbouring patches share in the modes "blend" and "mean"


@dataclass(frozen=True)
class Tiling:
    """What the user said about patches (see `pysr.load`), and how it is done."""

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

    def plan(self, stage: Stage, shape: Sequence[int], area: float = math.inf) -> Plan:
        """Where to cut planes of shape (C, H, W); ``area``: at most so many pixels a patch."""
        channels, height, width = shape
        halo, mode, multiple_of = stage.halo, self.mode, stage.model.multiple_of
        if mode == "auto":
            mode = "blend" if halo is None else "exact"
        if mode == "exact" and halo is None:
            raise InputError(f"{stage.model.name} sees the whole image at once: use mode='blend' instead of 'exact'")
        overlap = 0 if mode == "exact" else self.overlap
        margin = (halo or 0) if mode == "exact" else overlap
        if self.patch == "auto":
            affordable = self._area(stage, channels)
            size = fit_patch(height, width, area=min(affordable, area), halo=margin, multiple_of=multiple_of)
            if self.max_memory and math.prod(size) > affordable:
                logger.warning("max_memory is too little even for patches of %d x %d pixels; using those", *size)
        else:
            side = self.patch if area == math.inf else min(self.patch, math.isqrt(int(area)))
            least = min(self.patch, overlap + multiple_of) if mode == "mean" else smallest_patch(margin, multiple_of)
            size = (max(side, least),) * 2
        logger.debug("patches of %d x %d pixels, mode %s, halo %s", *size, mode, halo)
        return plan(height, width, scale=stage.scale, patch=size, halo=halo or 0, overlap=overlap, mode=mode,
                    multiple_of=multiple_of)  # fmt: skip

    def enlarge(
        self, stage: Stage, planes: Array, out: Array, cut: Plan, *, progress: Progress | None = None, clip: bool = True
    ) -> None:
        """Fill ``out`` (C, H * scale, W * scale) from ``planes`` (C, H, W), with smaller patches if memory runs out.

        cut: what `plan` made for them. progress: called as progress(done, total) in patches. clip: floats to [0, 1].
        Raises OutOfMemoryError when even the smallest patch does not fit.
        """
        while True:
            failure = None
            try:
                return self._fill(stage, planes, out, cut, progress, clip)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failure = str(error)
            size = "{} x {}".format(*cut.patch)  # outside the except: the traceback held the tensors
            smaller = self.plan(stage, planes.shape, area=math.prod(cut.patch) // 2)
            if math.prod(smaller.patch) >= math.prod(cut.patch):
                raise OutOfMemoryError(
                    f"upscaling ran out of memory even with patches of {size} pixels; close other programs or use "
                    f"device='cpu' ({failure})"
                )
            logger.warning("patches of %s pixels did not fit into memory; trying smaller ones", size)
            if stage.runner.device.type == "cuda":
                torch.cuda.empty_cache()
            cut = smaller

    def _fill(self, stage: Stage, planes: Array, out: Array, cut: Plan, progress: Progress | None, clip: bool) -> None:
        bands: dict[int, Tensor] = {}  # the outputs of those rows of patches that are still needed
        for strip in cut.strips():
            held = range(cut.oldest(strip.row), strip.row + 1)
            bands = {row: band for row, band in bands.items() if row in held}
            bands[strip.row] = self._band(stage, planes, cut, strip.row, progress)
            blend_patches(
                list(bands.values()),
                [cut.rows.output_starts[row] for row in held],
                cut.rows.weights[held.start : held.stop],
                cut.columns.output_starts,
                cut.columns.weights,
                rows=(strip.first, strip.last),
                out=out[:, strip.first : strip.last],
                clip=clip,
            )

    def _band(self, stage: Stage, planes: Array, cut: Plan, row: int, progress: Progress | None) -> Tensor:
        """The outputs of one row of patches, (K, C, h * scale, w * scale) float32, where the image lies."""
        origins = cut.origins(row)
        batch = 1
        if stage.runner.device.type != "cpu":
            batch = max(1, int(self._area(stage, len(planes)) // math.prod(cut.patch)))
        band: Tensor | None = None
        for first in range(0, len(origins), batch):
            group = origins[first : first + batch]
            output = stage.process(extract_patches(planes, group, cut.patch)).to(device_of(planes))
            if len(group) == len(origins):
                band = output
            else:
                band = output.new_empty(len(origins), *output.shape[1:]) if band is None else band
                band[first : first + len(group)] = output
            if progress:
                progress(row * len(origins) + first + len(group), math.prod(cut.shape))
        assert band is not None
        return band

    def _area(self, stage: Stage, channels: int) -> float:
        """Pixels of the image that one network call has the memory for."""
        return budget(stage.runner.device, self.max_memory) / stage.bytes_per_pixel(channels)


def device_of(planes: Array) -> torch.device:
    """The device that planes lie on."""
    return planes.device if isinstance(planes, Tensor) else torch.device("cpu")
