"""Patches through a stage, in parts if memory runs out: the plan stays, so the result does, too."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from ..errors import OutOfMemoryError
from ..ops.patches import blend_patches, extract_patches
from .memory import fit_patch, is_out_of_memory
from .plan import OVERLAP, Mode, Plan, plan_tiles
from .stage import Stage

_log = logging.getLogger("pysr")


class Splitter:
    """Processes patches of one image. Once memory ran out, no later network call gets as much as the one that failed.

    First fewer patches are processed at once, then parts of a patch, with a halo of their own. A model that sees all of
    its patch has none: its parts are blended, and its result changes a little where they meet.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._most = math.inf  # pixels of one network call

    def __call__(self, patches: Tensor) -> Tensor:
        """As `Stage.process`.

        Raises:
            OutOfMemoryError: Even the smallest part does not fit.
        """
        while True:
            shape = self._shape_within(patches)
            try:
                return self._process(patches, *shape)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failure = str(error)
            # outside the except block: its traceback would keep the tensors alive
            failed = shape
            self._most = math.prod(failed) // 2
            smaller = self._shape_within(patches)
            size = f"{failed[2]} x {failed[1]}"
            if math.prod(smaller) >= math.prod(failed):
                raise OutOfMemoryError(
                    f"upscaling ran out of memory even with patches of {size} pixels; close other programs or use "
                    f"device='cpu' ({failure})"
                )
            _log.warning("%d patches of %s pixels did not fit into memory; trying smaller ones", failed[0], size)
            if self._stage.runner.device.type == "cuda":
                torch.cuda.empty_cache()

    def _shape_within(self, patches: Tensor) -> tuple[int, int, int]:
        """The number, the height and the width of what one network call may get of some patches."""
        count, _, height, width = patches.shape
        if self._most >= height * width:
            return int(min(count, self._most // (height * width))), height, width
        if self._stage.model.input_size:
            return 1, height, width
        return 1, *self._parts(height, width).patch

    def _parts(self, height: int, width: int) -> Plan:
        """Plan the parts of a patch."""
        halo, model = self._stage.halo, self._stage.model
        margin = OVERLAP if halo is None else halo
        part = fit_patch((height, width), area=self._most, halo=margin, multiple_of=model.multiple_of)
        geometry = {"scale": self._stage.scale, "halo": halo or 0, "overlap": OVERLAP, "multiple_of": model.multiple_of}
        mode: Mode = "blend" if halo is None else "exact"
        return plan_tiles((height, width), patch=part, mode=mode, minimum=(model.minimum_size,) * 2, **geometry)

    def _process(self, patches: Tensor, count: int, height: int, width: int) -> Tensor:
        if (count, height, width) == (len(patches), *patches.shape[2:]):
            return self._stage.process(patches)
        if (height, width) == patches.shape[2:]:
            return torch.cat([self._stage.process(patches[at : at + count]) for at in range(0, len(patches), count)])
        return torch.stack([self._in_parts(patch) for patch in patches])

    def _in_parts(self, patch: Tensor) -> Tensor:
        """Process a patch, (C, h, w), part by part."""
        _, height, width = patch.shape
        plan, scale = self._parts(height, width), self._stage.scale
        tile_rows = []
        for row in range(plan.grid[0]):
            parts = (extract_patches(patch, origin[None], plan.patch) for origin in plan.origins(row))
            tile_rows.append(torch.cat([self._stage.process(part) for part in parts]))
        axes = plan.rows.axis(), plan.columns.axis()
        return blend_patches(tile_rows, *axes, span=(0, height * scale), width=width * scale)
