"""Sizes and parameters of the paper's networks, the adversarial loss, and training for a few steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pysr
from pysr.errors import InputError, PysrError, UnknownNameError
from pysr.evaluation.protocols import build_metrics, measure
from pysr.plugin import Model
from pysr.registry import core, override
from pysr.testing import measured_receptive_field, photo
from pysr.training import TrainingOptions, bicubic_downscale, crop_to_multiple, read_planes, train
from pysr_srgan.losses import SATURATED, adversarial
from pysr_srgan.network import Discriminator, ShuffledConv2d, SRResNet, begin_small, build
from pysr_srgan.plugin import HALF_FIELD, pysr_models
from pysr_srgan.train import gan_recipe, resnet_recipe

CPU = TrainingOptions(device="cpu", precision="float32")
ROOT = Path(__file__).parents[3]
PHOTO, BENCH = ROOT / "examples" / "chelsea.png", ROOT.parent / "shared" / "data" / "bench"


@pytest.mark.parametrize(("scale", "parameters"), [(2, 1_399_637), (4, 1_547_350), (8, 1_695_063)])
def test_the_generator_is_the_papers(scale: int, parameters: int) -> None:
    net = SRResNet(scale).eval()
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net(torch.rand(1, 3, 5, 7)).shape == (1, 3, 5 * scale, 7 * scale)


def test_the_discriminator_is_the_papers() -> None:
    net = Discriminator()
    assert sum(p.numel() for p in net.parameters()) == 23_563_649
    assert Discriminator(32)(torch.rand(2, 3, 32, 32)).shape == (2, 1)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_receptive_field_is_as_declared(scale: int) -> None:
    torch.manual_seed(0)
    found = measured_receptive_field(build(scale, None).eval(), 3, scale, HALF_FIELD)
    assert HALF_FIELD - 1 <= found <= HALF_FIELD


def test_what_the_blocks_find_is_added_to_the_first_layer() -> None:
    net = SRResNet().eval()
    norm = net.merge[1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    torch.nn.init.zeros_(norm.weight)
    low = torch.rand(1, 3, 5, 6)
    assert torch.equal(net.unlimited(low), net.last(net.enlarge(net.first(low))))


@pytest.mark.parametrize("kernel_size", [1, 5, 9])
def test_a_convolution_before_the_shuffle_is_one_behind_it(kernel_size: int) -> None:
    torch.manual_seed(0)
    layer = ShuffledConv2d(4, 3, kernel_size)
    planes = torch.rand(2, 16, 7, 6)
    shuffled = torch.nn.functional.pixel_shuffle(planes, 2)
    expected = torch.nn.functional.conv2d(shuffled, layer.weight, layer.bias, padding=kernel_size // 2)
    torch.testing.assert_close(layer(planes), expected)


def test_it_starts_shallow() -> None:
    net = SRResNet()
    begin_small(net)
    net.eval()
    block = net.blocks[0]
    planes = torch.rand(1, 64, 4, 4)
    assert torch.equal(block(planes), planes)


def test_the_discriminator_learns_to_tell_and_the_loss_follows_it() -> None:
    torch.manual_seed(0)
    loss = adversarial("16", "1e-3")
    truths, outputs = torch.rand(8, 3, 16, 16), torch.full((8, 3, 16, 16), 0.5) + torch.rand(8, 3, 16, 16) * 0.05
    before = loss(outputs, truths).item()
    for _ in range(12):
        told = loss.update(outputs, truths)
    assert loss(outputs, truths).item() > before
    assert told["of_truths"] > 0.6 and told["of_outputs"] < 0.4


def test_the_discriminator_sees_both_moved_alike() -> None:
    loss = adversarial("16")
    seen: list[torch.Tensor] = []
    loss.add_module("discriminator", Recording(seen))
    images = torch.rand(1, 3, 16, 16)
    for _ in range(20):
        loss.update(images, -images)
        loss(images, images)
    assert [part.shape for part in seen] == [(2, 3, 16, 16), (1, 3, 16, 16)] * 20
    assert all(torch.equal(target, -output) for target, output in seen[0::2])
    assert all(len({float(part[-1, 0, 8, 8]) for part in parts}) > 10 for parts in (seen[0::2], seen[1::2]))
    with pytest.raises(InputError, match="adversarial:16 takes images of 16 x 16 pixels, not 16 x 20; train with"):
        loss(torch.rand(1, 3, 20, 16), torch.rand(1, 3, 20, 16))


def test_only_its_own_step_changes_the_discriminator() -> None:
    loss = adversarial("16")
    loss.update(torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16))
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss.optimizers[0].zero_grad()
    output = torch.rand(4, 3, 16, 16, requires_grad=True)
    loss(output, output.detach()).backward()
    assert output.grad is not None and output.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in loss.discriminator.parameters())
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_a_discriminator_in_no_doubt_ends_the_training() -> None:
    loss = adversarial("16")
    loss.certain.fill_(SATURATED - 2)
    loss._check_saturation(1.0, 0.0)
    loss._check_saturation(0.9, 0.0)
    assert loss.certain == 0
    loss.certain.fill_(SATURATED - 1)
    with pytest.raises(PysrError, match="certain of everything"):
        loss._check_saturation(1.0, 0.0)


@pytest.mark.parametrize("options", [("15",), ("0",), ("x",), ("96", "2"), ("96", "1e-4", "1")])
def test_bad_options_are_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="multiple of 16"):
        adversarial(*options)


class Recording(torch.nn.Module):
    def __init__(self, seen: list[torch.Tensor]) -> None:
        super().__init__()
        self.seen, self.number = seen, torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return self.number * images.mean((1, 2, 3))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray((photo(48, 48, seed) * 255).astype(np.uint8)).save(folder / f"{seed}.png")
    return folder


def small(name: str, steps: int, adversary: str = "adversarial:32") -> Model:
    (model,) = (model for model in pysr_models() if model.name == name)
    recipe = resnet_recipe() if name == "srresnet" else replace(gan_recipe(), losses={"l1": 1.0, adversary: 1e-3})
    recipe = replace(recipe, steps=steps, batch=2, patch=32, rescale_augment=(1.0,), validate_every=2)
    return replace(model, network=lambda scale, variant: SRResNet(scale, 1), recipes={"small": lambda: recipe})


def test_srgan_names_the_package_of_a_missing_loss(images: Path, tmp_path: Path) -> None:
    (model,) = (model for model in pysr_models() if model.name == "srgan")
    with override([core()]), pytest.raises(UnknownNameError, match="it comes with the package pysr-perceptual"):
        train(model, [images], tmp_path / "out", options=CPU)


def test_srresnet_trains(images: Path, tmp_path: Path) -> None:
    assert train(small("srresnet", 2), [images], tmp_path / "out", options=CPU).exists()


@pytest.mark.parametrize(
    ("adversary", "learns", "told"),
    [("adversarial:32", "discriminator.", ".of_truths"), ("projected", "heads.relu4_4.", ".relu4_4")],
)
def test_a_gan_resumes_to_the_same_bits(adversary: str, learns: str, told: str, images: Path, tmp_path: Path) -> None:
    model = small("srgan", 4, adversary)
    whole = train(model, [images], tmp_path / "whole", options=CPU)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyError("stop")

    with pytest.raises(KeyError):
        train(model, [images], tmp_path / "parts", options=CPU, progress=stop)
    parts = train(model, [images], tmp_path / "parts", options=CPU, resume=True)
    first, second = load_file(whole), load_file(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)
    newest = [sorted((tmp_path / name / "checkpoints").iterdir())[-1] for name in ("whole", "parts")]
    one, other = (load_file(path) for path in newest)
    assert any(learns in name for name in one) and one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert f"{adversary}{told}" in (tmp_path / "whole" / "log.csv").read_text().splitlines()[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_shipped_weights_beat_bicubic_on_a_photograph(precision: str) -> None:
    """By 0.75 dB where that was measured; bfloat16 costs less than a hundredth."""
    truth, metrics = read_planes(PHOTO), build_metrics(["psnr"])
    bicubic, srresnet = (
        measure(pysr.load(name, 4, device="cpu", precision=precision), "photo", truth, metrics).psnr
        for name in ("bicubic", "srresnet")
    )
    assert srresnet > bicubic + 0.7


@pytest.mark.parametrize(("name", "scale", "most"), [("srresnet", 2, 8), ("srresnet", 4, 8), ("srgan", 4, 15)])
@pytest.mark.parametrize("level", [0, 128, 230, 255])
def test_plain_images_stay_plain_up_to_their_borders(name: str, scale: int, most: int, level: int) -> None:
    """Zeros around a bright image are an edge that training images do not have."""
    output = pysr.load(name, scale, device="cpu").upscale(np.full((48, 48, 3), level, np.uint8))
    assert np.abs(output.astype(int) - level).max() <= most


def test_srgan_is_sharper_keeps_colours_and_draws_no_grid() -> None:
    low = bicubic_downscale(crop_to_multiple(read_planes(PHOTO), 4), 4).clamp(0, 1).float()
    srresnet, srgan = (pysr.load(name, 4, device="cpu").upscale(low) for name in ("srresnet", "srgan"))
    assert detail(srgan).mean() > 1.2 * detail(srresnet).mean()
    assert (srgan - srresnet).mean((-2, -1)).abs().max() < 2 / 255
    places = (srgan - srresnet).unfold(-2, 4, 4).unfold(-2, 4, 4).mean((-4, -3))
    assert (places - places.mean((-2, -1), keepdim=True)).abs().mean() < 0.1 * detail(srgan).mean()


def detail(image: torch.Tensor) -> torch.Tensor:
    around = image[:, :-2, 1:-1] + image[:, 2:, 1:-1] + image[:, 1:-1, :-2] + image[:, 1:-1, 2:]
    return (4 * image[:, 1:-1, 1:-1] - around).abs()


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmark sets are not beside the project")
def test_srresnet_reaches_its_numbers() -> None:
    (evaluation,) = pysr.evaluate(["srresnet"], BENCH / "Set5", [2, 4])
    assert all(result.psnr > least for result, least in zip(evaluation.results, (37.1, 31.4), strict=True))


@pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmark sets are not beside the project")
def test_srgan_looks_a_fifth_nearer_to_the_truth_than_srresnet() -> None:
    pytest.importorskip("pysr_perceptual", reason="the plugin pysr-perceptual is not installed")
    pair = pysr.evaluate(["srresnet", "srgan"], BENCH / "Set14", [4], metrics=["psnr", "perceptual"])
    srresnet, srgan = (evaluation.results[0] for evaluation in pair)
    assert srgan.scores["perceptual"] <= 0.8 * srresnet.scores["perceptual"]
    assert 25 < srgan.psnr < 29


def test_the_output_is_limited_in_evaluation_only() -> None:
    torch.manual_seed(0)
    net, low = SRResNet(2, 1), torch.full((2, 3, 8, 8), 0.3)
    assert (net(low) == net.unlimited(low)).all()
    net.eval()
    assert (net(low) - 0.3).abs().max() < 1e-6 < (net.unlimited(low) - 0.3).abs().max()
