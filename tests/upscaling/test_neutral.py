"""Images that are neutral everywhere, through a network that colours what it is given."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr import Tiling
from pysr.imaging.colour import is_neutral
from pysr.plugin import Model

GRAY = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
RGB = np.stack([GRAY] * 3, -1)


class Tinting(nn.Module):
    def forward(self, low: Tensor) -> Tensor:
        tint = low.new_tensor([0.5, 1.0, 0.7]).view(3, 1, 1)
        return (low * tint).repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.fixture
def tinting(install: Callable[..., None]) -> pysr.Upscaler:
    install(Model("tinting", (2,), lambda scale, variant: Tinting(), "", colour="rgb", receptive_field=0))
    return pysr.load("tinting", device="cpu")


def test_they_are_upscaled_as_gray(tinting: pysr.Upscaler) -> None:
    assert (tinting.upscale(RGB) == tinting.upscale(GRAY)[..., None]).all()


def test_a_style_colours_them(install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(Model("style", (2,), lambda scale, variant: Tinting(), "", domain="style", receptive_field=0))
    style = pysr.load("style", device="cpu")
    coloured = style.upscale(RGB)
    assert np.ptp(coloured, axis=-1).max() > 50
    Image.fromarray(RGB).save(tmp_path / "gray.tif")
    monkeypatch.setattr("pysr.upscaling.file.IN_MEMORY", 0)  # rows, too
    style.upscale_file(tmp_path / "gray.tif", tmp_path / "coloured.tif")
    assert (np.asarray(Image.open(tmp_path / "coloured.tif")) == coloured).all()


def test_one_coloured_pixel_makes_an_image_coloured(tinting: pysr.Upscaler) -> None:
    coloured = RGB.copy()
    coloured[-1, -1] = (1, 2, 3)
    assert not is_neutral(coloured.transpose(2, 0, 1))
    assert np.ptp(tinting.upscale(coloured), axis=-1).max() > 50


def test_patches_make_no_difference(install: Callable[..., None]) -> None:
    install(Model("tinting", (2,), lambda scale, variant: Tinting(), "", colour="rgb", receptive_field=0))
    patches = pysr.load("tinting", device="cpu", tiling=Tiling(patch=8))
    half = RGB.copy()
    half[:20, :, 0] //= 2  # neutral in the patches below
    whole = pysr.load("tinting", device="cpu").upscale(half)
    assert (patches.upscale(half) == whole).all()


def test_each_image_of_a_batch_is_looked_at(tinting: pysr.Upscaler) -> None:
    coloured = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 8, 8), dtype=np.uint8))
    gray = torch.from_numpy(GRAY[:8, :8]).expand(3, 8, 8)
    result = tinting.upscale(torch.stack([coloured, gray]))
    assert (result[1, 0] == result[1, 2]).all()
    assert (result[0] == tinting.upscale(coloured)).all()


def test_colours_hidden_by_alpha_do_not_count(tinting: pysr.Upscaler) -> None:
    alpha = np.full_like(GRAY, 255)
    alpha[:10] = 0
    rgba = np.dstack([RGB, alpha])
    rgba[:10, :, 0] = 200
    result = tinting.upscale(rgba)
    assert (result[..., 0] == result[..., 2]).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_pil_images_keep_their_mode(tinting: pysr.Upscaler, mode: str) -> None:
    result = tinting.upscale(Image.fromarray(RGB).convert(mode, palette=Image.Palette.ADAPTIVE))
    assert result.mode == mode
    pixels = np.asarray(result.convert("RGB"))
    assert (pixels[..., 0] == pixels[..., 2]).all()
