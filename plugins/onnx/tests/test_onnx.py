"""ONNX files through the whole of pysr: sizes, types, colours, and what a file says about itself."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import pysr
from pysr.errors import InputError, WeightsError
from pysr.testing import photo
from pysr_onnx.plugin import is_onnx
from pysr_onnx.reader import _printable, _surroundings

IMAGE = (photo(41, 30) * 255).round().astype(np.uint8)
FLOAT, HALF, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "cache"))


def enlarger(
    path: Path,
    shape: tuple[Any, ...] = ("n", 3, "h", "w"),
    *,
    scales: tuple[float, ...] = (1, 1, 2, 2),
    kind: int = FLOAT,
    gain: float = 1,
    **metadata: str,
) -> Path:
    """Write a network that repeats pixels."""
    out = tuple(
        f"{side}_out" if isinstance(side, str) else int(side * by) for side, by in zip(shape, scales, strict=True)
    )
    nodes = [
        helper.make_node("Cast", ["input"], ["numbers"], to=FLOAT),
        helper.make_node("Resize", ["numbers", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Mul", ["large", "gain"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["output"], to=kind),
    ]
    values = [
        numpy_helper.from_array(np.array(scales, np.float32), "scales"),
        numpy_helper.from_array(np.array(gain, np.float32), "gain"),
    ]
    ends = [helper.make_tensor_value_info(name, kind, dims) for name, dims in (("input", shape), ("output", out))]
    model = helper.make_model(
        helper.make_graph(nodes, "enlarger", ends[:1], ends[1:], values), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 10
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def test_a_network_of_any_size_is_found_out_and_used(tmp_path: Path) -> None:
    path = enlarger(tmp_path / "4x-Any.onnx", scales=(1, 1, 4, 4), license="CC0\x1b[31m")
    upscaler = pysr.load(path)
    assert (upscaler.model.name, upscaler.scale, upscaler.model.colour) == ("4x-Any", 4, "rgb")
    assert (upscaler.model.multiple_of, upscaler.model.minimum_size, upscaler.model.input_size) == (1, 1, None)
    assert upscaler.model.licence == "CC0 [31m"
    wanted = pysr.load("nearest", 4, device="cpu").upscale(IMAGE)
    assert np.array_equal(upscaler.upscale(IMAGE), wanted)
    assert np.array_equal(pysr.load(path, tiling=pysr.Tiling(64, overlap=4)).upscale(IMAGE), wanted)


@pytest.mark.parametrize(
    ("shape", "scales", "kind"),
    [
        ((1, 3, 16, 24), (1, 1, 2, 2), FLOAT),
        ((1, 3, 16, 24), (1, 1, 2, 2), HALF),
        ((1, 16, 16, 3), (1, 2, 2, 1), BYTE),
        ((1, "h", "w", 3), (1, 2, 2, 1), BYTE),
    ],
    ids=["fixed float32", "fixed float16", "fixed uint8, channels last", "uint8, channels last"],
)
def test_every_type_and_layout_and_sizes_that_are_fixed(
    tmp_path: Path, shape: tuple[Any, ...], scales: tuple[float, ...], kind: int
) -> None:
    path = enlarger(tmp_path / "net.onnx", shape, scales=scales, kind=kind)
    upscaler = pysr.load(path, tiling=pysr.Tiling(overlap=4))
    sides = shape[1:3] if scales[1] > 1 else shape[2:]
    assert upscaler.model.input_size == (None if "h" in sides else sides)
    result = upscaler.upscale(IMAGE)
    assert np.abs(result.astype(int) - pysr.load("nearest", 2, device="cpu").upscale(IMAGE)).max() <= 1
    assert upscaler.upscale(IMAGE[:5, :7]).shape == (10, 14, 3), "an image smaller than a patch"


def test_a_network_of_one_channel_gets_each_by_itself(tmp_path: Path) -> None:
    upscaler = pysr.load(enlarger(tmp_path / "one.onnx", ("n", 1, "h", "w")))
    assert upscaler.model.colour == "any"
    assert upscaler.upscale(IMAGE).shape == (82, 60, 3)


def test_an_output_up_to_255_is_noticed(tmp_path: Path) -> None:
    upscaler = pysr.load(enlarger(tmp_path / "bright.onnx", gain=255))
    assert np.array_equal(upscaler.upscale(IMAGE), pysr.load("nearest", 2, device="cpu").upscale(IMAGE))


@pytest.mark.parametrize(
    ("shape", "scales", "reason"),
    [
        (("n", 4, "h", "w"), (1, 1, 2, 2), "takes 4 channels; upscalers of 1 .* and 3 .* are read"),
        (("n", 3, "h", "w"), (1, 1, 2, 3), "both sides must grow by one whole number"),
        (("n", 3, "h", "w"), (1, 2, 2, 2), "an upscaler keeps the channels"),
        ((8, 3, "h", "w"), (1, 1, 2, 2), "takes 8 images at once"),
    ],
    ids=["four channels", "unequal sides", "more channels", "a batch of eight"],
)
def test_what_is_no_upscaler_is_refused_by_name(
    tmp_path: Path, shape: tuple[Any, ...], scales: tuple[float, ...], reason: str
) -> None:
    path = enlarger(tmp_path / "other.onnx", shape, scales=scales)
    with pytest.raises(InputError, match=f"other.onnx .*{reason}"):
        pysr.load(path)


def test_an_exported_model_is_itself_again(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("pysr_srcnn", reason="the plugin pysr-srcnn is not installed")
    original = pysr.load("srcnn", 2, variant="915", device="cpu", precision="float32")
    pysr.export(original, tmp_path / "again.onnx")
    again = pysr.load(tmp_path / "again.onnx")
    for name in ("colour", "preprocess", "receptive_field", "summary", "paper", "domain", "made_for"):
        assert getattr(again.model, name) == getattr(original.model, name), name
    assert again.model.licence == original.model.weights[2, "915"].licence
    image = photo(41, 30)
    assert np.abs(again.upscale(image) - original.upscale(image)).max() <= 1e-4


def test_openvino_computes_a_file_if_asked_to(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = enlarger(tmp_path / "net.onnx", ("n", "h", "w", 3), scales=(1, 2, 2, 1))
    wanted = pysr.load(path, backend="auto")
    moved = pysr.load(path, backend="openvino")
    assert (wanted._stages[0].stage.runner.runtime, moved._stages[0].stage.runner.runtime) == ("torch", "OpenVINO")
    assert np.array_equal(moved.upscale(IMAGE), wanted.upscale(IMAGE))


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ({"gain": 255}, "its white is 255, not 1"),
        ({"shape": (1, 3, 16, 24)}, "it takes only one"),
        ({"shape": ("n", "h", "w", 3), "scales": (1, 2, 2, 1), "kind": BYTE}, "it takes 8-bit integers"),
    ],
)
def test_openvino_is_not_given_what_it_would_compute_otherwise(
    tmp_path: Path, file: dict[str, Any], reason: str
) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(
        InputError, match=f"net cannot be computed by OpenVINO: .*{reason}.*; leave out what asks for it"
    ):
        pysr.load(enlarger(tmp_path / "net.onnx", **file), backend="openvino")


FACTS = {"channels": 1, "scale": 1}


def test_notes_in_a_file_are_not_believed_against_the_network() -> None:
    noted = {"pysr.colour": "luma", "pysr.scale": "2", "pysr.preprocess": "luma bicubic"}
    assert _surroundings(Path("x.onnx"), noted, FACTS) == ("luma", ("luma", "bicubic"), 2)
    for wrong in ({"pysr.colour": "rgb"}, {"pysr.colour": "cmyk"}, {"pysr.scale": ""}, {"pysr.scale": "9" * 99}):
        with pytest.raises(WeightsError, match="is noted as x"):
            _surroundings(Path("x.onnx"), noted | wrong, FACTS)
    with pytest.raises(WeightsError, match="its network has the scale 3"):
        _surroundings(Path("x.onnx"), noted, FACTS | {"scale": 3})


def test_texts_cannot_control_a_terminal() -> None:
    assert _printable("a\x1b]0;b\x07c\u202ed\n") == "a ]0;b c d "


@pytest.mark.parametrize(
    ("name", "start", "taken"),
    [
        ("a.onnx", b"\x08\x0a\x12\x07pytorch", True),
        ("a.bin", b"\x08\x0a\x12\x07pytorch", True),
        ("a.onnx", b"PK\x03\x04", False),
        ("a.onnx", b"<!doctype html>", False),
        ("a.onnx", b"version https://git-lfs", False),
        ("a.pth", b"\x80\x02", False),
        ("a.bin", b"\x08\x00\x00\x00", False),
        ("a.onnx", b"", False),
    ],
)
def test_files_are_recognised_by_content(name: str, start: bytes, taken: bool) -> None:
    assert is_onnx(Path(name), start) is taken
