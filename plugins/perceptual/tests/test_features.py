"""Feature networks: what goes in, what comes out, and where the weights come from."""

import hashlib
import io
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pysr.errors import InputError, WeightsError
from pysr.imaging.degrade import bicubic, crop_to_multiple
from pysr.plugin import resize
from pysr.testing import photo
from pysr.training import read_planes
from pysr_perceptual import features, fetch
from pysr_perceptual.features import NETWORKS, Download, Features
from pysr_perceptual.trunks import smallest_side

BENCH = Path(__file__).parents[3].parent / "shared" / "data" / "bench"
needs_bench = pytest.mark.skipif(not BENCH.is_dir(), reason="the benchmark sets are not beside the project")
COLOUR = torch.tensor([0.2, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
SHIPPED = ("vgg19-distilled", "squeezenet", "efficientnet-lite0")


def first_input(network: Features, name: str) -> Tensor:
    """What the layer of that name is given for `COLOUR`: the same at every pixel, (3,)."""
    given: list[Tensor] = []
    network.trunk.get_submodule(name).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    network(COLOUR)
    assert given[0].flatten(2).std(2).max() < 1e-4
    return given[0][0, :, 0, 0]


def test_squeezenet_is_given_blue_green_red_of_255_less_the_mean() -> None:
    wanted = torch.tensor([255 - 103.939, 127.5 - 116.779, 51 - 123.68])
    assert torch.allclose(first_input(Features("squeezenet", ["relu1"]), "conv1"), wanted, atol=1e-3)


def test_the_distilled_network_makes_the_same_of_red_green_blue() -> None:
    wanted = torch.tensor([255 - 103.939, 127.5 - 116.779, 51 - 123.68])
    assert torch.allclose(first_input(Features("vgg19-distilled", ["relu1_1"]), "conv1_1"), wanted, atol=1)


def test_efficientnet_is_given_red_green_blue_of_255_less_127_in_parts_of_128() -> None:
    wanted = torch.tensor([51 - 127, 127.5 - 127, 255 - 127]) / 128
    assert torch.allclose(first_input(Features("efficientnet-lite0", ["relu0"]), "relu0"), wanted, atol=1e-5)


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict as torchvision has it, classifier and all, whose name ends in its digest; random numbers."""
    trunk = NETWORKS["vgg16"].trunk()
    places = [place for place, layer in enumerate(trunk) if isinstance(layer, torch.nn.Conv2d)]
    tensors = {
        f"features.{place}.{kind}": getattr(trunk[place], kind).detach()
        for place in places
        for kind in ("weight", "bias")
    }
    path = tmp_path_factory.mktemp("public") / "vgg.pth"
    torch.save({**tensors, "classifier.0.bias": torch.zeros(4)}, path)
    return path.rename(path.with_stem(f"vgg16-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"))


def test_torchvisions_networks_are_given_standardised_red_green_blue(vgg16: Path) -> None:
    wanted = torch.tensor([(0.2 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert torch.allclose(first_input(Features("vgg16", ["relu1_1"], vgg16), "conv1_1"), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "vgg19-distilled",
            {"relu1_2": (16, 64), "relu2_2": (32, 32), "relu3_4": (64, 16), "relu4_4": (128, 8), "relu5_1": (128, 4)},
        ),
        (
            "squeezenet",
            {"relu1": (64, 31), "fire2": (128, 15), "fire3": (128, 15), "fire5": (256, 7), "fire7": (384, 3)}
            | {"fire9": (512, 3)},
        ),
        (
            "efficientnet-lite0",
            {"relu0": (32, 32), "relu1": (96, 16), "relu3": (144, 8), "relu5": (240, 4), "relu8": (480, 4)},
        ),
    ],
)
def test_shapes(name: str, wanted: dict[str, tuple[int, int]]) -> None:
    found = Features(name, list(wanted))(torch.rand(2, 3, 64, 64))
    assert {layer: tuple(planes.shape) for layer, planes in found.items()} == {
        layer: (2, width, side, side) for layer, (width, side) in wanted.items()
    }


@pytest.mark.parametrize(
    ("name", "last", "parameters"), [("vgg16", "relu5_3", 14_714_688), ("vgg19", "relu5_4", 20_024_384)]
)
def test_the_public_networks_are_torchvisions(name: str, last: str, parameters: int) -> None:
    with torch.device("meta"):
        trunk = NETWORKS[name].trunk()
        assert trunk(torch.empty(1, 3, 64, 64)).shape == (1, 512, 4, 4)
    assert {layer.padding_mode for layer in trunk if isinstance(layer, torch.nn.Conv2d)} == {"zeros"}
    assert NETWORKS[name].layers[-1] == last
    assert sum(p.numel() for p in trunk.parameters()) == parameters


def copies(image: Tensor) -> list[Tensor]:
    """(1, 3, H, W) shrunk by 2, 4 and 8 and enlarged again."""
    return [resize(bicubic(image, scale), scale).clamp(0, 1) for scale in (2, 4, 8)]


def distances(network: Features, image: Tensor) -> dict[str, list[float]]:
    """Relative squared error of the features of the three copies, by layer."""
    true = network(image)
    found = [network(copy) for copy in copies(image)]
    return {
        layer: [float((f[layer] - planes).square().sum() / planes.square().sum()) for f in found]
        for layer, planes in true.items()
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_features_move_away_as_detail_is_lost(name: str) -> None:
    image = torch.from_numpy(photo(96, 96)).permute(2, 0, 1)[None]
    for layer, (x2, x4, x8) in distances(Features(name, NETWORKS[name].layers[:5]), image).items():
        assert 0 < x2 < x4 < x8, layer


@needs_bench
def test_the_shipped_numbers_are_those_that_were_checked() -> None:
    bird, zebra = (
        crop_to_multiple(read_planes(BENCH / name), 8)[None] for name in ("Set5/bird.png", "Set14/zebra.png")
    )
    distilled = distances(Features("vgg19-distilled", ["relu3_1"]), bird)["relu3_1"]
    assert distilled == pytest.approx([0.011, 0.066, 0.192], abs=0.002)
    squeezed = distances(Features("squeezenet", ["fire5"]), zebra)["fire5"]
    assert squeezed == pytest.approx([0.10, 0.37, 0.63], abs=0.02)


@pytest.mark.parametrize("name", SHIPPED)
def test_frozen_in_float32_and_gray_is_three_equal_planes(name: str) -> None:
    network = Features(name, NETWORKS[name].layers[:3])
    assert not any(p.requires_grad for p in network.parameters())
    gray = torch.rand(1, 1, 48, 48)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = network(gray)
    for layer, planes in network(gray.repeat(1, 3, 1, 1)).items():
        assert inside[layer].dtype == torch.float32
        assert torch.equal(inside[layer], planes)


@pytest.mark.parametrize(
    ("name", "layer"), [("vgg19-distilled", "relu5_1"), ("squeezenet", "fire9"), ("squeezenet", "relu1")]
)
def test_the_smallest_image_is_told(name: str, layer: str) -> None:
    network = Features(name, [layer])
    side = smallest_side(network.trunk)
    assert network(torch.rand(1, 3, side, side))[layer].numel()
    with pytest.raises(RuntimeError):
        network.trunk(torch.rand(1, 3, side - 1, side - 1))
    with pytest.raises(
        InputError, match=rf"{side - 1} x {side} pixels is too small for {layer}; give at least {side} per"
    ):
        network(torch.rand(1, 3, side, side - 1))


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="no feature network 'alexnet'; use vgg19-distilled, squeezenet"):
        Features("alexnet", ["relu1"])
    with pytest.raises(InputError, match=r"squeezenet has no layer 'relu2_2'; it has relu1, fire2"):
        Features("squeezenet", ["relu1", "relu2_2"])


def test_a_file_of_the_users(vgg16: Path, tmp_path: Path) -> None:
    image = torch.rand(1, 3, 32, 32)
    tensors = torch.load(vgg16, weights_only=True)
    save_file(tensors, tmp_path / "vgg.safetensors")
    one, other = (
        Features("vgg16", ["relu2_2"], file)(image)["relu2_2"] for file in (vgg16, tmp_path / "vgg.safetensors")
    )
    assert torch.equal(one, other)
    torch.nn.init.zeros_(tensors["features.0.weight"])
    torch.save(tensors, tmp_path / "other.pth")
    assert not torch.equal(one, Features("vgg16", ["relu2_2"], tmp_path / "other.pth")(image)["relu2_2"])
    with pytest.raises(WeightsError, match=r"not for vgg19 in torchvision's format"):
        Features("vgg19", ["relu2_2"], vgg16)
    for number, other in enumerate(({"features.0.weight": tensors["features.0.weight"]}, [1.5], {"features.x": 1.5})):
        torch.save(other, tmp_path / f"{number}.pth")
        with pytest.raises(WeightsError, match=r"\d.pth is not for vgg16 in torchvision's format"):
            Features("vgg16", ["relu2_2"], tmp_path / f"{number}.pth")
    (tmp_path / "broken.pth").write_bytes(vgg16.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"broken\.pth cannot be read"):
        Features("vgg16", ["relu2_2"], tmp_path / "broken.pth")


@pytest.fixture
def public(vgg16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """VGG-16's weights behind a URL without a network, and an empty folder for what is downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    download = Download(vgg16.as_uri(), 59, "none")
    monkeypatch.setitem(features.NETWORKS, "vgg16", replace(NETWORKS["vgg16"], weights=download))
    return download


def test_nothing_is_downloaded_unless_asked(public: Download, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"not on this machine; `python -m pysr_perceptual\.fetch vgg16` downloads 59 MB"
    ):
        Features("vgg16", ["relu2_2"])
    assert not (tmp_path / "cache").exists()
    path = fetch.fetch(public)
    assert path == public.file == fetch.fetch(public)
    assert path.is_relative_to(tmp_path / "cache")
    assert Features("vgg16", ["relu2_2"])(torch.rand(1, 3, 32, 32))["relu2_2"].shape == (1, 128, 16, 16)


def test_what_was_downloaded_is_checked(public: Download) -> None:
    wrong = replace(public, url=public.url.replace(public.digest, "00000000"))
    with pytest.raises(WeightsError, match="could not be downloaded"):
        fetch.fetch(wrong)  # there is no such file
    Path(wrong.url.removeprefix("file://")).write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"could not be downloaded \(invalid hash"):
        fetch.fetch(wrong)
    assert not wrong.file.exists()
    fetch.fetch(public).write_bytes(b"something else")
    with pytest.raises(WeightsError, match="delete it and download it again"):
        Features("vgg16", ["relu2_2"])


def test_the_command_names_its_networks(
    public: Download, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["fetch", "vgg16"])
    fetch.main()
    assert capsys.readouterr().out == f"{public.file}\n"
    monkeypatch.setattr("sys.argv", ["fetch", "squeezenet"])
    with pytest.raises(SystemExit):
        fetch.main()
    assert "choose from vgg16, vgg19" in capsys.readouterr().err.replace("'", "")


def test_damaged_files_are_weights_errors(tmp_path: Path) -> None:
    file, chance = io.BytesIO(), random.Random(0)
    torch.save({"features.0.weight": torch.zeros(2, 3), "features.0.bias": torch.zeros(2)}, file)
    sound = file.getvalue()
    for _ in range(200):
        damaged = bytearray(sound)
        for _ in range(3):
            damaged[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
        (tmp_path / "a.pth").write_bytes(damaged)
        with pytest.raises(WeightsError):
            Features("vgg16", ["relu2_2"], tmp_path / "a.pth")
