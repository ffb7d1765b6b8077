"""The mean over the eight symmetries: what it computes, in patches and whole, and who is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pysr
from pysr import Tiling
from pysr.errors import InputError
from pysr.plugin import Model
from pysr.testing import photo

Install = Callable[..., None]
EXACT = {"device": "cpu", "precision": "float32"}


class Skewed(nn.Module):
    """A network that treats no direction like another: random weights that are no parameters."""

    def __init__(self, scale: int, channels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.scale = scale
        self.kernel = torch.rand(channels * scale**2, channels, 5, 5, generator=generator) / (25 * channels)

    def forward(self, low: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(nn.functional.conv2d(low, self.kernel, padding=2), self.scale)


def skewed(colour: Any, **fields: Any) -> Model:
    channels = 3 if colour == "rgb" else 1
    return Model(
        "skewed", (2, 3), lambda scale, _: Skewed(scale, channels), "", colour=colour, receptive_field=2, **fields
    )


@pytest.mark.parametrize("colour", ["rgb", "luma", "any"])
@pytest.mark.parametrize("scale", [2, 3])
def test_it_is_the_mean_over_flips_and_turns(install: Install, colour: str, scale: int) -> None:
    install(skewed(colour, preprocess=("luma",) if colour == "luma" else ()))
    single, ensemble = (pysr.load("skewed", scale, ensemble=on, **EXACT) for on in (False, True))
    image = photo(13, 18)[..., 0] if colour == "luma" else photo(13, 18)  # in colour, clipping comes in between
    turned = [np.rot90(image, quarter) for quarter in range(4)]
    results = [np.rot90(single.upscale(np.ascontiguousarray(one)), -k) for k, one in enumerate(turned)]
    mirrored = [single.upscale(np.ascontiguousarray(one[:, ::-1]))[:, ::-1] for one in turned]
    results += [np.rot90(one, -k) for k, one in enumerate(mirrored)]
    found = ensemble.upscale(image)
    assert np.abs(found - np.mean(results, 0)).max() <= 1e-6
    assert np.abs(found - results[0]).max() > 0.01
    assert ensemble.model.name == "skewed, ensemble"


@pytest.mark.parametrize("multiple_of", [1, 4])
def test_patches_give_what_the_whole_image_gives(install: Install, multiple_of: int) -> None:
    install(skewed("rgb", multiple_of=multiple_of))
    image = photo(61, 83)
    whole, cut = (pysr.load("skewed", 2, ensemble=True, tiling=Tiling(patch), **EXACT) for patch in (128, 20))
    assert np.abs(whole.upscale(image) - cut.upscale(image)).max() <= 1e-6


def test_every_stage_of_a_chain_is_averaged(install: Install) -> None:
    install(skewed("rgb"))
    once = pysr.load("skewed", 2, ensemble=True, **EXACT)
    image = photo(9, 12)
    chain = pysr.load("skewed:2+skewed:2", ensemble=True, **EXACT)
    assert np.abs(chain.upscale(image) - once.upscale(once.upscale(image))).max() <= 1e-6


def test_models_that_draw_are_refused(install: Install) -> None:
    install(skewed("rgb", stochastic=True))
    with pytest.raises(InputError, match="a mean of draws is not a draw; leave ensemble out"):
        pysr.load("skewed", 2, ensemble=True)
