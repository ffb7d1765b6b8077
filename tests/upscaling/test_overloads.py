"""The types of results: what `upscale` and `sample` return for each kind of image, to a type checker and when run."""

import subprocess
import sys
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import pysr

ROOT = Path(__file__).parents[2]

PIL_IMAGE = Image.new("RGB", (3, 2))
BYTES = np.zeros((2, 3, 3), np.uint8)
FLOATS = np.zeros((2, 3), np.float32)
TENSOR = torch.zeros(1, 2, 3)


def test_upscale_returns_the_kind_it_was_given(tmp_path: Path) -> None:
    up = pysr.load("nearest", 2)
    PIL_IMAGE.save(tmp_path / "image.png")
    assert isinstance(assert_type(up.upscale(PIL_IMAGE), Image.Image), Image.Image)
    assert isinstance(assert_type(up.upscale(tmp_path / "image.png"), Image.Image), Image.Image)
    assert isinstance(assert_type(up.upscale(str(tmp_path / "image.png")), Image.Image), Image.Image)
    assert assert_type(up.upscale(BYTES), NDArray[np.uint8]).dtype == np.uint8
    assert assert_type(up.upscale(FLOATS, progress=lambda done, total: None), NDArray[np.float32]).dtype == np.float32
    assert isinstance(assert_type(up.upscale(TENSOR), Tensor), Tensor)


def test_the_short_form_returns_the_kind_it_was_given(tmp_path: Path) -> None:
    PIL_IMAGE.save(tmp_path / "image.png")
    assert isinstance(assert_type(pysr.upscale(PIL_IMAGE, "nearest"), Image.Image), Image.Image)
    assert isinstance(assert_type(pysr.upscale(tmp_path / "image.png", "nearest", 2), Image.Image), Image.Image)
    assert assert_type(pysr.upscale(BYTES, "nearest", 2, device="cpu"), NDArray[np.uint8]).dtype == np.uint8
    assert isinstance(assert_type(pysr.upscale(TENSOR, "nearest"), Tensor), Tensor)


def typed_samples(up: pysr.Upscaler, mask: NDArray[np.bool_]) -> None:
    """For the type checker alone."""
    assert_type(up.sample(PIL_IMAGE, 2), list[Image.Image])
    assert_type(up.sample("image.png", seed=3), list[Image.Image])
    assert_type(up.sample(BYTES, known=BYTES, mask=mask), NDArray[np.uint8])
    assert_type(up.sample(TENSOR, 4, temperature=0.5), Tensor)
    assert_type(up.uncertainty(PIL_IMAGE), NDArray[np.float32])
    assert_type(up.bits_per_dim(TENSOR, TENSOR), float)


def checked(source: Path, *options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mypy", "--strict", *options, source]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_a_type_checker_agrees(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    done = checked(Path(__file__))
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import pysr\n\nimage: int = pysr.upscale('image.png')\npysr.upscale(3)\n")
    done = checked(wrong)
    assert "[assignment]" in done.stdout
    assert "[call-overload]" in done.stdout
