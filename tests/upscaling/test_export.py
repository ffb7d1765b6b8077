"""Networks as ONNX files: equal to torch, with what pysr does around them in the metadata."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pysr
from pysr.errors import InputError, PluginError, PysrError
from pysr.plugin import Model
from pysr.training import save_weights
from pysr.upscaling import export as module

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXACT: dict[str, Any] = {"device": "cpu", "precision": "float32"}


class Halved(nn.Module):
    """Needs even sides, as it works at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("down", torch.rand(4, 3, 2, 2))
        self.register_buffer("up", torch.rand(4, 3, 4, 4))

    def forward(self, low: Tensor) -> Tensor:
        small = functional.conv2d(low, self.down, stride=2)
        return functional.conv_transpose2d(small, self.up, stride=4) / 64


class Choosing(nn.Module):
    """Goes by the numbers that it is given, as no graph can."""

    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2) * (0.5 if low.mean() > 0.5 else 1)


class Differing(nn.Module):
    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2) * (0.5 if torch.compiler.is_exporting() else 1)


def model(network: type[nn.Module], **values: Any) -> Model:
    def build(scale: int, variant: str | None) -> nn.Module:
        torch.manual_seed(0)
        return network()

    return Model("probe", (2,), build, "For tests", **values)


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_a_network_at_output_size_is_exported_with_what_is_done_around_it(tmp_path: Path) -> None:
    pytest.importorskip("pysr_srcnn", reason="the plugin pysr-srcnn is not installed")
    upscaler = pysr.load("srcnn", 3, variant="915", **EXACT)
    assert pysr.export(upscaler, tmp_path / "srcnn.onnx") <= 1e-4
    facts = metadata(tmp_path / "srcnn.onnx")
    assert facts["pysr.model"] == "srcnn"
    assert (facts["pysr.scale"], facts["pysr.colour"], facts["pysr.preprocess"]) == ("3", "luma", "luma bicubic")
    assert (facts["pysr.receptive_field"], facts["pysr.multiple_of"]) == ("8", "1")
    assert facts["pysr.licence"].startswith("Apache-2.0")
    assert f"torch {torch.__version__}, opset 18" in facts["pysr.versions"]
    written = onnx.load(tmp_path / "srcnn.onnx")
    assert "Bicubic enlargement first" in written.doc_string
    assert str(Path(pysr.__file__).parent) not in str(written), "paths of this machine are in the file"
    onnx.checker.check_model(written)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["srcnn.onnx"]


def test_any_size_can_be_given_to_the_file(tmp_path: Path, install: Callable[..., None]) -> None:
    install(model(Halved, multiple_of=2))
    upscaler = pysr.load("probe", **EXACT)
    pysr.export(upscaler, tmp_path / "probe.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "probe.onnx", providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 2, 8), (3, 3, 50, 14)):
        image = torch.rand(shape)
        (output,) = session.run(None, {"input": image.numpy()})
        wanted = upscaler._stages[0].stage.process(image).numpy()
        assert output.shape == wanted.shape
        assert abs(output - wanted).max() <= 1e-5


def test_the_licence_is_that_of_the_weights_in_the_file(tmp_path: Path) -> None:
    pytest.importorskip("pysr_srcnn", reason="the plugin pysr-srcnn is not installed")
    own = tmp_path / "own.safetensors"
    upscaler = pysr.load("srcnn", 3, variant="915", **EXACT)
    network = upscaler._stages[0].stage.runner.network
    save_weights({name: value * 0.9 for name, value in network.state_dict().items()}, own, {})
    facts = module._facts(pysr.load("srcnn", 3, variant="915", weights=own, **EXACT)._stages[0].stage)
    assert "licence" not in facts and "trained_on" not in facts


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": ["bicubic", "lanczos"]}, "several models"),
        ({"model": "auto"}, "a choice among models"),
        ({"model": "bicubic", "ensemble": True}, "without ensemble"),
        ({"model": "bicubic", "match_histogram": True}, "without ensemble and match_histogram"),
        ({"model": "srcnn", "pre_upsampler": "lanczos"}, "without pre_upsampler"),
        ({"model": "vdsr", "precision": "bfloat16"}, "precision='float32'"),
        ({"model": "pixelcnn-mnist-corners"}, "draws its result at random"),
    ],
)
def test_what_a_graph_cannot_hold_is_refused(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    if options["model"] in ("srcnn", "vdsr", "pixelcnn-mnist-corners"):
        pytest.importorskip(f"pysr_{options['model'].partition('-')[0]}")
    upscaler = pysr.load(**(EXACT | options))
    with pytest.raises(InputError, match=reason):
        pysr.export(upscaler, tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("network", "reason"),
    [(Choosing, "cannot export the network of 'probe' of fake"), (Differing, "differs from torch")],
)
def test_a_network_that_cannot_be_exported_leaves_no_file(
    tmp_path: Path, install: Callable[..., None], network: type[nn.Module], reason: str
) -> None:
    install(model(network))
    with pytest.raises(PluginError, match=reason):
        pysr.export(pysr.load("probe", **EXACT), tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_noticed_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        pysr.export(pysr.load("bicubic", **EXACT), tmp_path / "missing" / "out.onnx")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(PysrError, match=r"pip install 'pysr-sdk\[onnx\]'"):
        pysr.export(pysr.load("bicubic", **EXACT), tmp_path / "out.onnx")
