"""An image upscaled from top to bottom: few rows of it, and of the result, are in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch

from ..files.planes import representation
from ..files.raster import Pixels
from ..files.raster_rows import RasterRows
from ..imaging.colour import is_neutral, white_of
from ..imaging.planes import Array
from ..plugin import Progress
from .planes import Stages, keeps_neutral, shares
from .progress import progress_sums
from .rows import SlidingRows
from .tiling import Place, TiledStage

_CPU = torch.device("cpu")


def upscale_rows(raster: RasterRows, stages: Stages, alpha: TiledStage, progress: Progress | None) -> RasterRows:
    """Upscale an image as `Upscaler.upscale` does, to the same pixels.

    The image is read once for its colours and once for its alpha, and before, as far as need be, to learn whether it is
    neutral.

    Args:
        raster: The image, without fully transparent pixels (see `is_transparent_somewhere`).
        stages: What enlarges colours, one after the other.
        alpha: What enlarges alpha.
        progress: As in `Upscaler.upscale`.

    Returns:
        The result; it is computed when its bands are taken.
    """
    work = _Work(raster, stages, alpha, progress)
    width, height = (side * work.scale for side in raster.size)
    sample = np.empty((0, width, *raster.sample.shape[2:]), raster.dtype)
    return replace(raster, bands=work.bands, height=height, sample=sample)


def is_transparent_somewhere(raster: RasterRows) -> bool:
    """Tell whether a pixel is fully transparent, so that the colours behind it depend on the whole image."""
    known = representation(raster)

    def visible(pixels: Pixels) -> bool:
        alphas = [planes.alpha for planes in known.split(known.before(pixels))]
        return all(alpha is None or bool((alpha > 0).all()) for alpha in alphas)

    return not raster.every(visible)


@dataclass(frozen=True)
class _Part:
    """Planes of an image that are enlarged together.

    Attributes:
        pick: Returns them, (C, h, W), as a view of a band's levels.
        channels: How many there are.
        stages: What enlarges them.
    """

    pick: Callable[[Pixels], Array]
    channels: int
    stages: Stages


class _Work:
    """An image that is being upscaled; the arguments are those of `upscale_rows`."""

    def __init__(self, raster: RasterRows, stages: Stages, alpha: TiledStage, progress: Progress | None) -> None:
        self._raster, self._stages, self._alpha, self._progress = raster, stages, alpha, progress
        self.scale = prod(tiled.stage.scale for tiled in stages)
        self._known = representation(raster)
        self._sample = self._known.before(np.zeros((1, *raster.sample.shape[1:]), raster.dtype))

    def bands(self) -> Iterator[Pixels]:
        """Compute the result."""
        width, height = (side * self.scale for side in self._raster.size)
        neutral = [self._is_neutral(number) for number in range(len(self._known.split(self._sample)))]
        parts = [self._colours(number, is_gray) for number, is_gray in enumerate(neutral)] + self._alphas()
        shape = self._raster.size[::-1]
        counts = [n for part in parts for n in shares(part.stages, (part.channels, *shape), _CPU)]
        reports = progress_sums(self._progress, counts)
        made: list[Pixels] = []  # the band that the first part is put into

        def place(first: int, last: int) -> Array:
            made.append(np.empty((last - first, width, *self._sample.shape[2:]), self._sample.dtype))
            return parts[0].pick(made[-1])

        leading, *following = (self._enlarged(part, reports, place if part is parts[0] else None) for part in parts)
        others = [
            (part, SlidingRows(bands, (part.channels, height, width)))
            for part, bands in zip(parts[1:], following, strict=True)
        ]
        top = 0
        for _ in leading:
            levels = made.pop()
            for part, rows in others:
                filled: Any = part.pick(levels)
                filled[:] = rows.take(top, top + len(levels))
            self._complete(levels, neutral, len(parts) == len(neutral))
            top += len(levels)
            yield self._known.after(levels)

    def _is_neutral(self, number: int) -> bool:
        """Whether R, G and B are equal in every pixel of some planes, and stay so, as in `upscale_planes`."""

        def colour(levels: Pixels) -> Array:
            return self._known.split(levels)[number].colour

        return (
            keeps_neutral(self._stages)
            and len(colour(self._sample)) == 3
            and self._raster.every(lambda pixels: is_neutral(colour(self._known.before(pixels))))
        )

    def _colours(self, number: int, is_gray: bool) -> _Part:
        channels = 1 if is_gray else len(self._known.split(self._sample)[number].colour)
        return _Part(lambda levels: self._known.split(levels)[number].colour[:channels], channels, self._stages)

    def _alphas(self) -> list[_Part]:
        """Alpha, unless there is none or it is white everywhere."""
        if self._known.split(self._sample)[0].alpha is None:
            return []

        def alpha(levels: Pixels) -> Array:
            found = self._known.split(levels)[0].alpha
            assert found is not None
            return found

        white = white_of(self._sample.dtype)
        if self._raster.every(lambda pixels: bool((alpha(self._known.before(pixels)) == white).all())):
            return []
        return [_Part(alpha, 1, [self._alpha])]

    def _enlarged(self, part: _Part, reports: Iterator[Progress | None], place: Place | None) -> Iterator[Array]:
        """Send some planes through their stages; what comes out is put into ``place``, else into memory of its own."""
        width, height = self._raster.size
        planes = (part.pick(self._known.before(band)) for band in self._raster.bands())
        rows = SlidingRows(planes, (part.channels, height, width))
        *earlier, last = part.stages
        for tiled in earlier:
            width, height = width * tiled.stage.scale, height * tiled.stage.scale
            own = _own_place(part.channels, width, np.dtype(np.float32))
            bands = tiled.bands(rows, own, progress=next(reports), clip=False)
            rows = SlidingRows(bands, (part.channels, height, width))
        place = place or _own_place(part.channels, width * last.stage.scale, self._sample.dtype)
        return last.bands(rows, place, progress=next(reports))

    def _complete(self, levels: Pixels, neutral: Sequence[bool], is_opaque: bool) -> None:
        """Fill what is not computed: G and B of neutral colours, and alpha that is white everywhere."""
        for planes, is_gray in zip(self._known.split(levels), neutral, strict=True):
            if is_gray:
                colour: Any = planes.colour
                colour[1:] = colour[:1]
            if is_opaque and planes.alpha is not None:
                planes.alpha[:] = white_of(levels.dtype)


def _own_place(channels: int, width: int, dtype: np.dtype[Any]) -> Place:
    """Where a part of an image goes that is no band of the result: into memory laid out as an image."""
    return lambda first, last: np.empty((last - first, width, channels), dtype).transpose(2, 0, 1)
