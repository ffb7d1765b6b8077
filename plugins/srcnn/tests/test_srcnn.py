"""SRCNN as in the paper, and the initialisation of its shipped weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pysr
from pysr.testing import photo
from pysr.training import TrainingOptions, train
from pysr_srcnn.network import SRCNN
from pysr_srcnn.train import paper, paper_optimizers, pass_through

SET5 = Path(__file__).parents[4] / "shared" / "data" / "bench" / "Set5"


@pytest.mark.parametrize(("middle", "parameters"), [(1, 8_129), (5, 57_281)])
def test_the_networks_are_the_papers(middle: int, parameters: int) -> None:
    network = SRCNN(middle)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert 0.0009 < float(network.extract.weight.detach().std()) < 0.0011
    assert network.map.bias is not None and not network.map.bias.any()


@pytest.mark.parametrize("middle", [1, 5])
def test_the_shipped_recipe_starts_as_the_identity(middle: int) -> None:
    torch.manual_seed(0)
    network = SRCNN(middle)
    pass_through(network)
    enlarged = torch.from_numpy(photo(30, 40)[None, None, ..., 0])
    assert float((network(enlarged) - enlarged).abs().max().detach()) < 0.05


def test_the_papers_last_layer_learns_a_tenth_as_fast() -> None:
    network = SRCNN()
    (optimizer,) = paper_optimizers(network)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert [rates[id(p)] for p in network.parameters()] == [1e-4] * 4 + [1e-5] * 2


def test_the_papers_recipe_runs(tmp_path: Path) -> None:
    Image.fromarray((photo(48, 60) * 255).astype(np.uint8)).save(tmp_path / "a.png")
    short = replace(paper(), scales=(3,), steps=2)
    train("srcnn", [tmp_path], tmp_path / "out", recipe=short, options=TrainingOptions(variant="915", device="cpu"))
    assert short.shave == 8
    upscaler = pysr.load("srcnn", 3, variant="915", weights=tmp_path / "out" / "best.safetensors")
    assert upscaler.upscale(photo(8, 9)).shape == (24, 27, 3)


def test_mean_of_overlapping_patches_as_in_the_paper() -> None:
    """Whole patches, averaged: close to the exact result, but not equal, because the patches' borders count."""
    image = photo(90, 80)
    exact = pysr.load("srcnn", 2, device="cpu", precision="float32").upscale(image)
    up = pysr.load("srcnn", 2, device="cpu", precision="float32", tiling=pysr.Tiling(33, "mean", 19))
    patches: set[int] = set()
    mean = up.upscale(image, progress=lambda done, total: patches.add(total))
    assert patches == {6 * 5}  # at most 14 pixels apart
    difference = np.abs(mean - exact)
    assert 0 < difference.max() < 0.1
    assert difference.mean() < 0.002


@pytest.mark.skipif(not SET5.is_dir(), reason="the benchmark set Set5 is not beside the project")
def test_the_shipped_weights_reach_their_numbers() -> None:
    (evaluation,) = pysr.evaluate(["srcnn"], SET5, [2, 3, 4])
    assert all(result.psnr > least for result, least in zip(evaluation.results, (36.35, 32.4, 30.2), strict=True))


def test_bfloat16_does_not_round_the_image() -> None:
    """Without a skip connection all layers carry the image: bfloat16 would cost 0.07 dB on Set5 x2."""
    assert pysr.load("srcnn", 2, device="cpu", precision="bfloat16").precision == "float32"


def test_every_scale_and_variant_has_weights() -> None:
    (model,) = [model for model in pysr.models() if model.name == "srcnn"]
    assert set(model.weights) == {(scale, variant) for scale in model.scales for variant in model.variants}
