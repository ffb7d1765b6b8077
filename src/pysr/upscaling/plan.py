"""Tile plans: where an image is cut into patches and how their outputs are joined. Pure geometry: no model, no device.

A `Plan` holds one `AxisPlan` per axis. All patches have one shape; where the image is at least as large as a patch,
they lie inside it, spread evenly, so that neighbours overlap a little more than they must. Output rows become final
one row of patches after the other, so only a few rows of patches are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..ops.axis import Axis

Mode = Literal["exact", "blend", "mean"]
Weights = NDArray[np.float32]

OVERLAP = 16  # pixels of the input; ramps of that width hide the seams of models that see the whole image
_GRID = 2.0**24  # weights are multiples of 1 / _GRID, as float32 holds them: those of a pixel add up to exactly one
_FAR = 2**62  # beyond the end of any image


@dataclass(frozen=True)
class AxisPlan:
    """One axis of a plan.

    Attributes:
        length: Side of the image, input pixels.
        patch: Side of a patch, input pixels.
        starts: Where each patch begins, input pixels, ascending. Patches are filled by mirroring beyond the image.
        weights: (len(starts), patch * scale) float32: weight of each output pixel of each patch. The weights of all
            patches that cover an output pixel add up to exactly one; zero where a patch's output is dropped.
    """

    length: int
    patch: int
    starts: tuple[int, ...]
    weights: Weights = field(compare=False, repr=False)

    @property
    def scale(self) -> int:
        """Output pixels per input pixel."""
        return int(self.weights.shape[1]) // self.patch

    @cached_property
    def output_starts(self) -> tuple[int, ...]:
        """Where each patch begins, output pixels."""
        scale = self.scale
        return tuple(start * scale for start in self.starts)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The output pixels [first, last) in which each patch has weight."""
        used = [np.flatnonzero(row) for row in self.weights]
        return tuple((s + int(u[0]), s + int(u[-1]) + 1) for s, u in zip(self.output_starts, used, strict=True))

    def axis(self, first: int = 0, last: int | None = None) -> Axis[Weights]:
        """Patches [first, last) as `blend_patches` takes them; by default all."""
        return Axis(self.output_starts[first:last], self.weights[first:last])


@dataclass(frozen=True)
class OutputRows:
    """Output rows that become final once a row of tiles is computed.

    Attributes:
        tile_row: Number of that row of tiles.
        span: The output rows [first, last).
        needed: The rows of tiles [first, last) that they are blended from.
    """

    tile_row: int
    span: tuple[int, int]
    needed: tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """How an image is cut and joined: patch (i, j) begins at rows.starts[i], columns.starts[j].

    Attributes:
        rows: The vertical axis.
        columns: The horizontal axis.
        scale: Output pixels per input pixel and side.
        mode: How neighbours are joined.
    """

    rows: AxisPlan
    columns: AxisPlan
    scale: int
    mode: Mode

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across."""
        return len(self.rows.starts), len(self.columns.starts)

    @property
    def count(self) -> int:
        """Patches in all."""
        return prod(self.grid)

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of every patch, input pixels."""
        return self.rows.patch, self.columns.patch

    @property
    def output_shape(self) -> tuple[int, int]:
        """Height and width of the output, output pixels."""
        return self.rows.length * self.scale, self.columns.length * self.scale

    def origins(self, tile_row: int) -> NDArray[np.int64]:
        """(patches across, 2): top and left of the patches of a row, input pixels."""
        corners = np.empty((len(self.columns.starts), 2), np.int64)
        corners[:, 0], corners[:, 1] = self.rows.starts[tile_row], self.columns.starts
        return corners

    def input_rows(self, tile_row: int) -> tuple[int, int]:
        """The rows [first, last) of the image that a row of patches is cut from, mirrored ones included."""
        first = self.rows.starts[tile_row]
        beyond = max(0, first + self.rows.patch - self.rows.length)
        return max(0, min(first, self.rows.length - beyond)), min(first + self.rows.patch, self.rows.length)

    def output_rows(self) -> Iterator[OutputRows]:
        """The output rows that each row of tiles completes, from top to bottom without gaps."""
        spans = self.rows.spans
        ends = [first for first, _ in spans[1:]] + [self.output_shape[0]]
        for tile_row, (first, last) in enumerate(pairwise([0, *ends])):
            oldest = next(i for i, (_, end) in enumerate(spans) if end > first)
            yield OutputRows(tile_row, (first, last), (oldest, tile_row + 1))


def plan_tiles(
    shape: tuple[int, int],
    *,
    scale: int,
    patch: tuple[int, int],
    halo: int,
    overlap: int = 0,
    mode: Mode = "exact",
    multiple_of: int = 1,
    minimum: tuple[int, int] = (1, 1),
) -> Plan:
    """Plan the patches of an image.

    Args:
        shape: (height, width) of the image, input pixels.
        scale: Output pixels per input pixel and side.
        patch: (height, width) of a patch, input pixels, rounded up to multiples of ``multiple_of``. An axis that is no
            longer than the patch gets one patch of the image's side, rounded up likewise.
        halo: Input pixels of context that the network needs around a correct result.
        overlap: Input pixels that neighbours share in "blend" and "mean"; unused in "exact".
        mode: "exact" keeps the part of each patch at least ``halo`` inside it, and the kept parts touch. "blend" joins
            neighbours by a linear ramp of ``overlap`` pixels around the line between them, at most two patches per axis
            on a pixel: the ramp is shorter where patches lie closer, and stays ``halo`` away from the patch edges if
            the patch is large enough for both. "mean" averages all patches that cover a pixel, margins included.
        multiple_of: Starts and sides of patches are multiples of this; the last patch may end beyond the image by less.
        minimum: No patch has a smaller (height, width); the patch of a smaller image ends beyond it.

    Raises:
        InputError: The patch is too small (the message names the smallest that works), or a size is impossible.
    """
    height, width = shape
    if mode not in _WEIGHTS:
        raise InputError(f"unknown way to join patches {mode!r}; use one of {', '.join(_WEIGHTS)}")
    if min(height, width, scale, *patch, multiple_of) < 1 or min(halo, overlap) < 0:
        raise InputError(
            f"cannot cut an image of {width} x {height} pixels into patches of {patch[1]} x {patch[0]} with scale "
            f"{scale}, halo {halo}, overlap {overlap} and multiples of {multiple_of}; sizes start at 1, margins at 0"
        )
    rules = _Rules(scale, halo, overlap, mode, multiple_of)
    rows = _plan_axis(height, patch[0], minimum[0], rules)
    return Plan(rows, _plan_axis(width, patch[1], minimum[1], rules), scale, mode)


@dataclass(frozen=True)
class _Rules:
    """What both axes of a plan have in common; the names are those of `plan_tiles`."""

    scale: int
    halo: int
    overlap: int
    mode: Mode
    multiple_of: int


def _plan_axis(length: int, patch: int, minimum: int, rules: _Rules) -> AxisPlan:
    patch = round_up(max(min(patch, length), minimum), rules.multiple_of)
    starts = np.zeros(1, dtype=np.int64)
    if patch < length:
        starts = _starts(length, patch, _stride(patch, rules), rules.multiple_of)
    first = starts * rules.scale
    side = patch * rules.scale
    weights = _WEIGHTS[rules.mode](first, side, rules.overlap * rules.scale)
    weights[first[:, None] + np.arange(side) >= length * rules.scale] = 0
    weights.setflags(write=False)
    return AxisPlan(length, patch, tuple(starts.tolist()), weights)


def round_up(size: int, multiple_of: int) -> int:
    """Return the smallest multiple that is at least ``size``, in pixels."""
    return -(-size // multiple_of) * multiple_of


def _stride(patch: int, rules: _Rules) -> int:
    """The largest distance between the starts of two neighbours, a multiple of ``multiple_of``."""
    shared = 2 * rules.halo if rules.mode == "exact" else rules.overlap
    if patch < shared + rules.multiple_of:
        reason = f"a halo of {rules.halo}" if rules.mode == "exact" else f"an overlap of {rules.overlap}"
        smallest = round_up(shared + rules.multiple_of, rules.multiple_of)
        raise InputError(f"patches of {patch} pixels are too small for {reason} pixels; use at least {smallest}")
    if rules.mode == "blend":  # respect the halo too, but advance by at least half of what is left of the patch
        shared += min(2 * rules.halo, (patch - shared) // 2)
    return max(1, (patch - shared) // rules.multiple_of) * rules.multiple_of


def _starts(length: int, patch: int, stride: int, multiple_of: int) -> NDArray[np.int64]:
    """Evenly spread starts from 0 to the last patch, at most ``stride`` apart, in multiples of ``multiple_of``."""
    last = -(-(length - patch) // multiple_of)
    steps = -(-last * multiple_of // stride)
    return np.arange(steps + 1, dtype=np.int64) * last // steps * multiple_of


# Weights from the starts of patches of ``side``; all in output pixels.


def _exact(starts: NDArray[np.int64], side: int, overlap: int) -> Weights:
    """One up to the middle of what two neighbours share, zero beyond."""
    return _blend(starts, side, 0)


def _blend(starts: NDArray[np.int64], side: int, overlap: int) -> Weights:
    """One inside, and linear ramps of up to ``overlap`` pixels around the middle of what two neighbours share."""
    lines = (starts[1:] + starts[:-1] + side) // 2
    apart = np.diff(lines, prepend=-_FAR, append=_FAR)  # from line to line: no ramp reaches a third patch
    half = np.minimum(overlap, np.minimum(apart[1:], apart[:-1])) // 2
    pixels = starts[:, None] + np.arange(side)
    weights = np.ones((len(starts), side))
    weights[1:] *= _risen(pixels[1:], lines[:, None], half[:, None])
    weights[:-1] *= 1 - _risen(pixels[:-1], lines[:, None], half[:, None])
    return weights.astype(np.float32)


def _risen(pixels: NDArray[np.int64], line: NDArray[np.int64], half: NDArray[np.int64]) -> NDArray[np.float64]:
    """A ramp from 0 at ``line`` - ``half`` to 1 at ``line`` + ``half``, at the middle of each pixel; for 0 a step."""
    risen = np.clip((pixels + 0.5 - (line - half)) / np.maximum(2 * half, 0.5), 0, 1)  # 0.5: no division by 0
    grid: NDArray[np.float64] = np.round(risen * _GRID) / _GRID
    return grid


def _mean(starts: NDArray[np.int64], side: int, overlap: int) -> Weights:
    """Equal weights for all patches that cover a pixel; the last of them absorbs the rounding."""
    pixels = starts[:, None] + np.arange(side)
    until = np.searchsorted(starts, pixels, side="right")  # number of patches that begin at or before the pixel
    covering = until - np.searchsorted(starts + side, pixels, side="right")
    share = np.floor(_GRID / covering) / _GRID
    is_last = until == np.arange(1, len(starts) + 1)[:, None]
    return np.where(is_last, 1 - (covering - 1) * share, share).astype(np.float32)


_WEIGHTS: dict[str, Callable[[NDArray[np.int64], int, int], Weights]] = {
    "exact": _exact,
    "blend": _blend,
    "mean": _mean,
}
