from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pysr
from pysr.errors import InputError
from pysr.imaging.histogram import match_histogram
from pysr.plugin import Model
from pysr.testing import photo


def planes(height: Any, width: Any, seed: int = 0) -> Any:
    return np.ascontiguousarray(photo(height, width, seed).transpose(2, 0, 1))


def test_an_image_gets_its_own_tones_back() -> None:
    image = planes(40, 50)
    changed = image.copy() ** 2 * 0.5 + 0.1
    match_histogram(changed, image)
    assert np.abs(changed - image).max() < 1e-6


def test_equal_values_stay_equal_and_none_overtakes_another() -> None:
    image = np.array([[[0, 0, 3, 3, 9, 9]]], np.uint8)
    match_histogram(image, np.array([[[10, 20, 30]]], np.uint8))
    assert image.tolist() == [[[10, 10, 20, 20, 30, 30]]]


def test_ranks_are_middle_ranks_and_integers_are_rounded() -> None:
    for tensor in (False, True):
        for values, reference, wanted in (
            ([0, 0, 0, 9], [0, 1, 2, 3], [1, 1, 1, 3]),
            ([0, 5, 9], [10, 13], [10, 12, 13]),
        ):
            image, other = (np.array([[row]], np.uint8) for row in (values, reference))
            match_histogram(*(map(torch.from_numpy, (image, other)) if tensor else (image, other)))
            assert image.tolist() == [[wanted]]


def test_each_plane_has_a_distribution_of_its_own() -> None:
    image, reference = planes(60, 64, seed=1), planes(20, 32, seed=2)
    match_histogram(image, reference)
    for plane, wanted in zip(image, reference, strict=True):
        assert np.quantile(plane, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(wanted, [0.1, 0.5, 0.9]), abs=0.02)
        assert plane.min() >= wanted.min() and plane.max() <= wanted.max()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32])
def test_arrays_and_tensors_of_every_kind(dtype: Any) -> None:
    peak = 1 if dtype.is_floating_point else torch.iinfo(dtype).max
    numbers = torch.from_numpy(planes(20, 30)).double() * peak
    reference, image, wanted = (planes.to(dtype) for planes in (numbers, numbers.flip(-1) / 2, numbers.flip(-1)))
    match_histogram(image, reference)
    assert (image.double() - wanted.double()).abs().max() <= peak / 200
    if dtype != torch.bfloat16:
        array = (numbers.flip(-1) / 2).to(dtype).numpy()
        match_histogram(array, reference.numpy())
        assert np.array_equal(array, image.numpy())


class Darker(torch.nn.Module):
    def forward(self, low: Any) -> Any:
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2) * 0.7


def test_the_upscaler_matches_whole_images_whatever_the_patches_are(install: Callable[..., None]) -> None:
    install(Model("darker", (2,), lambda scale, variant: Darker(), "", receptive_field=0))
    image = Image.fromarray((photo(30, 40) * 255).astype(np.uint8))
    plain = np.asarray(pysr.load("darker").upscale(image)).astype(int)
    whole, patched = (
        np.asarray(pysr.load("darker", match_histogram=True, tiling=pysr.Tiling(patch)).upscale(image))
        for patch in ("auto", 8)
    )
    wanted = np.asarray(image).repeat(2, 0).repeat(2, 1).astype(int)
    assert np.abs(whole - wanted).max() <= 1 < np.abs(plain - wanted).max()
    assert np.array_equal(whole, patched)
    batch = torch.stack([torch.rand(3, 8, 9), torch.rand(3, 8, 9) / 4])
    result = pysr.load("darker", match_histogram=True).upscale(batch)
    assert torch.allclose(result, batch.repeat_interleave(2, -1).repeat_interleave(2, -2), atol=1e-5)


def test_what_is_drawn_at_random_is_not_matched(install: Callable[..., None]) -> None:
    install(Model("dice", (2,), lambda scale, variant: Darker(), "", stochastic=True))
    with pytest.raises(InputError, match="dice draws its result at random, tones included; leave match_histogram out"):
        pysr.load("dice", match_histogram=True)
