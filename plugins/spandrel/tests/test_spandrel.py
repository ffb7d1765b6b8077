"""Files of spandrel's architectures through pysr: the same pixels as spandrel, and nothing but upscalers."""

import importlib
import json
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import pysr
from pysr.errors import InputError, PluginError, WeightsError
from pysr.testing import photo
from pysr_spandrel import examining, library, reader
from pysr_spandrel import network as spandrel_network

pytestmark = pytest.mark.skipif(find_spec("spandrel") is None, reason="spandrel is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open files here instead of in a process of their own, which takes seconds to start."""

    def run(files: list[Path], function: str, work: Path, size: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps(examining.examine_file(files[0], work)))
        return found

    monkeypatch.setattr("pysr.isolation._run", run)


def network(architecture: str, name: str, **options: Any) -> nn.Module:
    """A network of spandrel with small random weights."""
    library.spandrel()
    torch.manual_seed(0)
    module = importlib.import_module(f"spandrel.architectures.{architecture}")
    with warnings.catch_warnings(action="ignore"):
        made: nn.Module = getattr(module, name)(**options)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1 and parameter.numel():
                nn.init.normal_(parameter, std=0.5 / parameter[0].numel() ** 0.5)
    return made.eval()


def compact(**options: Any) -> dict[str, torch.Tensor]:
    sizes: dict[str, Any] = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 3, "upscale": 2} | options
    return network("Compact", "Compact", **sizes).state_dict()


def by_spandrel(tensors: dict[str, torch.Tensor], image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The whole image through spandrel alone."""
    descriptor = library.describe(tensors, "test")
    planes = torch.from_numpy(image.copy()).reshape(*image.shape[:2], -1).permute(2, 0, 1)[None]
    result: np.ndarray[Any, Any] = descriptor(planes)[0].permute(1, 2, 0).numpy()
    return result.squeeze(-1) if image.ndim == 2 else result


CONVOLUTIONAL: dict[str, tuple[str, dict[str, Any]]] = {
    "Compact": ("Compact", {"num_feat": 8, "num_conv": 3, "upscale": 2}),
    "ESRGAN": ("ESRGAN", {"num_filters": 8, "num_blocks": 1, "scale": 4}),
    "SPAN": ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2}),
    "DnCNN": ("DnCNN", {"nc": 8, "nb": 17, "mode": "DnCNN", "act_mode": "R"}),
}


@pytest.mark.parametrize(("architecture", "how"), CONVOLUTIONAL.items(), ids=CONVOLUTIONAL)
def test_patches_of_convolutions_are_the_whole_image(
    architecture: str, how: tuple[str, dict[str, Any]], tmp_path: Path, in_process: None
) -> None:
    tensors = network(architecture, how[0], **how[1]).state_dict()
    file = tmp_path / "a.safetensors"
    save_file(tensors, file)
    image = photo(75, 90) if architecture != "DnCNN" else photo(75, 90)[..., 0]
    upscaler = pysr.load(file, device="cpu", precision="float32", tiling=pysr.Tiling(patch=40))
    assert upscaler.model.receptive_field is not None
    assert upscaler._stages[0].plan((3, 75, 90)).count > 1
    difference = np.abs(upscaler.upscale(image) - by_spandrel(tensors, image).clip(0, 1)).max()
    assert difference <= 1e-4


def test_what_sees_the_whole_image_is_blended(tmp_path: Path, in_process: None) -> None:
    tensors = network(
        "DAT", "DAT", embed_dim=32, depth=[1], num_heads=[2], split_size=[4, 8], expansion_factor=2.0,
        upscale=2, upsampler="pixelshuffledirect", resi_connection="1conv",
    ).state_dict()  # fmt: skip
    file = tmp_path / "dat.safetensors"
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, file)
    upscaler = pysr.load(file, device="cpu", precision="float32")
    assert (upscaler.model.receptive_field, upscaler.model.minimum_size) == (None, 16)
    image = photo(20, 33)
    assert np.abs(upscaler.upscale(image) - by_spandrel(tensors, image).clip(0, 1)).max() <= 1e-4
    assert upscaler.upscale(photo(3, 5)).shape == (6, 10, 3)  # smaller than the network takes


def test_an_architecture_that_changes_its_input_in_place_does_no_harm() -> None:
    tensors = network("RCAN", "RCAN", scale=2, n_resgroups=1, n_resblocks=1, n_feats=8, reduction=4).state_dict()
    rcan = spandrel_network.SpandrelNetwork(library.describe(tensors, "test"))
    image = torch.rand(2, 3, 9, 8)
    before = image.clone()
    with torch.inference_mode():
        assert rcan(image).shape == (2, 3, 18, 16)
    assert torch.equal(image, before)


def test_a_pickle_is_opened_once_in_a_process_of_its_own(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "2x-Any.pth"
    torch.save({"params_ema": compact(), "epoch": 3, "license": "CC-BY-4.0"}, file)
    upscaler = pysr.load(file, device="cpu", precision="float32")
    assert (upscaler.model.name, upscaler.scale, upscaler.model.licence) == ("2x-Any", 2, "CC-BY-4.0")
    assert upscaler.model.summary.startswith("RealESRGAN Compact (8nf, 3nc), which enlarges 2 times")
    image = photo(12, 15)
    assert np.abs(upscaler.upscale(image) - by_spandrel(compact(), image).clip(0, 1)).max() <= 1e-4
    assert len(list((cache / "files").iterdir())) == 1

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("opened again")

    monkeypatch.setattr("pysr.isolation._run", fail)
    other = tmp_path / "renamed.pth"
    other.write_bytes(file.read_bytes())
    assert np.array_equal(pysr.load(other, device="cpu", precision="float32").upscale(image), upscaler.upscale(image))


def test_the_old_format_of_pickles_and_half_precision_are_read(tmp_path: Path, in_process: None) -> None:
    file = tmp_path / "old.pth"
    half = {f"module.{name}": tensor.half() for name, tensor in compact().items()}
    torch.save({"params": half}, file, _use_new_zipfile_serialization=False)
    image = photo(12, 15)
    result = pysr.load(file, device="cpu", precision="float32").upscale(image)
    assert np.abs(result - by_spandrel(compact(), image).clip(0, 1)).max() <= 0.01


def test_a_licence_in_safetensors_is_shown(tmp_path: Path, in_process: None) -> None:
    file = tmp_path / "a.safetensors"
    save_file(compact(), file, {"modelspec.license": "MIT"})
    assert reader.open_file(file).licence == "MIT"


class Custom:
    """What weights_only does not read."""


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "four channels": (
        lambda: compact(num_in_ch=4, num_out_ch=4),
        InputError,
        "Compact from 4 to 4 channels; pysr takes",
    ),
    "unknown": (
        lambda: {"a.weight": torch.ones(3)},
        InputError,
        r"no architecture that spandrel .* knows \(a.weight \.\.\.\)",
    ),
    "no weights": (lambda: {"epoch": 3}, InputError, "holds no weights"),
    "a list": (lambda: [torch.ones(3)], InputError, "holds no weights"),
    "an object": (lambda: {"params": compact(), "opt": Custom()}, WeightsError, r"more than tensors \(.*Custom\)"),
    "NaN": (
        lambda: compact() | {"body.0.bias": torch.full((8,), torch.nan)},
        WeightsError,
        r"NaN or .* in body\.0\.bias",
    ),
    "one too many": (lambda: compact() | {"spare": torch.ones(1)}, WeightsError, "does not fit the architecture"),
    "one missing": (
        lambda: {name: tensor for name, tensor in compact().items() if name != "body.2.weight"},
        (InputError, WeightsError),
        "does not fit|no architecture",
    ),
    "far larger than the file": (
        lambda: {"a": torch.zeros(1).expand(2**40)},
        WeightsError,
        "claims to hold more than its own size",
    ),
    "sparse": (lambda: {"a": torch.ones(3).to_sparse()}, WeightsError, "in a form that no network has"),
    "nothing in it": (lambda: compact() | {"body.0.bias": torch.ones(0)}, WeightsError, "holds nothing in"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_other_files_are_refused_by_name(make: Any, error: Any, message: str, tmp_path: Path, in_process: None) -> None:
    file = tmp_path / "other.pth"
    torch.save(make(), file)
    with pytest.raises(error, match=message) as raised:
        pysr.load(file)
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


def test_torchscript_is_refused(tmp_path: Path, in_process: None) -> None:
    file = tmp_path / "program.pt"
    file.write_bytes(b"PK\3\4" + bytes(22) + b"\x10\0\0\0archive/data.pkl")
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("archive/data.pkl", "archive/code/__torch__.py", "archive/constants.pkl"):
            archive.writestr(name, b"")
    with pytest.raises(InputError, match="is TorchScript, a program that pysr does not run"):
        pysr.load(file)


@pytest.mark.parametrize(
    ("purpose", "message"), [("Inpainting", "fills in missing parts"), ("FaceSR", "restores faces cut out")]
)
def test_what_is_no_upscaler_is_refused(purpose: str, message: str, tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "a.safetensors"
    save_file(compact(), file)
    facts = {"purpose": purpose, "called": "Any", "inputs": 3, "outputs": 3}
    monkeypatch.setattr("pysr.isolation._run", lambda *_: facts)
    with pytest.raises(InputError, match=f"is Any, which {message}.*; pysr takes upscalers and restorers"):
        pysr.load(file)


@pytest.fixture
def unusable_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "site" / "torchvision"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(folder.parent))
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "torchvision"}
    yield
    sys.modules.update(before)


def test_a_torchvision_that_cannot_be_imported_does_no_harm(unusable_torchvision: None) -> None:
    with library._torchvision_or_stand_in():
        functional = importlib.import_module("torchvision.transforms.functional")
        assert functional.InterpolationMode.NEAREST
        with pytest.raises(PluginError, match="needs torchvision"):
            functional.rotate(None, 3)
    assert not any(name.startswith("torchvision") for name in sys.modules)


def test_without_spandrel_the_command_to_install_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.safetensors"
    save_file(compact(), file)

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(library, "version", missing)
    with pytest.raises(PluginError, match=r"needs spandrel, which is not installed: pip install --no-deps 'spandrel"):
        pysr.load(file)


def test_a_package_that_spandrel_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    save_file(compact(), tmp_path / "a.safetensors")

    def lacks(name: str) -> Any:
        def fail(*_: Any) -> Any:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        return fail

    for name, command in (("einops.layers", "pip install --no-deps 'spandrel"), ("scipy", "pip install scipy")):
        with monkeypatch.context() as building:
            building.setattr(library.spandrel().MAIN_REGISTRY, "load", lacks(name))
            with pytest.raises(PluginError, match=f"No module named '{name}'.*: {command}"):
                pysr.load(tmp_path / "a.safetensors")
        with monkeypatch.context() as importing:
            importing.setattr(importlib, "import_module", lacks(name))
            with pytest.raises(PluginError, match=f"cannot be imported .*'{name}'.*: {command}"):
                library.spandrel.__wrapped__()


def test_a_refused_file_costs_no_import_of_torch(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(bytes(7) + b"\x7f{}")
    code = (
        "import sys\nfrom pathlib import Path\nfrom pysr_spandrel.reader import open_file\n"
        "from pysr.errors import WeightsError\n"
        f"try:\n    open_file(Path({str(tmp_path / 'a.safetensors')!r}))\nexcept WeightsError:\n"
        "    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
