"""Johnson's networks as in the paper, and recipes that run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import avg_pool2d

import pysr
import pysr.training
from pysr.errors import InputError
from pysr.evaluation.protocols import build_metrics, measure
from pysr.plugin import Model, Recipe
from pysr.registry import registry
from pysr.testing import measured_receptive_field, photo
from pysr.training import TrainingOptions, read_planes, recipe, save_weights, train
from pysr_perceptual.network import Residual, StyleTransfer, SuperResolution
from pysr_perceptual.plugin import pysr_models
from pysr_perceptual.train import begin_at_x8

CPU = TrainingOptions(device="cpu", precision="float32")
SR, STYLE = pysr_models()
PHOTO = Path(__file__).parents[3] / "examples" / "chelsea.png"


@pytest.mark.parametrize(("model", "scale", "parameters"), [(SR, 4, 401_859), (SR, 8, 438_915), (STYLE, 1, 424_899)])
def test_the_networks_are_the_papers(model: Model, scale: int, parameters: int) -> None:
    network = model.network(scale, None).eval()
    assert size_of(network) == parameters
    with torch.inference_mode():
        output = network(torch.rand(2, 3, 8, 12))
    assert output.shape == (2, 3, 8 * scale, 12 * scale)
    assert output.min() > -0.1 and output.max() < 1.1


def size_of(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_style_networks_width_is_half_of_the_papers() -> None:
    assert size_of(StyleTransfer(width=32)) == 1_679_235


def test_residual_blocks_add_and_end_without_relu() -> None:
    block = Residual(2).eval()
    convolution = block.layers[-2]
    assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
    nn.init.zeros_(convolution.weight)
    nn.init.constant_(convolution.bias, -1)
    planes = torch.rand(1, 2, 9, 8)
    assert torch.allclose(block(planes), planes - 1, atol=1e-4)


def test_black_and_white_are_within_reach() -> None:
    network = SuperResolution(4).eval()
    last = network.layers[-1]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    nn.init.zeros_(last.weight)
    for bias, wanted in ((0.0, 0.5), (-2.0, 0.0), (2.0, 1.0)):
        nn.init.constant_(last.bias, bias)
        assert float(network(torch.rand(1, 3, 4, 4)).detach().mean().clamp(0, 1)) == wanted


@pytest.mark.parametrize("scale", SR.scales)
def test_the_receptive_field(scale: int) -> None:
    torch.manual_seed(0)
    assert measured_receptive_field(SR.network(scale, None).eval(), 3, scale, 20) == SR.receptive_field


@pytest.mark.parametrize("model", [SR, STYLE], ids=lambda model: model.name)
def test_patches_give_what_the_whole_image_gives(model: Model, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_weights(model.network(model.scales[0], None), tmp_path / "random.safetensors", {})
    whole, patched = (
        pysr.load(model.name, weights=tmp_path / "random.safetensors", device="cpu", tiling=pysr.Tiling(patch))
        for patch in ("auto", 1)
    )
    assert whole.precision == "float32"
    assert model.receptive_field
    image = photo(4 * model.receptive_field + 9, 4 * model.receptive_field + 15)
    assert np.abs(whole.upscale(image) - patched.upscale(image)).max() <= 1e-5


def test_the_style_networks_reach_at_every_place_of_its_grid() -> None:
    torch.manual_seed(0)
    network, reach = StyleTransfer().eval(), 0
    for place in range(72, 76):
        image = torch.rand(1, 3, 148, 148, requires_grad=True)
        network(image)[..., place, place].sum().backward()
        assert image.grad is not None
        rows, columns = image.grad[0].abs().sum(0).nonzero(as_tuple=True)
        reach = max(reach, *(int((found - place).abs().max()) for found in (rows, columns)))
    assert reach == STYLE.receptive_field


def test_at_x8_it_begins_as_the_network_for_x4() -> None:
    torch.manual_seed(0)
    begun, small = SuperResolution(8), SuperResolution(4)
    begin_at_x8(begun)
    truth = read_planes(PHOTO)[None, :, :192, :192]
    output = begun.eval()(avg_pool2d(truth, 8)).detach()
    assert torch.corrcoef(torch.stack([output.flatten(), truth.flatten()]))[0, 1] > 0.9
    before = {name: value.clone() for name, value in small.state_dict().items()}
    begin_at_x8(small)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def scores(model: str, scale: int, variant: str | None = None) -> Mapping[str, float]:
    metrics = build_metrics(["psnr", "perceptual"])
    return measure(pysr.load(model, scale, variant=variant, device="cpu"), "photo", read_planes(PHOTO), metrics).scores


def test_features_cost_psnr_and_gain_in_perception() -> None:
    features, pixels = (scores("perceptual", 4, variant) for variant in ("features", "pixels"))
    assert features["psnr"] < pixels["psnr"] - 0.05
    assert features["perceptual"] < pixels["perceptual"]


def test_at_x8_it_is_more_exact_than_bicubic() -> None:
    features, pixels = (scores("perceptual", 8, variant)["psnr"] for variant in ("features", "pixels"))
    assert scores("bicubic", 8)["psnr"] < features < pixels


@pytest.mark.parametrize("level", [0, 128, 255])
def test_plain_images_stay_plain_but_for_their_outermost_pixels(level: int) -> None:
    output = pysr.load("perceptual", device="cpu").upscale(np.full((48, 48, 3), level, np.uint8))
    off = np.abs(output.astype(int) - level)
    assert off[8:-8, 8:-8].max() <= 9 and off.mean() < 4


@pytest.mark.parametrize("style", STYLE.variants)
def test_a_style_draws_plain_images_evenly_to_their_outermost_pixels(style: str) -> None:
    upscaler = pysr.load("perceptual-style", variant=style, device="cpu")
    for colour in ((255, 255, 255), (0, 0, 0), (128, 128, 128), (40, 90, 200)):
        result = upscaler.upscale(np.broadcast_to(np.array(colour, np.uint8), (61, 47, 3)))
        assert np.ptp(result.astype(int), axis=(0, 1)).max() <= 1


def test_a_style_has_colours_of_its_own() -> None:
    gray = np.asarray(Image.open(PHOTO).convert("L").convert("RGB"))[:96, :96]
    one, other = (pysr.load("perceptual-style", variant=style, device="cpu").upscale(gray) for style in STYLE.variants)
    assert min(np.ptp(result.astype(int), axis=-1).mean() for result in (one, other)) > 20
    assert np.abs(one.astype(int) - other).mean() > 20
    assert one.shape == gray.shape


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for i in range(2):
        Image.fromarray((photo(60, 72, seed=i) * 255).astype(np.uint8)).save(tmp_path / "images" / f"{i}.png")
    return tmp_path / "images"


@pytest.mark.parametrize(("name", "scale"), [("shipped", 4), ("pixel", 4), ("shipped-x8", 8), ("pixel-x8", 8)])
def test_recipes_run(name: str, scale: int, data: Path, tmp_path: Path) -> None:
    full = recipe(SR, name)
    assert isinstance(full, Recipe)
    assert full.scales == (scale,)
    small = replace(full, steps=2, batch=2, patch=48, rescale_augment=(1.0,))
    best = train(SR, [data], tmp_path / "out", recipe=small, validation=data, options=CPU)
    upscaler = pysr.load("perceptual", scale, weights=best)
    assert upscaler.upscale(np.zeros((5, 6, 3), np.uint8)).shape == (5 * scale, 6 * scale, 3)


def test_a_style_is_learnt_from_an_image(data: Path, tmp_path: Path) -> None:
    full = recipe(STYLE, style=str(data / "0.png"))
    assert isinstance(full, Recipe)
    small = replace(full, steps=2, batch=2, patch=48)
    best = train(STYLE, [data], tmp_path / "out", recipe=small, options=CPU)
    assert pysr.load("perceptual-style", weights=best).upscale(np.zeros((5, 6, 3), np.uint8)).shape == (5, 6, 3)
    assert (tmp_path / "out" / "log.csv").read_text().splitlines()[0].count("loss_") == 3
    with pytest.raises(InputError, match="no style image was given; give one"):
        train(STYLE, [data], tmp_path / "other")


def test_the_papers_recipe() -> None:
    paper = recipe(SR, "paper")
    assert isinstance(paper, Recipe)
    assert paper.losses == {"perceptual:vgg16/relu2_2": 1.0}
    assert (paper.batch, paper.patch, paper.steps) == (4, 288, 200_000)
    names = [model.recipes for model in pysr_models()]
    assert [list(each) for each in names] == [["shipped", "pixel", "shipped-x8", "pixel-x8", "paper"], ["shipped"]]
    assert registry().model("perceptual-style").domain == "style"
