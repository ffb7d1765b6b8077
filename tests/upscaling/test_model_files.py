"""Model files: found by path or bare name, opened by the reader that takes them, refused with what they seem to be."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr.errors import InputError, PluginError, PysrError, UnknownNameError
from pysr.plugin import Model, ModelReader
from pysr.testing import photo
from pysr.training import save_weights
from pysr.upscaling.model_files import find_model, list_models

MAGIC = b"a model for tests"


class Nearest(nn.Module):
    """Every pixel several times, with a parameter, as a network of a file has."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.gain = nn.Parameter(torch.ones(1))
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.sizes.append(tuple(image.shape[-2:]))
        return (image * self.gain).repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


class Session(Nearest):
    """A network that torch does not compute: it can be neither copied nor moved."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot copy a session")

    def forward(self, image: Tensor) -> Tensor:
        assert image.device.type == "cpu" and image.dtype == torch.float32 and image.is_contiguous()
        return super().forward(image)


def reader(
    opened: Callable[[Path], Any] | None = None,
    reads: Callable[[Path, bytes], bool] = lambda path, start: start == MAGIC,
    name: str = "fake",
) -> ModelReader:
    def model(path: Path) -> Model:
        return Model("x", (2,), lambda scale, variant: Nearest(scale), "For tests", receptive_field=0)

    return ModelReader(name, reads, opened or model, "For tests", (".fake",))


def made(network: nn.Module, **values: Any) -> ModelReader:
    return reader(lambda path: Model("x", (2,), lambda scale, variant: network, "For tests", **values))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "4x+Any.fake"
    path.write_bytes(MAGIC)
    return path


IMAGE = photo(9, 7)
TWICE = IMAGE.repeat(2, 0).repeat(2, 1)


def test_a_file_is_a_model_by_path_or_string(install: Callable[..., None], file: Path) -> None:
    install(readers=[reader()])
    for given in (file, str(file), [file], [f"{file}:2"]):
        upscaler = pysr.load(given, device="cpu", precision="float32")
        assert upscaler.model.name == "4x+Any" and upscaler.model.file == file
        assert np.array_equal(upscaler.upscale(IMAGE), TWICE)


def test_a_file_takes_part_in_a_chain_and_in_evaluation(install: Callable[..., None], file: Path) -> None:
    install(readers=[reader()])
    plain = file.rename(file.with_name("plain.fake"))
    for chain in (f"{plain}+nearest", [plain, "nearest"], f"nearest:2+{plain}:2"):
        assert pysr.load(chain, 4, device="cpu").upscale(IMAGE).shape == (36, 28, 3)
    (plain.parent / "images").mkdir()
    image = plain.parent / "images" / "a.png"
    Image.fromarray((photo(40, 40) * 255).astype(np.uint8)).save(image)
    (one,) = pysr.evaluate([str(plain)], image.parent, metrics=["psnr"])
    (other,) = pysr.evaluate(["nearest"], image.parent, [2], metrics=["psnr"])
    assert one.results[0].psnr == pytest.approx(other.results[0].psnr, abs=0.05)


def test_a_bare_name_is_looked_up_in_the_folders(
    install: Callable[..., None], file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(readers=[reader()])
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PYSR_MODELS", os.pathsep.join([str(empty), str(tmp_path)]))
    assert find_model("4x+Any").file == find_model("4x+Any.fake").file == file
    assert pysr.load("4x+Any", device="cpu").scale == 2
    assert list_models() == [file]
    assert find_model("nearest").file is None  # what is installed comes first
    with pytest.raises(UnknownNameError, match=r"no model called '4x-Any' .*; the folder of models has 4x\+Any\.fake"):
        find_model("4x-Any")
    file.with_suffix(".FAKE").write_bytes(MAGIC)
    with pytest.raises(InputError, match=r"4x\+Any\.FAKE, 4x\+Any\.fake; give the ending, too"):
        find_model("4x+Any")
    monkeypatch.setenv("PYSR_MODELS", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"folder of models .* cannot be read .*; correct PYSR_MODELS"):
        find_model("4x-Any")


def test_the_first_reader_that_takes_a_file_opens_it(install: Callable[..., None], file: Path) -> None:
    def fails(path: Path, start: bytes) -> bool:
        raise ZeroDivisionError

    second = reader(lambda path: Model("x", (3,), lambda scale, variant: Nearest(scale), ""), name="second")
    install(readers=[reader(reads=fails, name="broken"), second, reader()])
    assert find_model(file).scales == (3,)


def test_a_changed_file_is_opened_again(install: Callable[..., None], file: Path) -> None:
    opened: list[Path] = []

    def count(path: Path) -> Model:
        opened.append(path)
        return Model("x", (2,), lambda scale, variant: Nearest(scale), "")

    install(readers=[reader(count, reads=lambda path, start: True)])
    assert find_model(file) is find_model(file) and len(opened) == 1
    file.write_bytes(MAGIC * 2)
    find_model(file)
    assert len(opened) == 2


def test_what_a_reader_does_wrong_is_a_plugin_error(install: Callable[..., None], file: Path) -> None:
    install(readers=[reader(lambda path: 1 / 0)])
    with pytest.raises(PluginError, match=r"the reader 'fake' of fake failed on .*ZeroDivisionError"):
        pysr.load(file)
    install(readers=[reader(lambda path: "model")])
    with pytest.raises(PluginError, match=r"made str of .*, not a Model"):
        pysr.load(file)


def test_options_that_a_file_cannot_take_are_refused(install: Callable[..., None], file: Path) -> None:
    install(readers=[reader()])
    for options, message in [
        ({"scale": 3}, r"4x\+Any has no scale 3; it has 2"),
        ({"variant": "large"}, "has no variant 'large'; it has none"),
        ({"strength": 0.5}, "no strength to set at scale 2; leave strength out"),
        ({"pre_upsampler": "nearest"}, "has no enlarging preprocessor"),
    ]:
        with pytest.raises(InputError, match=message):
            pysr.load(file, **options)
    weights = file.with_name("w.safetensors")
    save_weights(Nearest(), weights, {})
    with pytest.raises(
        InputError, match=r"has its own weights; leave weights out, or give .*w.safetensors as the model"
    ):
        pysr.load(file, weights=weights)


def test_weights_of_a_training_are_a_model(tmp_path: Path) -> None:
    """The metadata name the model; another file in the same format does not become one."""
    shipped = pysr.load("srresnet", 2, device="cpu")
    weights = next(model for model in pysr.models() if model.name == "srresnet").weights[2].file
    mine = pysr.load(weights, device="cpu")
    assert (mine.scale, mine.model.licence[:10]) == (2, "Apache-2.0")  # the file's scale; the model's first is 4
    assert np.array_equal(mine.upscale(IMAGE), shipped.upscale(IMAGE))
    other = tmp_path / "other.safetensors"
    save_weights(Nearest(), other, {"pysr.model": "unheard-of"})
    with pytest.raises(UnknownNameError, match="no model called 'unheard-of'"):
        pysr.load(other)


def test_patches_of_a_network_of_one_size(install: Callable[..., None], file: Path) -> None:
    network = Session()
    install(readers=[made(network, input_size=(8, 12), runtime="other", receptive_field=None)])
    upscaler = pysr.load(file, device="cpu")
    image = photo(21, 30)
    assert np.abs(upscaler.upscale(image) - image.repeat(2, 0).repeat(2, 1)).max() < 1e-6
    assert np.abs(upscaler.upscale(image[:3, :1]) - image[:3, :1].repeat(2, 0).repeat(2, 1)).max() < 1e-6
    assert set(network.sizes) == {(8, 12)}
    with pytest.raises(InputError, match="takes only patches of 12 x 8; leave the patch out"):
        pysr.load(file, tiling=pysr.Tiling(patch=64)).upscale(image)


@pytest.mark.parametrize("multiple_of", [1, 4])
def test_no_patch_is_smaller_than_the_minimum(install: Callable[..., None], file: Path, multiple_of: int) -> None:
    network = Session()
    install(readers=[made(network, minimum_size=18, multiple_of=multiple_of, runtime="other", receptive_field=0)])
    for image in (photo(1, 1), photo(5, 40)):
        for tiling in (pysr.Tiling(), pysr.Tiling(patch=2)):
            result = pysr.load(file, tiling=tiling).upscale(image)
            assert np.abs(result - image.repeat(2, 0).repeat(2, 1)).max() < 1e-6
    assert min(min(size) for size in network.sizes) >= 18
    assert all(side % multiple_of == 0 for size in network.sizes for side in size)


def test_a_network_outside_torch_is_used_as_it_is(install: Callable[..., None], file: Path) -> None:
    install(readers=[made(Session(), runtime="other", receptive_field=0, bytes_per_pixel=1000)])
    upscaler = pysr.load(file, precision="bfloat16")
    assert upscaler.precision == "float32" and str(upscaler.device) == "cpu"
    assert np.array_equal(upscaler.upscale(IMAGE), TWICE)


UNREADABLE = {
    "empty": (b"", "empty"),
    "LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "web page": (b"<!DOCTYPE html><html>", "a web page; download the file itself"),
    "torch": (b"PK\3\4" + bytes(22) + b"\x10\0\0\0archive/data.pkl", "pickle of PyTorch.*pip install pysr-spandrel"),
    "old torch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9", "pickle of PyTorch.*pip install pysr-spandrel"),
    "zip": (b"PK\3\4" + bytes(22) + b"\x05\0\0\0a.txt", "a ZIP archive; unpack it"),
    "safetensors": (
        b"\x28\0\0\0\0\0\0\0" + b'{"body.0.weight":{"dtype":"F32"}}       ',
        r"\(body.0.weight \.\.\.\).*pysr-spandrel",
    ),
    "ncnn": (b"7767517\n2 2\n", "a network of ncnn.*pip install pysr-ncnn"),
    "image": (b"\xff\xd8\xff\xe0", "an image"),
    "other": (b"\0\1\2", "no kind of model that pysr knows"),
    "text": (b"hello", "text; look for"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_unknown_file_is_named_for_what_it_seems_to_be(
    install: Callable[..., None], tmp_path: Path, content: bytes, message: str
) -> None:
    install()
    path = tmp_path / "model.dat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"seems to be .*{message}"):
        pysr.load(path)


def test_an_onnx_file_is_known_by_its_ending(install: Callable[..., None], tmp_path: Path) -> None:
    install()
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x0a\x12")
    with pytest.raises(InputError, match=r"a network of ONNX; .*pip install pysr-onnx"):
        pysr.load(path)


@pytest.mark.parametrize(("name", "ending"), [("onnx", ".onnx"), ("ncnn", ".param")])
def test_a_package_that_is_installed_is_not_to_be_installed(
    install: Callable[..., None], tmp_path: Path, name: str, ending: str
) -> None:
    install(readers=[reader(name=name)])
    path = tmp_path / f"model{ending}"
    path.write_bytes(b"\x08\x0a\x12")
    with pytest.raises(InputError, match=f"pysr-{name} is installed, but cannot read it: it is damaged") as raised:
        pysr.load(path)
    assert "pip install" not in str(raised.value)


def test_weights_of_ncnn_alone_lead_to_the_file_beside_them(install: Callable[..., None], tmp_path: Path) -> None:
    install()
    path = tmp_path / "model.bin"
    path.write_bytes(b"\x08\x0a\x12")
    with pytest.raises(InputError, match=r"give the \.param file beside it"):
        pysr.load(path)


def test_what_is_no_regular_file_is_refused_at_once(install: Callable[..., None], tmp_path: Path) -> None:
    install(readers=[reader()])
    os.mkfifo(tmp_path / "pipe.fake")
    for given, message in [
        (tmp_path / "pipe.fake", "a device or a pipe"),
        ("/dev/zero", "a device or a pipe"),
        (tmp_path, "is a folder, not a model file"),
        (tmp_path / "gone.fake", "No such file"),
        ("gone.fake", "No such file"),
        ("gone.pth", "No such file"),
    ]:
        with pytest.raises(PysrError, match=message):
            pysr.load(given)
