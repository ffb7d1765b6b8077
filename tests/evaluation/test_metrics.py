"""PSNR and SSIM against their formulas."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pysr.evaluation.metrics import psnr, ssim


def noise(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 1, shape)


def slow_ssim(x: NDArray[Any], y: NDArray[Any], peak: float) -> float:
    """Wang et al. 2004, position by position."""
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weight = np.outer(bell, bell) / bell.sum() ** 2
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (image[top : top + 11, left : left + 11] for image in (x, y))
            mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
            var_a, var_b = (weight * (a - mean_a) ** 2).sum(), (weight * (b - mean_b) ** 2).sum()
            covariance = (weight * (a - mean_a) * (b - mean_b)).sum()
            likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            values.append(likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(values))


def test_psnr_of_known_errors() -> None:
    target = torch.full((1, 8, 8), 0.5)
    assert psnr(target + 0.1, target) == pytest.approx(20, abs=1e-5)
    assert psnr(target * 255 + 1, target * 255, peak=255) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(target, target) == math.inf


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 4), st.sampled_from([1.0, 255.0]))
def test_psnr_is_the_formula_inside_the_border(height: int, width: int, shave: int, peak: float) -> None:
    height, width = height + 2 * shave, width + 2 * shave
    one, two = noise(2, height, width) * peak, noise(2, height, width, seed=1) * peak
    error = np.mean((one - two)[:, shave : height - shave, shave : width - shave] ** 2)
    found = psnr(torch.from_numpy(one), torch.from_numpy(two), shave=shave, peak=peak)
    assert found == pytest.approx(10 * math.log10(peak**2 / error), abs=1e-9)


def test_psnr_ignores_what_is_shaved() -> None:
    target = torch.rand(3, 10, 10)
    damaged = target.clone()
    damaged[..., 0, :] = damaged[..., -2:, :] = damaged[..., :2] = damaged[..., -1] = 9.0
    assert psnr(damaged, target, shave=2) == math.inf
    assert psnr(damaged, target, shave=1) < 20


def test_8_bit_images_are_compared_without_overflow() -> None:
    black, white = torch.zeros(1, 12, 12, dtype=torch.uint8), torch.full((1, 12, 12), 255, dtype=torch.uint8)
    assert psnr(black, white, peak=255) == pytest.approx(0)
    assert psnr(white, black, peak=255) == pytest.approx(0)
    assert ssim(black, white, peak=255) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("shape", "peak"), [((11, 11), 1.0), ((20, 14), 1.0), ((15, 13), 255.0)])
def test_ssim_is_the_formula(shape: tuple[int, int], peak: float) -> None:
    one = noise(*shape) * peak
    two = 0.7 * one + 0.3 * peak * noise(*shape, seed=1)
    expected = slow_ssim(one, two, peak)
    assert 0.1 < expected < 0.99
    assert ssim(torch.from_numpy(one), torch.from_numpy(two), peak=peak) == pytest.approx(expected, abs=1e-12)


def test_ssim_averages_planes_and_shaves() -> None:
    one, two = noise(3, 19, 18), noise(3, 19, 18, seed=1)
    inside = np.s_[:, 2:-2, 2:-2]
    expected = np.mean([slow_ssim(a, b, 1.0) for a, b in zip(one[inside], two[inside], strict=True)])
    assert ssim(torch.from_numpy(one), torch.from_numpy(two), shave=2) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_equal_images_is_one() -> None:
    image = torch.from_numpy(noise(12, 12)).float()
    assert ssim(image, image) == pytest.approx(1, abs=1e-12)
    assert ssim(image, 1 - image) < 0


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_measures_refuse_what_cannot_be_compared(measure: Any) -> None:
    image = torch.rand(3, 20, 20)
    with pytest.raises(ValueError, match=r"differ in shape: \(3, 20, 20\) and \(3, 20, 19\)"):
        measure(image, image[..., :19])
    with pytest.raises(ValueError, match=r"differ in shape"):  # never broadcast
        measure(image, image[:1])
    with pytest.raises(ValueError, match="20 x 20 image has nothing left after shaving 10"):
        measure(image, image, shave=10)
    with pytest.raises(ValueError, match="shave is -1; give 0 or more"):
        measure(image, image, shave=-1)
    with pytest.raises(ValueError, match="20 x 0 image"):
        measure(image[:, :0], image[:, :0])


def test_ssim_needs_eleven_pixels() -> None:
    with pytest.raises(ValueError, match=r"at least 11 x 11 pixels, and \(10, 16\) are left after shaving"):
        ssim(torch.rand(12, 18), torch.rand(12, 18), shave=1)
