"""Training images without colour."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pysr.training.neutral import checkerboard, halftone, lines, neutral, random_levels, text


def photograph(side: int = 64) -> NDArray[np.uint8]:
    return np.linspace(0, 255, side, dtype=np.uint8)[None].repeat(side, 0)


def test_a_checkerboard_alternates() -> None:
    mask = checkerboard((24, 32), (4, 2), np.random.default_rng(0))
    assert mask.shape == (24, 32)
    assert (mask[4:] == ~mask[:-4]).all()
    assert (mask[:, 2:] == ~mask[:, :-2]).all()


@pytest.mark.parametrize("seed", range(8))
def test_lines_take_half_of_the_image_or_less(seed: int) -> None:
    assert 0.05 < lines((96, 96), 4, np.random.default_rng(seed)).mean() < 0.6


def test_a_halftone_is_black_and_white_dots_as_dark_as_the_photograph() -> None:
    found = halftone(photograph(), 2)
    assert set(np.unique(found)) == {0, 255}
    assert (found[::2] == found[1::2]).all()
    means = [image.reshape(64, 8, 8).mean((0, 2)) for image in (found, photograph())]
    np.testing.assert_allclose(means[0], means[1], atol=25)


def test_text_has_ink_and_more_paper() -> None:
    for seed in range(8):
        found = text((96, 96), 4, np.random.default_rng(seed))
        tones, counts = np.unique(found, return_counts=True)
        assert found.shape == (96, 96)
        assert len(tones) > 2  # smooth edges
        assert counts.max() > 0.3 * found.size


def test_levels_are_ordered_and_often_black_and_white() -> None:
    found = [random_levels(np.random.default_rng(seed)) for seed in range(100)]
    assert all(0 <= dark <= light <= 255 for dark, light in found)
    assert 30 < found.count((0, 255)) < 70


def test_all_kinds_come_and_the_same_random_numbers_give_the_same() -> None:
    made = [neutral(photograph(), 4, np.random.default_rng(seed)) for seed in range(40)]
    assert all(image.shape == (64, 64) and image.dtype == np.uint8 for image in made)
    assert 8 < sum(np.array_equal(image, photograph()) for image in made) < 26
    assert all(np.array_equal(made[seed], neutral(photograph(), 4, np.random.default_rng(seed))) for seed in range(40))
