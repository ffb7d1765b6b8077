"""Networks of ncnn through pysr: the pixels of the same layers in torch, and no size believed before it is checked."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pysr
from pysr.errors import InputError, WeightsError
from pysr.testing import photo
from pysr_ncnn import network_text
from pysr_ncnn.network_text import read_network

pytestmark = pytest.mark.skipif(find_spec("ncnn") is None, reason="ncnn is not installed")

TEXT = """7767517
5 6
Input            in0   0 1 data
Split            split 1 2 data a b
Convolution      conv  1 1 a c 0=12 1=3 4=1 5=1 6=324 9=2 -23310=1,2.000000e-01
PixelShuffle     up    1 1 c output 0=2
Noop             end   1 1 b unused
"""
ONE_OUTPUT = (
    TEXT.replace("5 6", "3 3").replace("Split            split 1 2 data a b\n", "").replace("1 1 a c", "1 1 data c")
)
ONE_OUTPUT = ONE_OUTPUT.replace("Noop             end   1 1 b unused\n", "")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examine files here instead of in a process of their own."""
    from pysr_ncnn.network import examine_file

    def run(files: list[Path], function: str, work: Path, size: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps(examine_file(files[0], files[1], work)))
        return found

    monkeypatch.setattr("pysr.isolation._run", run)


def convolution() -> nn.Conv2d:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 12, 3, padding=1)
    return layer.requires_grad_(False)


def weights_of(layer: nn.Conv2d) -> bytes:
    assert layer.bias is not None
    return bytes(4) + layer.weight.numpy().tobytes() + layer.bias.numpy().tobytes()


def write(folder: Path, text: str = ONE_OUTPUT, weights: bytes | None = None) -> Path:
    (folder / "2x-any.param").write_text(text)
    (folder / "2x-any.bin").write_bytes(weights_of(convolution()) if weights is None else weights)
    return folder / "2x-any.param"


def reference(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    layer = convolution()
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    output: Tensor = nn.functional.pixel_shuffle(nn.functional.leaky_relu(layer(planes), 0.2), 2)
    result: np.ndarray[Any, Any] = output[0].permute(1, 2, 0).clamp(0, 1).numpy()
    return result


def test_a_network_is_opened_by_either_of_its_files(tmp_path: Path) -> None:
    path = write(tmp_path)
    image = photo(41, 30)
    for file in (path, path.with_suffix(".bin")):
        upscaler = pysr.load(file, tiling=pysr.Tiling(patch=12))
        assert (upscaler.scale, upscaler.model.name, upscaler.model.runtime) == (2, "2x-any", "ncnn")
        assert upscaler.model.receptive_field in (1, 2)
        assert np.abs(upscaler.upscale(image) - reference(image)).max() <= 1e-4


def test_threads_share_a_network(tmp_path: Path, in_process: None) -> None:
    from concurrent.futures import ThreadPoolExecutor

    upscaler = pysr.load(write(tmp_path))
    images = [photo(20 + i, 24, seed=i) for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for image, result in zip(images, pool.map(upscaler.upscale, images), strict=True):
            assert np.abs(result - reference(image)).max() <= 1e-4


def test_a_network_without_its_weights_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"needs its weights, 2x-any\.bin, beside it"):
        pysr.load(path)
    path.with_suffix(".bin").write_bytes(b"1")
    path.unlink()
    with pytest.raises(InputError, match="seems to be the weights of a network of ncnn"):
        pysr.load(path.with_suffix(".bin"))


CHANGED: dict[str, tuple[Callable[[str], str], str]] = {
    "a line missing": (lambda text: text.replace("3 3", "4 3", 1), "announces 4 layers and has 3"),
    "blobs missing": (lambda text: text.replace("3 3", "3 9", 1), "announces 9 blobs and makes 3"),
    "many layers": (lambda text: text.replace("3 3", "999999999 3", 1), "its second line is '999999999 3'"),
    "no counts": (lambda text: "7767517\n", "ends after its first line"),
    "negative counts": (lambda text: text.replace("3 3", "-3 3", 1), "its second line"),
    "many blobs": (lambda text: text.replace("1 1 data c", "1 999999999 data c"), "the line 'Convolution"),
    "huge channels": (lambda text: text.replace("0=12 ", "0=2000000000 "), "the parameter '0=2000000000'"),
    "many channels": (lambda text: text.replace("0=12 ", "0=60000000 "), "Convolution of 60000000 channels"),
    "huge kernel": (lambda text: text.replace("1=3 ", "1=5000 "), "Convolution of 12 channels"),
    "weights beyond the file": (lambda text: text.replace("6=324", "6=60000000"), "60000000 bytes of weights where"),
    "no weights": (lambda text: text.replace("6=324", "6=0"), "Convolution with 0 weights"),
    "huge enlargement": (lambda text: text.replace("output 0=2", "output 0=60000"), "PixelShuffle that enlarges 60000"),
    "memory": (
        lambda text: text.replace(
            "PixelShuffle     up    1 1 c output 0=2", "MemoryData m 0 1 output 0=9999999 1=9999"
        ),
        "bytes of weights where the file",
    ),
    "read before made": (lambda text: text.replace("1 1 data c", "1 1 x c"), "'x' is read before it is made"),
    "no number": (lambda text: text.replace("6=324", "6=many"), "could not convert"),
    "no key": (lambda text: text.replace("6=324", "weights"), "the parameter 'weights'"),
    "not a number": (lambda text: text.replace("6=324", "6=nan"), "the parameter '6=nan'"),
    "an array too long": (lambda text: text.replace("-23310=1", "-23310=9"), "the parameter '-23310=9"),
    "not text": (lambda text: text + "\x00é", "not plain text"),
}


@pytest.mark.parametrize(("change", "message"), CHANGED.values(), ids=CHANGED)
def test_absurd_sizes_are_refused_before_ncnn_sees_them(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    path = write(tmp_path, change(ONE_OUTPUT))
    with pytest.raises(WeightsError, match="no sound network of ncnn") as raised:
        read_network(path, path.with_suffix(".bin"))
    assert message in str(raised.value)


def test_a_text_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_text, "LONGEST", 100)
    path = write(tmp_path)
    with pytest.raises(WeightsError, match="bytes of text"):
        read_network(path, path.with_suffix(".bin"))


@pytest.mark.parametrize(
    ("text", "weights", "message"),
    [
        (TEXT, None, "several inputs or outputs"),
        (ONE_OUTPUT.replace("Convolution ", "Convolutoin "), None, "layers that ncnn does not know"),
        (ONE_OUTPUT, bytes(400), "do not belong together"),
        (ONE_OUTPUT.replace("4=1", "4=0"), None, "is no upscaler: its output is not its input"),
        (
            ONE_OUTPUT.replace("6=324", "6=432"),
            weights_of(nn.Conv2d(4, 12, 3).requires_grad_(False)),
            "takes 4 channels",
        ),
    ],
    ids=["two outputs", "unknown layer", "too few weights", "smaller output", "four channels"],
)
def test_what_is_no_upscaler_is_refused(
    tmp_path: Path, in_process: None, text: str, weights: bytes | None, message: str
) -> None:
    with pytest.raises((InputError, WeightsError), match=message):
        pysr.load(write(tmp_path, text, weights))


def test_operations_and_memory_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    layers = read_network(path, path.with_suffix(".bin"))
    assert network_text.operations_per_pixel(layers) == 2 * 324
    assert network_text.bytes_per_pixel(layers) == 4 * (3 + 12 + 12)  # input, convolution, and its pixels rearranged
