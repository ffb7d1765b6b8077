"""Training data: image folders and arrays -> batches of (low, high) patch pairs.

Images are decoded once; a batch is a function of seed and step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..files.datasets import Colour, in_colour, read_stacks
from ..imaging import degrade
from ..imaging.degrade import Degrade
from ..imaging.mirror import mirrored_index
from ..imaging.resize import resize
from ..imaging.symmetry import transform
from ..ops import seeds
from .neutral import neutral

logger = logging.getLogger("pysr")

Shard = tuple[int, int]
"""(rank, world_size): which part of every batch a process gets."""

# Flat patches imitate drawings: paper and ink are pure white and black, areas have pale colours of any brightness.
WHITE_SHARE, BLACK_SHARE = 1 / 6, 1 / 6
TINT = 0.15  # largest difference of a channel from the gray

_SURROUNDINGS = 8  # low-resolution pixels, a JPEG block: what is degraded with a patch, as filters reach beyond it


@dataclass(frozen=True)
class TrainingImage:
    """One training image in all the resolutions that a training needs.

    Attributes:
        high: (C, H, W) uint8.
        low: by scale, (C, H / scale, W / scale) float32, nominally in [0, 1], neither rounded nor clipped.
    """

    high: Tensor
    low: dict[int, Tensor]


@dataclass(frozen=True)
class Batch:
    """Patch pairs of one scale, float32 in [0, 1].

    Attributes:
        scale: enlargement per side.
        low: (N, C, k + 2m, k + 2m): k pixels with a margin of m around, for preprocessors that reach beyond a patch.
        high: (N, C, k * scale, k * scale).
    """

    scale: int
    low: Tensor
    high: Tensor


class Sampler(Protocol):
    """A source of training batches. The same step gives the same batch at any time and in any process.

    Implement it, and name it as a recipe's ``sampler``, for methods whose inputs are not downscaled images.
    """

    def batch(self, step: int, counts: Mapping[int, int], shard: Shard = (0, 1)) -> list[Batch]:
        """Make the batch of one step.

        Args:
            step: number of the step, from 0.
            counts: patches of each scale, over all processes together.
            shard: (rank, world_size): make every world_size-th patch only, from the rank-th on, counted through all
                scales. All shards together are what one process would get; scales of which a shard has no patch are
                left out.

        Returns:
            One batch per scale, in the order of ``counts``.
        """


def read_images(
    places: Iterable[Path],
    colour: Colour,
    scales: Sequence[int],
    *,
    rescale_augment: Sequence[float] = (1.0,),
    smallest: int = 1,
) -> list[TrainingImage]:
    """Decode every image and make its low-resolution versions.

    Args:
        places: folders of images, and ``.npz`` files whose array ``train``, or only array of images, holds many of one
            size: (N, H, W, 3) or (N, H, W) uint8.
        colour: "rgb" keeps RGB; "luma" and "any" keep Y of BT.601 rounded to 8 bits.
        scales: of the low-resolution versions.
        rescale_augment: each image is also used at these sizes (an augmentation: it makes JPEG artefacts and blur
            finer).
        smallest: images with a shorter side than this many pixels are left out, and counted in a warning.

    Raises:
        InputError: if no image remains, or one cannot be read.
    """
    images: list[TrainingImage] = []
    left_out = 0
    multiple = lcm(*scales)
    smallest = max(smallest, multiple)
    for stack in (stack for place in places for _, stack in read_stacks(place, "train")):
        planes = in_colour(stack, colour)
        before = len(images)
        for factor in rescale_augment:
            height, width = (round(side * factor) for side in planes.shape[-2:])
            if min(height, width) >= smallest:
                images += _training_images(planes, (height, width), scales, multiple)
        left_out += len(stack) if len(images) == before else 0
    if not images:
        raise InputError(
            f"no training image has sides of at least {smallest} pixels, as this training needs; give larger ones"
        )
    if left_out:
        logger.warning("images left out because a side is shorter than %d pixels: %d", smallest, left_out)
    logger.info("%d training images (rescaled copies included)", len(images))
    return images


def _training_images(
    stack: Tensor, shape: tuple[int, int], scales: Sequence[int], multiple: int
) -> list[TrainingImage]:
    """Bring a stack (n, C, H, W) to a shape (H', W') and make the low-resolution versions."""
    if shape != stack.shape[-2:]:
        stack = resize(stack, shape=shape)
    high = (degrade.crop_to_multiple(stack, multiple).clamp(0, 1) * 255).round()
    lows = {scale: degrade.bicubic(high / 255, scale) for scale in scales}
    return [
        TrainingImage(truth, {scale: low[i] for scale, low in lows.items()})
        for i, truth in enumerate(high.to(torch.uint8))
    ]


def check_patch(patch: int, scales: Sequence[int]) -> None:
    """Raise InputError unless the side of a patch is a multiple of every scale."""
    if wrong := [scale for scale in scales if patch % scale]:
        raise InputError(
            f"a patch of {patch} pixels cannot be downscaled by {wrong[0]}; "
            f"give a multiple of {lcm(*scales)}, or other scales"
        )


def split_batch(batch: int, scales: Sequence[int]) -> dict[int, int]:
    """Divide a batch evenly among the scales; the first ones get the remainder."""
    each, rest = divmod(batch, len(scales))
    return {scale: each + (i < rest) for i, scale in enumerate(scales) if each + (i < rest)}


@dataclass(frozen=True)
class _PatchChoice:
    """Random choices for one training patch.

    Attributes:
        images: index of each candidate's image.
        positions: relative position (down, right) of each candidate, in [0, 1).
        symmetry: which of the square's eight symmetries the patch gets.
        flat: levels of one colour, (C,) uint8, that the whole patch has instead.
        neutral: whether the patch becomes an image without colour.
        seed: of the random choices of the patch's degradation and neutral image.
    """

    images: list[int]
    positions: list[tuple[float, float]]
    symmetry: int
    flat: Tensor | None = None
    neutral: bool = False
    seed: int = 0


class PatchSampler:
    """Random patch pairs, cropped and augmented on the fly; a `Sampler`.

    Args:
        images: where patches come from; images smaller than a patch are left out. A large image is chosen as often as
            it has positions for a patch.
        patch: side of a high-resolution patch in pixels, a multiple of every scale.
        seed: seed of every random choice.
        margin: extra low-resolution pixels on every side of a low patch (mirrored at the image's border), for
            preprocessors that reach beyond it.
        hard_mining_candidates: of this many random positions, the one with the strongest low-resolution gradients is
            taken: flat sky teaches little, and a choice by the input alone does not bias what the network learns.
        rotate: whether patches are also rotated by quarter turns and flipped vertically; if not, they are only mirrored
            left to right.
        flat_fraction: share of patches that have a single random colour, a sixth of these white and a sixth black:
            photographs hardly have such areas, drawings do.
        neutral_fraction: share of the others that become images without colour; see `pysr.training.neutral`.
        degrade: makes each low patch from the high one and its surroundings, in place of the antialiased bicubic; its
            random numbers depend on the seed, the step and the patch's number.

    Raises:
        InputError: if no image is as large as a patch.
    """

    def __init__(
        self,
        images: Sequence[TrainingImage],
        *,
        patch: int,
        seed: int,
        margin: int = 0,
        hard_mining_candidates: int = 2,
        rotate: bool = True,
        flat_fraction: float = 0.0,
        neutral_fraction: float = 0.0,
        degrade: Degrade | None = None,
    ) -> None:
        self._images = [image for image in images if min(image.high.shape[-2:]) >= patch]
        if not self._images:
            raise InputError(f"no training image is as large as a patch of {patch} pixels; give larger ones")
        shapes = [image.high.shape[-2:] for image in self._images]
        self._positions = torch.tensor([float((h - patch + 1) * (w - patch + 1)) for h, w in shapes])
        self._patch, self._seed, self._margin, self._candidates = patch, seed, margin, hard_mining_candidates
        self._rotate, self._flat_fraction, self._neutral_fraction = rotate, flat_fraction, neutral_fraction
        self._degrade = degrade

    def batch(self, step: int, counts: Mapping[int, int], shard: Shard = (0, 1)) -> list[Batch]:
        """Make the batch of one step; see `Sampler.batch`."""
        check_patch(self._patch, list(counts))
        generator = seeds.generator(self._seed, step)
        rank, world_size = shard
        batches, first = [], 0
        for scale, count in counts.items():
            choices = self._choose(count, generator)
            mine = range((rank - first) % world_size, count, world_size)
            if mine:
                batches.append(self._make_batch(scale, [choices[i] for i in mine]))
            first += count
        return batches

    def _choose(self, count: int, generator: torch.Generator) -> list[_PatchChoice]:
        """Make every random choice for ``count`` patches, before any is cropped."""
        chosen = torch.multinomial(self._positions, count * self._candidates, replacement=True, generator=generator)
        positions = torch.rand(count, self._candidates, 2, generator=generator, dtype=torch.float64).tolist()
        symmetries = torch.randint(0, 8, (count,), generator=generator).tolist()
        if not self._rotate:
            symmetries = [symmetry - symmetry % 4 for symmetry in symmetries]
        images = chosen.view(count, self._candidates).tolist()
        flats: list[Tensor | None] = [None] * count
        if self._flat_fraction:
            chances = torch.rand(count, generator=generator).tolist()
            colours = _flat_colours(count, len(self._images[0].high), generator)
            flats = [
                colour if chance < self._flat_fraction else None
                for colour, chance in zip(colours, chances, strict=True)
            ]
        neutrals = [False] * count
        if self._neutral_fraction:
            neutrals = (torch.rand(count, generator=generator) < self._neutral_fraction).tolist()
        patch_seeds = [0] * count
        if self._neutral_fraction or self._degrade:
            patch_seeds = torch.randint(2**62, (count,), generator=generator).tolist()
        values = zip(images, positions, symmetries, flats, neutrals, patch_seeds, strict=True)
        return [_PatchChoice(*each) for each in values]

    def _make_batch(self, scale: int, choices: Sequence[_PatchChoice]) -> Batch:
        crops = [self._crop(scale, choice) for choice in choices]
        low = torch.stack([transform(low, choice.symmetry) for (low, _), choice in zip(crops, choices, strict=True)])
        high = torch.stack([transform(high, choice.symmetry) for (_, high), choice in zip(crops, choices, strict=True)])
        return Batch(scale, low, high.float() / 255)

    def _crop(self, scale: int, choice: _PatchChoice) -> tuple[Tensor, Tensor]:
        """Crop the candidate with most detail, (C, k + 2m, k + 2m), and its truth, or make both flat."""
        side = self._patch // scale
        if choice.flat is not None and not self._degrade:
            low = (choice.flat / 255)[:, None, None].expand(-1, *[side + 2 * self._margin] * 2)
            return low, choice.flat[:, None, None].expand(-1, self._patch, self._patch)
        candidates = []
        for index, (down, right) in zip(choice.images, choice.positions, strict=True):
            height, width = self._images[index].low[scale].shape[-2:]
            candidates.append((index, int(down * (height - side + 1)), int(right * (width - side + 1))))
        lows = [self._crop_low(scale, *candidate) for candidate in candidates]
        best = max(range(len(lows)), key=lambda i: _detail(lows[i])) if len(lows) > 1 else 0
        index, top, left = candidates[best]
        if choice.neutral or self._degrade:
            return self._make_pair(scale, index, (top, left), choice)
        high = self._images[index].high[:, top * scale :, left * scale :][:, : self._patch, : self._patch]
        return lows[best], high

    def _make_pair(
        self, scale: int, index: int, corner: tuple[int, int], choice: _PatchChoice
    ) -> tuple[Tensor, Tensor]:
        """Make a low patch, (C, k + 2m, k + 2m), from the high one and its surroundings; return both.

        Args:
            corner: (top, left) of the patch in low-resolution pixels.
        """
        rng = np.random.default_rng(choice.seed)
        around = max(_SURROUNDINGS, self._margin)
        image = self._images[index].high
        rows, columns = (
            mirrored_index(torch.arange((start - around) * scale, (start + around) * scale + self._patch), length)
            for start, length in zip(corner, image.shape[-2:], strict=True)
        )
        high = image[:, rows][:, :, columns]
        if choice.flat is not None:
            high = choice.flat[:, None, None].expand_as(high)
        elif choice.neutral:
            gray = high.float().mean(0).round().byte().numpy()
            high = torch.from_numpy(neutral(gray, scale, rng)).expand_as(high)
        low = self._degrade(high / 255, scale, rng) if self._degrade else degrade.bicubic(high / 255, scale)
        crop, inside = around - self._margin, slice(around * scale, around * scale + self._patch)
        return low[:, crop : low.shape[1] - crop, crop : low.shape[2] - crop], high[:, inside, inside]

    def _crop_low(self, scale: int, index: int, top: int, left: int) -> Tensor:
        low, side, margin = self._images[index].low[scale], self._patch // scale, self._margin
        height, width = low.shape[-2:]
        if min(top, left) >= margin and top + side + margin <= height and left + side + margin <= width:
            return low[:, top - margin : top + side + margin, left - margin : left + side + margin]
        rows, columns = (
            mirrored_index(torch.arange(start - margin, start + side + margin), length)
            for start, length in ((top, height), (left, width))
        )
        return low[:, rows][:, :, columns]


class Prefetcher:
    """Makes the next step's batches in a background thread while the present ones are used.

    Args:
        make: returns the batches of a step.
    """

    def __init__(self, make: Callable[[int], list[Batch]]) -> None:
        self._make = make
        self._pool = ThreadPoolExecutor(1, "pysr-data")
        self._next: tuple[int, Future[list[Batch]]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def get(self, step: int) -> list[Batch]:
        """Return the batches of a step and start making those of the next one."""
        if self._next is None or self._next[0] != step:
            self._next = step, self._pool.submit(self._make, step)
        batches = self._next[1].result()
        self._next = step + 1, self._pool.submit(self._make, step + 1)
        return batches


def _flat_colours(count: int, channels: int, generator: torch.Generator) -> Tensor:
    """Return (count, channels) uint8 levels: white, black, and random grays with a slight tint."""
    gray, kind = (torch.rand(count, 1, generator=generator) for _ in range(2))
    tint = 2 * TINT * torch.rand(count, channels, generator=generator) - TINT
    paper_or_ink = (kind < WHITE_SHARE).float()
    levels = torch.where(kind < WHITE_SHARE + BLACK_SHARE, paper_or_ink, gray + tint)
    return (levels.clamp(0, 1) * 255).round().byte()


def _detail(low: Tensor) -> float:
    """Mean absolute gradient, down plus across."""
    return float(low.diff(dim=1).abs().mean() + low.diff(dim=2).abs().mean())
