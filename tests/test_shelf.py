"""Every model with weights keeps flat colours flat, neutral images neutral and the image in its place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pysr
from pysr.imaging.resize import resize
from pysr.ops.patches import to_float

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "chelsea.png"
SHELF = [
    pytest.param(model.name, scale, id=f"{model.name} x{scale}")
    for model in pysr.models()
    if model.domain == "photo" and not model.stochastic
    for scale in sorted({model.trained_scales[0], model.trained_scales[-1]} if model.trained_scales else ())
]
FLAT = ((255, 255, 255), (0, 0, 0), (128, 128, 128), (255, 0, 0), (17, 99, 203))


@pytest.fixture(scope="module")
def upscalers() -> dict[tuple[str, int], pysr.Upscaler]:
    return {}


@pytest.fixture
def upscaler(name: str, scale: int, upscalers: dict[tuple[str, int], pysr.Upscaler]) -> pysr.Upscaler:
    if (name, scale) not in upscalers:
        upscalers[name, scale] = pysr.load(name, scale, device="cpu", precision="float32")
    return upscalers[name, scale]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("name", "scale"), SHELF)
def test_flat_colours_stay_as_they_are(upscaler: pysr.Upscaler, dtype: str) -> None:
    white = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    for colour in FLAT:
        level = (np.array(colour) * (white / 255)).astype(dtype)
        result = upscaler.upscale(np.broadcast_to(level, (12, 12, 3)))
        assert np.abs(result.astype(np.float64) - level).max() <= (1e-6 if dtype == "float32" else 0), colour


def patterns() -> dict[str, Any]:
    y, x = np.mgrid[:16, :20]
    rng = np.random.default_rng(0)
    shade = (x + y) / 34
    return {
        "checkerboard": (x + y) % 2,
        "lines": x // 2 % 2,
        "halftone": (shade > rng.permutation(16).reshape(4, 4).repeat(5, 1).repeat(4, 0)[:16, :20] / 16).astype(int),
        "text": ((x * y) % 7 < 2).astype(int),
    }


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("name", "scale"), SHELF)
def test_neutral_images_stay_neutral(upscaler: pysr.Upscaler, dtype: str) -> None:
    white = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    for pattern in patterns().values():
        gray = (pattern * white).astype(dtype)
        result = upscaler.upscale(np.stack([gray] * 3, -1))
        assert (result == upscaler.upscale(gray)[..., None]).all()


@pytest.mark.parametrize(("name", "scale"), SHELF)
def test_images_stay_in_their_place(upscaler: pysr.Upscaler) -> None:
    image = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))[40:88, 110:158]
    enlarged = to_float(upscaler.upscale(image).transpose(2, 0, 1))
    reduced = resize(enlarged.double(), shape=(48, 48)).mean(0)
    assert max(map(abs, shift(reduced, torch.from_numpy(image.mean(-1) / 255)))) <= 0.05


def shift(first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    """How far the first image lies below and right of the second, in pixels: the slope of the phase between them."""
    window = torch.hann_window(first.shape[0], dtype=torch.float64, periodic=False)
    spectra = (torch.fft.fft2((image - image.mean()) * window * window[:, None]) for image in (first, second))
    one, other = spectra
    cross = one * other.conj()
    frequency = torch.fft.fftfreq(first.shape[0], dtype=torch.float64)
    down, right = torch.meshgrid(frequency, frequency, indexing="ij")
    low = (down.hypot(right) < 0.25) & (down.hypot(right) > 0)
    weight = cross.abs()[low].sqrt()
    slopes = torch.stack([down[low], right[low]], 1) * -2 * torch.pi
    found = torch.linalg.lstsq(slopes * weight[:, None], (cross.angle()[low] * weight)[:, None]).solution
    return float(found[0]), float(found[1])


def test_a_shift_would_be_found() -> None:
    image = torch.from_numpy(np.asarray(Image.open(PHOTOGRAPH).convert("L")) / 255)
    first, second = (resize(image[y : y + 96, x : x + 96], shape=(48, 48)) for y, x in ((80, 220), (81, 222)))
    assert [*shift(first, second)] == pytest.approx([0.5, 1.0], abs=0.1)
