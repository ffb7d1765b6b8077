"""Degradations to evaluate by: as strong as they say, and the same for everybody."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pysr.files.datasets import read_planes
from pysr.imaging.degrade import (
    Degrade,
    FixedDegradation,
    bicubic,
    crop_to_multiple,
    photo_medium,
    photo_mild,
    photo_strong,
)

FIXED = [photo_mild, photo_medium, photo_strong]
PHOTO = Path(__file__).parents[2] / "examples" / "chelsea.png"


def flat(level: float) -> Tensor:
    return torch.full((3, 256, 256), level)


def spread(low: Tensor) -> Tensor:
    """Standard deviation of each plane, in levels of 255."""
    return low.flatten(1).std(1) * 255


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("build", "least", "most"), [(photo_mild, 1, 4), (photo_medium, 2, 8), (photo_strong, 8, 25)])
def test_they_are_as_noisy_as_they_say(build: Callable[[], Degrade], least: float, most: float) -> None:
    """Bounds below what is added, as JPEG takes some away."""
    assert all(least < value < most for value in spread(build()(flat(0.5), 4, rng())).tolist())


@pytest.mark.parametrize("gray", [False, True])
def test_noise_is_gray_or_differs_between_channels(gray: bool) -> None:
    low = FixedDegradation(blur=(1, 1), noise=20, quality=95, gray_noise=gray)(flat(0.5), 2, rng())
    assert (float(spread(low - low.mean(0)).max() / spread(low).max()) < 0.05) == gray


def test_stronger_ones_lose_more_of_a_photograph() -> None:
    image = crop_to_multiple(read_planes(PHOTO), 4)
    errors = [float((build()(image, 4, rng()) - bicubic(image, 4)).square().mean()) for build in FIXED]
    assert errors == sorted(errors)


def test_a_different_angle_and_noise_follow_from_the_random_numbers_only() -> None:
    image = crop_to_multiple(read_planes(PHOTO), 4)
    first, again = (photo_strong()(image, 4, rng()) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, photo_strong()(image, 4, np.random.default_rng(1)))
