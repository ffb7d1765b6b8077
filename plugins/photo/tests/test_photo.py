"""The network without normalisation, what limits its output, and training for a few steps."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pysr
from pysr.plugin import Model, Recipe, resize
from pysr.registry import core, override
from pysr.testing import measured_receptive_field, photo
from pysr.training import TrainingOptions, train
from pysr_photo.network import PhotoNet, build, convolutions, fill_from_srresnet, fold_normalization
from pysr_photo.plugin import HALF_FIELD, pysr_models
from pysr_photo.train import recipe, sharp_recipe
from pysr_srgan.network import SRResNet

CPU = TrainingOptions(device="cpu", precision="float32")
ROOT = Path(__file__).parents[3]
PHOTO, BENCH = ROOT / "examples" / "chelsea.png", ROOT.parent / "shared" / "data" / "bench"


def srresnet(scale: int = 4, blocks: int = 2) -> SRResNet:
    """An SRResNet whose normalisations have statistics, and whose parameters are not those of a new one."""
    torch.manual_seed(0)
    net = SRResNet(scale, blocks)
    for _ in range(3):
        net(torch.rand(4, 3, 12, 12))
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.2, 2)
            torch.nn.init.uniform_(layer.bias, -0.5, 0.5)
    return net.eval()


@pytest.mark.parametrize("scale", [2, 4])
def test_folding_changes_no_output_and_balances_the_blocks(scale: int) -> None:
    net = srresnet(scale)
    low = torch.rand(2, 3, 9, 11)
    before = net.unlimited(low)
    torch.testing.assert_close(fold_normalization(net).unlimited(low), before, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in net.modules())
    for block in net.blocks:
        first, second = (layer.weight.norm().item() for layer in convolutions(block))
        assert first == pytest.approx(second)


def test_a_folded_srresnet_has_the_state_of_a_photonet() -> None:
    net = PhotoNet(4, 2)
    net.load_state_dict(fold_normalization(srresnet(4)).state_dict())
    assert net(torch.rand(1, 3, 5, 7)).shape == (1, 3, 20, 28)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_receptive_field_is_as_declared(scale: int) -> None:
    torch.manual_seed(0)
    found = measured_receptive_field(build(scale, None).eval(), 3, scale, HALF_FIELD)
    assert HALF_FIELD - 1 <= found <= HALF_FIELD


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("level", [(0.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.2, 0.5, 0.9)])
def test_flat_images_stay_flat_up_to_their_borders(scale: int, level: tuple[float, float, float]) -> None:
    low = torch.tensor(level).view(1, 3, 1, 1).expand(1, 3, 12, 12).contiguous()
    with torch.no_grad():
        output = PhotoNet(scale, 2)(low)
    torch.testing.assert_close(output, resize(low, scale, kernel="nearest"), rtol=0, atol=1e-6)


def test_patterns_without_colour_stay_without() -> None:
    torch.manual_seed(0)
    pattern = torch.rand(1, 1, 16, 16).round().expand(1, 3, 16, 16).contiguous()
    with torch.no_grad():
        output = PhotoNet(4, 2)(pattern)
    assert output.std((2, 3)).min() > 0.01
    torch.testing.assert_close(output, output[:, :1].expand_as(output), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_training_starts_as_srresnet(scale: int) -> None:
    net, clean = PhotoNet(scale), pysr.load("srresnet", scale, device="cpu", precision="float32")
    fill_from_srresnet(net)
    low = torch.from_numpy(photo(24, 24)).permute(2, 0, 1)
    with torch.no_grad():
        found = net(low[None])[0].clamp(0, 1)
    assert (found - clean.upscale(low)).abs().mean() < 1e-3  # the rest is what the limits take


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray((photo(96, 96, seed) * 255).astype(np.uint8)).save(folder / f"{seed}.png")
    return folder


def small(name: str, steps: int) -> tuple[Model, Recipe]:
    """A model with one residual block, and its recipe for a few steps, without losses of other packages."""
    (model,) = (model for model in pysr_models() if model.name == name)
    shipped = recipe() if name == "photo" else replace(sharp_recipe(), losses={"l1": 1.0})
    short = replace(
        shipped, init_weights=None, steps=steps, batch=4, patch=32, rescale_augment=(1.0,), validate_every=2
    )
    return replace(model, network=lambda scale, variant: PhotoNet(scale, 1), weights={}), short


@pytest.mark.parametrize("name", ["photo", "photo-sharp"])
def test_a_training_on_degraded_patches_resumes_to_the_same_bits(name: str, images: Path, tmp_path: Path) -> None:
    model, short = small(name, 4)
    whole = train(model, [images], tmp_path / "whole", recipe=short, options=CPU)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyError("stop")

    with pytest.raises(KeyError):
        train(model, [images], tmp_path / "parts", recipe=short, options=CPU, progress=stop)
    parts = train(model, [images], tmp_path / "parts", recipe=short, options=CPU, resume=True)
    first, second = load_file(whole), load_file(parts)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_recipe_without_its_degradation_is_refused(images: Path, tmp_path: Path) -> None:
    model, short = small("photo", 1)
    with override([core()]), pytest.raises(pysr.UnknownNameError, match="no degradation called 'phto'; did you mean"):
        train(model, [images], tmp_path / "out", recipe=replace(short, degradation="phto"), options=CPU)
    assert not (tmp_path / "out").exists()


def score(model: str, scale: int, degradation: str, folder: Path) -> float:
    (evaluation,) = pysr.evaluate([model], folder, [scale], metrics=["psnr"], degradation=degradation)
    return evaluation.results[0].psnr


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    shutil.copy(PHOTO, folder)
    return folder


@pytest.mark.parametrize(("degradation", "gain"), [("photo-mild", -0.05), ("photo-medium", 0.2), ("photo-strong", 1.0)])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_degraded_photograph_comes_out_better_or_as_good_as_by_srresnet(
    scale: int, degradation: str, gain: float, photographs: Path
) -> None:
    photo, srresnet = (score(name, scale, degradation, photographs) for name in ("photo", "srresnet"))
    assert photo > srresnet + gain


@pytest.mark.parametrize("scale", [2, 4])
def test_the_shipped_weights_keep_flat_areas_flat_and_patterns_gray(scale: int) -> None:
    upscaler = pysr.load("photo", scale, device="cpu", precision="float32")
    for level in (0, 128, 255):
        flat = upscaler.upscale(np.full((32, 32, 3), level, np.uint8)).astype(int)
        assert np.abs(flat - level).max() <= 2
    checks = np.where(np.indices((32, 32)).sum(0) % 2, 255, 0).astype(np.uint8)[..., None].repeat(3, 2)
    found = upscaler.upscale(checks).astype(int)
    assert np.abs(found - found[..., :1]).max() <= 8


def test_a_photograph_as_jpeg_gets_its_colours_and_size(tmp_path: Path) -> None:
    Image.open(PHOTO).convert("RGB").crop((100, 60, 196, 132)).save(tmp_path / "small.jpg", quality=40)
    image = pysr.upscale(tmp_path / "small.jpg", "photo", scale=4, device="cpu")
    assert image.size == (384, 288) and image.mode == "RGB"


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmark sets are not beside the project")
def test_photo_beats_bicubic_on_degraded_images() -> None:
    photo, bicubic = (score(name, 4, "photo-medium", BENCH / "Set5") for name in ("photo", "bicubic"))
    assert photo > bicubic + 0.6
