"""Where an image is cut into patches and how their outputs are put together: pure data, no model, no device.

A `Plan` holds one `AxisPlan` per axis. All patches have one shape; where the image is at least as large as a patch,
they lie inside it, spread evenly, and neighbours at the end move inward. Output rows become final strip by strip, so
only a few rows of patches are in memory at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Mode = Literal["exact", "blend", "mean"]
Weights = NDArray[np.float32]

_GRID = 2.0**24  # weights are multiples of 1 / _GRID: those of a pixel then add up to one without rounding


@dataclass(frozen=True)
class AxisPlan:
    """One axis of a plan.

    length: side of the image, input pixels.
    patch: side of a patch, input pixels.
    starts: where each patch begins, input pixels, ascending. A patch that ends beyond the image is filled by mirroring.
    weights: (len(starts), patch * scale) float32, what each output pixel of each patch counts. Those of all patches
        that cover an output pixel add up to exactly one; zero where a patch's output is dropped.
    """

    length: int
    patch: int
    starts: tuple[int, ...]
    weights: Weights = field(compare=False, repr=False)

    @property
    def scale(self) -> int:
        """Output pixels per input pixel."""
        return int(self.weights.shape[1]) // self.patch

    @property
    def output_starts(self) -> tuple[int, ...]:
        """Where each patch begins, output pixels."""
        return tuple(start * self.scale for start in self.starts)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The output pixels [first, last) that each patch counts for."""
        used = [np.flatnonzero(row) for row in self.weights]
        return tuple((s + int(u[0]), s + int(u[-1]) + 1) for s, u in zip(self.output_starts, used, strict=True))


@dataclass(frozen=True)
class Strip:
    """Output rows [first, last), which are final once patch row `row` is there."""

    row: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """How an image is cut and put together: patch (i, j) begins at rows.starts[i], columns.starts[j]."""

    rows: AxisPlan
    columns: AxisPlan
    scale: int
    mode: Mode

    @property
    def shape(self) -> tuple[int, int]:
        """Patches down and across."""
        return len(self.rows.starts), len(self.columns.starts)

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of every patch, input pixels."""
        return self.rows.patch, self.columns.patch

    @property
    def output_shape(self) -> tuple[int, int]:
        """Height and width of the output, output pixels."""
        return self.rows.length * self.scale, self.columns.length * self.scale

    def origins(self, row: int) -> NDArray[np.int64]:
        """(patches across, 2): top and left of the patches of a row, input pixels."""
        return np.array([(self.rows.starts[row], left) for left in self.columns.starts], dtype=np.int64)

    def strips(self) -> Iterator[Strip]:
        """The finished output rows after each row of patches: one strip per row, without gaps from top to bottom."""
        ends = [first for first, _ in self.rows.spans[1:]] + [self.output_shape[0]]
        for row, (first, last) in enumerate(pairwise([0, *ends])):
            yield Strip(row, first, last)

    def oldest(self, row: int) -> int:
        """The first row of patches that the strip of patch row `row` still needs."""
        first = self.rows.spans[row][0] if row else 0
        return next(i for i, (_, last) in enumerate(self.rows.spans) if last > first)


def plan(
    height: int,
    width: int,
    *,
    scale: int,
    patch: tuple[int, int],
    halo: int,
    overlap: int = 0,
    mode: Mode = "exact",
    multiple_of: int = 1,
) -> Plan:
    """Plan the patches of an image.

    height, width: of the image, input pixels. scale: output pixels per input pixel and side.
    patch: height and width of a patch, input pixels, rounded up to multiples of `multiple_of`. An axis that is no
        longer than the patch gets one patch of the image's side, rounded up likewise.
    halo: input pixels that a network needs to see around what it gets right.
    overlap: input pixels between neighbours that both produce ("blend", "mean"; "exact" needs none).
    mode: "exact" keeps of each patch what lies `halo` away from its neighbours' side, and the kept parts touch.
        "blend" joins neighbours by a linear ramp of `overlap` pixels around the line between them, never more than two
        patches per axis on a pixel: the ramp is shorter where patches lie closer, and keeps `halo` away from the edges
        where the patch is large enough for both. "mean" averages all patches that cover a pixel, whole (no halo).
    multiple_of: starts and sides of patches are multiples of this; the last patch may end beyond the image by less.
    Raises InputError when the patch is too small, naming the smallest that works.
    """
    if mode not in _WEIGHTS:
        raise InputError(f"unknown way to join patches {mode!r}; use one of {', '.join(_WEIGHTS)}")
    if min(height, width, scale, *patch, multiple_of) < 1 or min(halo, overlap) < 0:
        raise InputError(
            f"cannot cut an image of {width} x {height} pixels into patches of {patch[1]} x {patch[0]} with scale "
            f"{scale}, halo {halo}, overlap {overlap} and multiples of {multiple_of}; sizes start at 1, margins at 0"
        )
    rules = _Rules(scale, halo, overlap, mode, multiple_of)
    return Plan(_cut(height, patch[0], rules), _cut(width, patch[1], rules), scale, mode)


@dataclass(frozen=True)
class _Rules:
    """What both axes of a plan have in common; the names are those of `plan`."""

    scale: int
    halo: int
    overlap: int
    mode: Mode
    multiple_of: int


def _cut(length: int, patch: int, rules: _Rules) -> AxisPlan:
    patch = min(_rounded_up(patch, rules.multiple_of), _rounded_up(length, rules.multiple_of))
    starts = np.zeros(1, dtype=np.int64)
    if patch < length:
        starts = _starts(length, patch, _stride(patch, rules), rules.multiple_of)
    first = starts * rules.scale
    size = patch * rules.scale
    weights = _WEIGHTS[rules.mode](first, size, rules.overlap * rules.scale)
    weights[first[:, None] + np.arange(size) >= length * rules.scale] = 0
    weights.setflags(write=False)
    return AxisPlan(length, patch, tuple(starts.tolist()), weights)


def _rounded_up(size: int, multiple_of: int) -> int:
    return -(-size // multiple_of) * multiple_of


def _stride(patch: int, rules: _Rules) -> int:
    """The farthest that two neighbours may begin from each other, a multiple of `multiple_of`."""
    shared = 2 * rules.halo if rules.mode == "exact" else rules.overlap
    if patch < shared + rules.multiple_of:
        reason = f"a halo of {rules.halo}" if rules.mode == "exact" else f"an overlap of {rules.overlap}"
        smallest = _rounded_up(shared + rules.multiple_of, rules.multiple_of)
        raise InputError(f"patches of {patch} pixels are too small for {reason} pixels; use at least {smallest}")
    if rules.mode == "blend":  # keep the halo too, as long as patches advance by half of what they could
        shared += min(2 * rules.halo, (patch - shared) // 2)
    return max(1, (patch - shared) // rules.multiple_of) * rules.multiple_of


def _starts(length: int, patch: int, stride: int, multiple_of: int) -> NDArray[np.int64]:
    """Even starts from 0 to the last patch, at most `stride` apart, in multiples of `multiple_of`."""
    last = -(-(length - patch) // multiple_of)
    steps = -(-last * multiple_of // stride)
    return np.arange(steps + 1, dtype=np.int64) * last // steps * multiple_of


# Weights from where patches of `size` begin, all in output pixels.


def _exact(starts: NDArray[np.int64], size: int, overlap: int) -> Weights:
    """One between the middles of what neighbours share, zero elsewhere."""
    return _blend(starts, size, 0)


def _blend(starts: NDArray[np.int64], size: int, overlap: int) -> Weights:
    """One inside, linear ramps of up to `overlap` around the middles of what neighbours share."""
    lines = (starts[1:] + starts[:-1] + size) // 2
    apart = np.diff(lines, prepend=-(2**62), append=2**62)  # from line to line: a third patch begins there
    half = np.minimum(overlap, np.minimum(apart[1:], apart[:-1])) // 2
    pixels = starts[:, None] + np.arange(size)
    weights = np.ones((len(starts), size))
    weights[1:] *= _risen(pixels[1:], lines[:, None], half[:, None])
    weights[:-1] *= 1 - _risen(pixels[:-1], lines[:, None], half[:, None])
    return weights.astype(np.float32)


def _risen(pixels: NDArray[np.int64], line: NDArray[np.int64], half: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far a ramp from `line` - `half` to `line` + `half` has risen from 0 to 1 at the middle of each pixel."""
    risen = np.clip((pixels + 0.5 - (line - half)) / np.maximum(2 * half, 0.5), 0, 1)
    grid: NDArray[np.float64] = np.round(risen * _GRID) / _GRID
    return grid


def _mean(starts: NDArray[np.int64], size: int, overlap: int) -> Weights:
    """The same for each patch that covers a pixel; the last of them takes the rounding."""
    pixels = starts[:, None] + np.arange(size)
    until = np.searchsorted(starts, pixels, side="right")  # patches that begin up to the pixel
    covering = until - np.searchsorted(starts + size, pixels, side="right")
    share = np.floor(_GRID / covering) / _GRID
    is_last = until == np.arange(1, len(starts) + 1)[:, None]
    return np.where(is_last, 1 - (covering - 1) * share, share).astype(np.float32)


_WEIGHTS: dict[str, Callable[[NDArray[np.int64], int, int], Weights]] = {
    "exact": _exact,
    "blend": _blend,
    "mean": _mean,
}
