"""Pictures in folders and arrays -> batches of (low, high) patch pairs.

Pictures are decoded once; a batch is a function of seed and step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from ..errors import InputError
from ..imaging import degrade
from ..imaging.datasets import Colour, in_colour, read_stacks
from ..imaging.resize import resize

logger = logging.getLogger("pysr")

Share = tuple[int, int]  # r, n: the r-th of n equal parts, counted from 0


@dataclass(frozen=True)
class TrainingImage:
    """One training picture. high: (C, H, W) uint8. low: by scale, (C, H / scale, W / scale) float32 in [0, 1]."""

    high: Tensor
    low: dict[int, Tensor]


@dataclass(frozen=True)
class Batch:
    """Patches of one scale. low: (N, C, k + 2m, k + 2m), a margin of m around; high: (N, C, k * scale, k * scale)."""

    scale: int
    low: Tensor
    high: Tensor


def read_images(
    places: Iterable[Path],
    colour: Colour,
    scales: Sequence[int],
    *,
    rescale_augment: Sequence[float] = (1.0,),
    smallest: int = 1,
) -> list[TrainingImage]:
    """Decode every image and make its low-resolution versions.

    places: folders of images, and ``.npz`` files whose array ``train``, or only array of pictures, holds many of one
        size: (N, H, W, 3) or (N, H, W) uint8.
    colour: "rgb" keeps RGB; "luma" and "any" keep Y of BT.601 rounded to 8 bits.
    rescale_augment: each picture is also used at these sizes (an augmentation: it makes JPEG damage and blur finer).
    smallest: pictures with a shorter side are left out, and it is an InputError when none remains.
    """
    pictures = []
    multiple = lcm(*scales)
    smallest = max(smallest, multiple)
    for stack in (stack for place in places for _, stack in read_stacks(place, "train")):
        planes = in_colour(stack, colour)
        for size in rescale_augment:
            height, width = (round(side * size) for side in planes.shape[-2:])
            if min(height, width) >= smallest:
                pictures += _pictures(planes, (height, width), scales, multiple)
    if not pictures:
        raise InputError(
            f"no training picture has sides of at least {smallest} pixels, as this training needs; give larger ones"
        )
    logger.info("%d training pictures (with reduced copies)", len(pictures))
    return pictures


def _pictures(planes: Tensor, size: tuple[int, int], scales: Sequence[int], multiple: int) -> list[TrainingImage]:
    """Of a stack (n, C, H, W), each at that size."""
    if size != planes.shape[-2:]:
        planes = resize(planes, shape=size)
    high = (degrade.crop_to_multiple(planes, multiple).clamp(0, 1) * 255).round()
    lows = {scale: degrade.bicubic(high / 255, scale) for scale in scales}
    return [
        TrainingImage(truth, {scale: low[i] for scale, low in lows.items()})
        for i, truth in enumerate(high.to(torch.uint8))
    ]


def check_patch(patch: int, scales: Sequence[int]) -> None:
    """InputError for a side of patches that is no multiple of every scale."""
    if wrong := [scale for scale in scales if patch % scale]:
        raise InputError(
            f"a patch of {patch} pixels cannot be shrunk by {wrong[0]}; "
            f"give a multiple of {lcm(*scales)}, or other scales"
        )


@dataclass(frozen=True)
class _Draw:
    """What is random about one patch: pictures and relative places of its candidates, and which symmetry it gets.

    plain: levels of a colour, (C,) uint8, that the whole patch has instead.
    """

    pictures: list[int]
    places: list[tuple[float, float]]
    turn: int
    plain: Tensor | None = None


def generator_of(seed: int, step: int) -> torch.Generator:
    """The random numbers of a step's batch; neither seeds nor steps next to each other share any."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**64)


class Sampler(Protocol):
    """Where the batches of a training come from. The same step gives the same batch, whenever and where it is asked."""

    def batch(self, step: int, counts: Mapping[int, int], share: Share = (0, 1)) -> list[Batch]:
        """See `PatchSampler.batch`."""


class PatchSampler:
    """Random patch pairs, cut and augmented on the fly.

    Args:
        images: what to cut patches from; images smaller than a patch are left out.
        patch: side of a high-resolution patch in pixels, a multiple of every scale.
        seed: of every random choice.
        margin: extra low-resolution pixels on every side of a low patch (mirrored at the image's border), for
            preprocessors that reach beyond it.
        hard_mining_candidates: of that many random positions the one with the strongest low-resolution gradients is
            taken: flat sky teaches little, and a choice by the input alone does not bias what the network learns.
        rotate: whether patches are also rotated by quarter turns and flipped vertically; otherwise they are mirrored
            left to right at most.
        flat_fraction: share of the patches that are of one random colour, every sixth white and every sixth black:
            photographs hardly have such areas, drawings do.
    """

    def __init__(
        self,
        pictures: Sequence[TrainingImage],
        *,
        patch: int,
        seed: int,
        margin: int = 0,
        hard_mining_candidates: int = 2,
        rotate: bool = True,
        flat_fraction: float = 0.0,
    ) -> None:
        self._pictures = [p for p in pictures if min(p.high.shape[-2:]) >= patch]
        if not self._pictures:
            raise InputError(f"no training picture is as large as a patch of {patch} pixels")
        self._areas = torch.tensor([float((p.high.shape[1] - patch + 1) * (p.high.shape[2] - patch + 1))
                                    for p in self._pictures])  # fmt: skip
        self._patch, self._seed, self._margin, self._candidates = patch, seed, margin, hard_mining_candidates
        self._turns, self._plain = rotate, flat_fraction

    def batch(self, step: int, counts: Mapping[int, int], share: Share = (0, 1)) -> list[Batch]:
        """The patch pairs of one step: ``counts`` gives how many of each scale.

        share: (r, n) makes every n-th of them only, from the r-th on: what the r-th of n processes gets. Together the
        n shares are what one process would get; scales of which a share has nothing are left out.
        """
        check_patch(self._patch, list(counts))
        generator = generator_of(self._seed, step)
        pairs, first = [], 0
        for scale, count in counts.items():
            draws = self._draw(count, generator)
            mine = range((share[0] - first) % share[1], count, share[1])
            if mine:
                pairs.append(self._pairs(scale, [draws[i] for i in mine]))
            first += count
        return pairs

    def _draw(self, count: int, generator: torch.Generator) -> list[_Draw]:
        """Everything random about ``count`` patches, before any is cut."""
        chosen = torch.multinomial(self._areas, count * self._candidates, replacement=True, generator=generator)
        places = torch.rand(count, self._candidates, 2, generator=generator, dtype=torch.float64).tolist()
        turns = torch.randint(0, 8, (count,), generator=generator).tolist()
        if not self._turns:
            turns = [turn - turn % 4 for turn in turns]
        pictures = chosen.view(count, self._candidates).tolist()
        colours: list[Tensor | None] = [None] * count
        if self._plain:
            chances = torch.rand(count, generator=generator).tolist()
            levels = _colours(count, len(self._pictures[0].high), generator)
            colours = [colour if chance < self._plain else None for colour, chance in zip(levels, chances, strict=True)]
        return [_Draw(*values) for values in zip(pictures, places, turns, colours, strict=True)]

    def _pairs(self, scale: int, draws: Sequence[_Draw]) -> Batch:
        cuts = [self._cut(scale, draw) for draw in draws]
        low = torch.stack([_turn(planes, draw.turn) for (planes, _), draw in zip(cuts, draws, strict=True)])
        high = torch.stack([_turn(planes, draw.turn) for (_, planes), draw in zip(cuts, draws, strict=True)])
        return Batch(scale, low, high.float() / 255)

    def _cut(self, scale: int, draw: _Draw) -> tuple[Tensor, Tensor]:
        """The candidate with most detail, (C, k + 2m, k + 2m), and its truth; or both of one colour."""
        side = self._patch // scale
        if draw.plain is not None:
            low = (draw.plain / 255)[:, None, None].expand(-1, *[side + 2 * self._margin] * 2)
            return low, draw.plain[:, None, None].expand(-1, self._patch, self._patch)
        candidates = []
        for index, (down, right) in zip(draw.pictures, draw.places, strict=True):
            height, width = self._pictures[index].low[scale].shape[-2:]
            candidates.append((index, int(down * (height - side + 1)), int(right * (width - side + 1))))
        lows = [self._low(scale, *candidate) for candidate in candidates]
        best = max(range(len(lows)), key=lambda i: _detail(lows[i])) if len(lows) > 1 else 0
        index, top, left = candidates[best]
        high = self._pictures[index].high[:, top * scale :, left * scale :][:, : self._patch, : self._patch]
        return lows[best], high

    def _low(self, scale: int, index: int, top: int, left: int) -> Tensor:
        low, side, margin = self._pictures[index].low[scale], self._patch // scale, self._margin
        height, width = low.shape[-2:]
        if min(top, left) >= margin and top + side + margin <= height and left + side + margin <= width:
            return low[:, top - margin : top + side + margin, left - margin : left + side + margin]
        rows, columns = (_mirrored(start, side, margin, n) for start, n in ((top, height), (left, width)))
        return low[:, rows][:, :, columns]


class Prefetcher:
    """Makes the next item of a sequence in a thread of its own while the present one is used."""

    def __init__(self, make: Callable[[int], list[Batch]]) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(1, "pysr-data")
        self._next: tuple[int, Future[list[Batch]]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def get(self, step: int) -> list[Batch]:
        """The item of that step; the one after it is begun."""
        if self._next is None or self._next[0] != step:
            self._next = step, self._pool.submit(self._make, step)
        item = self._next[1].result()
        self._next = step + 1, self._pool.submit(self._make, step + 1)
        return item


def _colours(count: int, channels: int, generator: torch.Generator) -> Tensor:
    """(count, channels) uint8 levels about random grays; of six one is white and one is black."""
    gray, kind = (torch.rand(count, 1, generator=generator) for _ in range(2))
    tint = 0.3 * torch.rand(count, channels, generator=generator) - 0.15
    levels = torch.where(kind < 1 / 3, (kind < 1 / 6).float(), gray + tint)
    return (levels.clamp(0, 1) * 255).round().byte()


def _detail(low: Tensor) -> float:
    return float(low.diff(dim=1).abs().mean() + low.diff(dim=2).abs().mean())


def _mirrored(start: int, side: int, margin: int, length: int) -> Tensor:
    index = torch.arange(start - margin, start + side + margin) % (2 * length)
    return torch.where(index < length, index, 2 * length - 1 - index)


def _turn(planes: Tensor, k: int) -> Tensor:
    """One of the eight symmetries of the square, of (C, s, s) planes."""
    planes = planes.rot90(k % 4, (-2, -1))
    return planes.flip(-1) if k >= 4 else planes
