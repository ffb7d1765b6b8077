"""What a program sets for all of torch neither changes results nor is changed by pysr."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import Install, tiny

import pysr
from pysr.imaging.colour import rgb_to_ycbcr, ycbcr_to_rgb
from pysr.imaging.resize import resize
from pysr.training import train

MODELS = ("bicubic", "vdsr", "aplus", "photo", "perceptual", "pixelcnn-faces")


@contextmanager
def restored(get: Callable[[], Any], put: Callable[[Any], None], value: Any) -> Iterator[None]:
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "bfloat16": lambda: restored(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "float64": lambda: restored(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "meta": lambda: default_device("meta"),
    "deterministic": lambda: restored(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


def settings() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(),
        torch.empty(0).device,
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_rng_state().tolist(),
    )


def images() -> list[Any]:
    rgba = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    rgba[:3, :, 3] = 0
    tensor = torch.from_numpy(rgba).permute(2, 0, 1)
    return [rgba, tensor, tensor.to(torch.float32) / 255]


def results(model: str) -> list[Any]:
    upscaler = pysr.load(model, precision="float32")
    return [upscaler.upscale(image) for image in images()]


@pytest.fixture(scope="module")
def expected() -> dict[str, list[Any]]:
    return {model: results(model) for model in MODELS}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("model", MODELS)
def test_results_are_the_same_and_settings_stay(model: str, setting: str, expected: dict[str, list[Any]]) -> None:
    with SETTINGS[setting]():
        before = settings()
        found = results(model)
        assert settings() == before
    for result, wanted in zip(found, expected[model], strict=True):
        assert type(result) is type(wanted)
        assert np.array_equal(np.asarray(result), np.asarray(wanted))
        assert not (isinstance(result, torch.Tensor) and result.is_inference())


def test_samples_are_ordinary_tensors() -> None:
    with torch.inference_mode():
        samples = pysr.load("pixelcnn-faces").sample(images()[1], 2)
    assert not samples.is_inference()


def test_inference_tensors_are_taken() -> None:
    with torch.inference_mode():
        image = torch.full((3, 5, 5), 0.5)
    assert not pysr.load("bicubic").upscale(image).is_inference()


def test_what_is_kept_serves_later_gradients() -> None:
    with torch.inference_mode():
        resize(torch.ones(1, 7, 7), shape=(5, 3))
    image = torch.rand(3, 7, 7, dtype=torch.float64, requires_grad=True)
    resize(ycbcr_to_rgb(rgb_to_ycbcr(image)), shape=(5, 3)).sum().backward()
    assert image.grad is not None


@pytest.mark.parametrize("setting", ["bfloat16", "inference mode", "no gradients", "meta"])
def test_training_takes_no_notice(setting: str, install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(steps=2))
    wanted = train("tiny", pictures, tmp_path / "plain").read_bytes()
    with SETTINGS[setting]():
        assert train("tiny", pictures, tmp_path / "set").read_bytes() == wanted


def test_pysr_can_be_imported_under_any_setting() -> None:
    code = """
import numpy as np, torch
torch.set_default_device("meta")
with torch.inference_mode():
    import pysr
    assert pysr.load("vdsr", scale=2).upscale(np.full((5, 5, 3), 99, np.uint8)).shape == (10, 10, 3)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
