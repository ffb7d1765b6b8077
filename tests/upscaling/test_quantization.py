"""int8: which options go together, and the loss that is allowed."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import pysr
from pysr.errors import InputError
from pysr.testing import photo
from pysr.upscaling import quantization
from pysr.upscaling.manifest import Record
from pysr.upscaling.quantization import calibration_files, quantized
from pysr.upscaling.runner import PreparedNetwork
from pysr.upscaling.settings import settings_of
from pysr.upscaling.stage import Stage


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, sides in enumerate([(60, 47), (33, 90)]):
        Image.fromarray((photo(*sides) * 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


class Fake(PreparedNetwork):
    """In OpenVINO's place; its "model" is the error that it makes."""

    model = 0.0

    def with_model(self, model: float, dtype: torch.dtype) -> Fake:
        other = copy.copy(self)
        other.model, other.dtype = model, dtype
        return other

    def __call__(self, image: Tensor) -> Tensor:
        return self._network(image) + self.model  # type: ignore[no-any-return]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(quantization, "OpenVINONetwork", Fake)
    monkeypatch.setattr(quantization, "find_spec", lambda name: object())
    monkeypatch.setattr(quantization, "_convolutions", lambda model: ["first", "middle", "worse", "last"])
    monkeypatch.setattr(quantization, "_with_floats", lambda model, floats: 0 if "worse" in floats else model)
    loaded = pysr.load("srcnn", 2, device="cpu", precision="float32", backend="torch")._stages[0].stage
    runner = Fake(loaded.runner._network[0], torch.device("cpu"), torch.float32, (1, 32, 32))
    return replace(loaded, runner=runner)


def test_a_small_loss_is_accepted_after_calibration_on_every_image(
    stage: Stage, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, ...]] = []

    def in_integers(model: Any, inputs: list[Tensor], first: str) -> float:
        assert first == "first"
        heard.extend(tuple(values.shape) for values in inputs)
        return 1e-5

    monkeypatch.setattr(quantization, "_in_integers", in_integers)
    result = quantized(stage, calibration_files("int8", images, "auto"))
    assert result.runner.dtype == torch.int8
    assert heard == [(1, 1, 60, 46), (1, 1, 32, 90)]  # luma, enlarged already


def test_other_images_to_calibrate_on_are_another_result(
    stage: Stage, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "_in_integers", lambda *given: 1e-5)
    upscaler = pysr.load("srcnn", 2, device="cpu")

    def line() -> str:
        upscaler._stages = (replace(upscaler._stages[0], stage=quantized(stage, sorted(images.iterdir()))),)
        return Record("in.png", "out.png", "done", settings=settings_of(upscaler, pysr.Output()), bytes=7).as_line()

    of_two = line()
    record = Record.from_line(of_two)
    assert record == Record.from_line(line())
    (images / "1.png").write_bytes((images / "0.png").read_bytes())
    assert record != Record.from_line(line())
    (images / "2.png").write_bytes((images / "0.png").read_bytes())
    assert record != Record.from_line(line())
    assert len(line()) == len(of_two)  # there is one for each file that is upscaled


def test_a_loss_above_the_limit_is_refused_with_the_figure(
    stage: Stage, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "_in_integers", lambda *given: 0.05)
    monkeypatch.setattr(quantization, "_with_floats", lambda model, floats: model)
    with pytest.raises(InputError, match=r"srcnn in int8 loses \d+\.\d{3} dB on the 2 images .* use precision='auto'"):
        quantized(stage, calibration_files("int8", images, "auto"))


def test_the_convolution_that_loses_most_stays_in_floats(
    stage: Stage, images: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quantization, "_in_integers", lambda *given: 0.05)
    with caplog.at_level(logging.DEBUG, "pysr"):
        result = quantized(stage, calibration_files("int8", images, "auto"))
    assert result.runner.model == 0  # type: ignore[attr-defined]
    assert "loses 0.000 dB on 2 images, with 2 convolutions in floats" in caplog.text


def test_a_network_with_nothing_between_the_ends_is_refused(
    stage: Stage, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "_convolutions", lambda model: ["first", "last"])
    with pytest.raises(InputError, match="srcnn has no convolutions to compute in int8; use precision='auto'"):
        quantized(stage, calibration_files("int8", images, "auto"))


def test_an_image_too_small_to_calibrate_on_is_named(stage: Stage, tmp_path: Path) -> None:
    Image.new("RGB", (9, 40)).save(tmp_path / "tiny.png")
    with pytest.raises(InputError, match=r"tiny\.png is too small"):
        quantized(stage, calibration_files("int8", tmp_path, "openvino"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "needs images to calibrate the network on; give calibration=, a folder"),
        ({"precision": "int8", "calibration": "missing"}, "there is no folder 'missing'"),
        ({"precision": "int8", "calibration": ".", "backend": "torch"}, "leave backend='torch' out"),
        ({"calibration": "."}, "calibration is for precision 'int8', not 'auto'; leave it out"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pysr.load("srcnn", 2, device="cpu", **options)


def test_interpolation_stays_as_it_is(images: Path) -> None:
    upscaler = pysr.load("bicubic", 2, device="cpu", precision="int8", calibration=images)
    assert upscaler.precision == "float32"


def test_nothing_but_convolutions_becomes_integers(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    pytest.importorskip("openvino")
    monkeypatch.setattr(quantization, "LARGEST_LOSS", 0.2)  # these images are drawn, and hard
    upscaler = pysr.load("vdsr", 2, device="cpu", precision="int8", calibration=images)
    assert upscaler.precision == "int8"
    model = upscaler._stages[0].stage.runner.model  # type: ignore[attr-defined]
    rounded = [op for op in model.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    followers = {port.get_node().get_type_name() for op in rounded for port in op.output(0).get_target_inputs()}
    assert len(rounded) == 19  # all but the first
    assert followers <= {"Convolution", "Relu"}
