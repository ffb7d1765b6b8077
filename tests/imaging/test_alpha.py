"""Colours hidden under transparent pixels never shine through."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pysr.imaging.alpha import bleed
from pysr.imaging.image import open_image
from pysr.imaging.resize import resize

few = settings(derandomize=True, deadline=None, max_examples=60)


def bicubic(image: Any, scale: int) -> Any:
    opened = open_image(image)
    for low, high in [*opened.parts(scale), *opened.alphas(scale)]:
        white = np.iinfo(low.dtype).max if low.dtype.kind == "u" else 1
        values = resize(torch.from_numpy(low / np.float64(white)), Fraction(scale)).clamp(0, 1).numpy() * white
        high[...] = values.round() if low.dtype.kind == "u" else values
    return opened.result()


def digest(image: Any) -> str:
    values = image.view(torch.uint8).numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_a_red_disc_on_transparent_black_has_no_dark_fringe(dtype: Any) -> None:
    y, x = np.mgrid[:33, :33]
    white = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = np.zeros((33, 33, 4), dtype)
    image[np.hypot(y - 16, x - 16) < 11.5] = [white, 0, 0, white]
    before = digest(image)
    result = bicubic(image, 3).astype(np.float64) / white
    seen = result[result[..., 3] > 8 / 255]
    assert len(seen) > 3000
    assert abs(seen[:, :3] - [1, 0, 0]).max() < 0.02
    assert digest(image) == before


def test_a_red_disc_in_a_palette_has_no_dark_fringe() -> None:
    y, x = np.mgrid[:33, :33]
    image = Image.fromarray((np.hypot(y - 16, x - 16) < 11.5).astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 0, 0, 90, 0, 0])
    image.info["transparency"] = 0
    assert set(np.unique(np.asarray(bicubic(image, 3)))) == {0, 1}


def planes_with_alpha(seed: int, height: int, width: int, dtype: str) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    alpha = random.random((1, height, width)) * (random.random((1, height, width)) < random.random())
    colour = random.random((3, height, width))
    if dtype.startswith("u"):
        white = np.iinfo(dtype).max
        return (colour * white).round().astype(dtype), (alpha * white).round().astype(dtype)
    if dtype == "bfloat16":
        return torch.from_numpy(colour).bfloat16(), torch.from_numpy(alpha).bfloat16()
    return colour.astype(dtype), alpha.astype(dtype)


@few
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["uint8", "uint16", "float16", "float32", "bfloat16"]),
    st.booleans(),
)
def test_bleed_changes_only_transparent_pixels_and_mixes_visible_colours(
    seed: int, height: int, width: int, dtype: str, as_tensor: bool
) -> None:
    colour, alpha = planes_with_alpha(seed, height, width, dtype)
    if as_tensor and isinstance(colour, np.ndarray):
        colour, alpha = torch.from_numpy(colour), torch.from_numpy(alpha)
    before = digest(colour), digest(alpha)
    result = bleed(colour, alpha)
    assert (digest(colour), digest(alpha)) == before
    assert type(result) is type(colour)
    assert result.dtype == colour.dtype
    assert result.shape == colour.shape
    old, new, seen = (np.asarray(v.float() if isinstance(v, torch.Tensor) else v) for v in (colour, result, alpha))
    seen = seen[0] > 0
    if seen.all() or not seen.any():
        assert result is colour
        return
    assert np.array_equal(new[:, seen], old[:, seen])
    slack = 1e-2 if dtype == "bfloat16" else 1e-3
    for plane, source in zip(new, old, strict=True):
        assert source[seen].min() - slack <= plane.min()
        assert plane.max() <= source[seen].max() + slack


def test_bleed_in_strips_is_bleed_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    colour, alpha = planes_with_alpha(3, 37, 23, "uint8")
    whole = bleed(colour, alpha)
    monkeypatch.setattr("pysr.imaging.alpha.STRIP", 1)
    assert np.array_equal(bleed(colour, alpha), whole)


def test_bleed_takes_views_of_any_strides() -> None:
    colour, alpha = planes_with_alpha(4, 20, 20, "uint8")
    flipped = bleed(colour[:, ::-1, ::-1].copy(), alpha[:, ::-1, ::-1].copy())
    assert np.array_equal(bleed(colour[:, ::-1, ::-1], alpha[:, ::-1, ::-1]), flipped)
