"""BT.601 in the studio range, against the printed formulas."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pysr.imaging.colour import GRAY, luma, rgb_to_ycbcr, to_channels, white_of, ycbcr_to_rgb

PRIMARIES = {  # 8-bit RGB: Y, Cb, Cr of ITU-R BT.601 in the studio range, as tables print them
    (0, 0, 0): (16, 128, 128),
    (255, 255, 255): (235, 128, 128),
    (255, 0, 0): (81, 90, 240),
    (0, 255, 0): (145, 54, 34),
    (0, 0, 255): (41, 240, 110),
    (255, 255, 0): (210, 16, 146),
    (0, 255, 255): (170, 166, 16),
    (255, 0, 255): (106, 202, 222),
}


def pixels(*values: tuple[float, ...]) -> torch.Tensor:
    """Colours in 8-bit units as (3, 1, N) planes in [0, 1]."""
    return torch.tensor(values, dtype=torch.float64).T.reshape(3, 1, -1) / 255


def test_primaries_are_those_of_the_standard() -> None:
    found = (rgb_to_ycbcr(pixels(*PRIMARIES)) * 255).round().reshape(3, -1).T
    assert found.tolist() == [list(map(float, ycbcr)) for ycbcr in PRIMARIES.values()]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_luma_is_matlabs_rgb2ycbcr(rgb: tuple[int, int, int]) -> None:
    red, green, blue = rgb
    expected = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    assert float(luma(pixels(rgb))) * 255 == pytest.approx(expected, abs=1e-10)
    assert float(rgb_to_ycbcr(pixels(rgb))[0]) * 255 == pytest.approx(expected, abs=1e-10)
    assert 16 <= expected <= 235


def test_gray_has_neutral_chroma() -> None:
    gray = torch.linspace(0, 1, 256, dtype=torch.float64).expand(3, 1, 256)
    neutral = torch.full((2, 1, 256), 128 / 255, dtype=torch.float64)
    torch.testing.assert_close(rgb_to_ycbcr(gray)[1:], neutral, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_the_inverse_is_exact(dtype: torch.dtype, tolerance: float) -> None:
    rgb = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 1.5, (2, 3, 9, 8))).to(dtype)
    there_and_back = ycbcr_to_rgb(rgb_to_ycbcr(rgb))
    assert there_and_back.dtype == dtype
    torch.testing.assert_close(there_and_back, rgb, rtol=0, atol=tolerance)


def test_all_8_bit_values_survive_in_float32() -> None:
    rgb = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0)).float() / 255
    assert torch.equal((ycbcr_to_rgb(rgb_to_ycbcr(rgb)) * 255).round(), (rgb * 255).round())


def test_shapes() -> None:
    assert luma(torch.rand(3, 4, 5)).shape == (1, 4, 5)
    assert luma(torch.rand(2, 3, 4, 5)).shape == (2, 1, 4, 5)
    assert rgb_to_ycbcr(torch.rand(6, 2, 3, 4, 5)).shape == (6, 2, 3, 4, 5)
    batch = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(luma(batch)[1], luma(batch[1]))


@pytest.mark.parametrize("convert", [luma, rgb_to_ycbcr, ycbcr_to_rgb])
@pytest.mark.parametrize("planes", [2, 4])
def test_other_numbers_of_planes_are_refused(convert: Callable[[torch.Tensor], torch.Tensor], planes: int) -> None:
    with pytest.raises(RuntimeError):
        convert(torch.rand(planes, 4, 5))


def test_luma_of_one_channel_is_itself() -> None:
    gray = torch.rand(2, 1, 4, 5)
    assert luma(gray) is gray


@pytest.mark.parametrize("leading", [(), (2,)])
def test_gray_becomes_rgb_and_rgb_gray(leading: tuple[int, ...]) -> None:
    gray, rgb = torch.rand(*leading, 1, 4, 5), torch.rand(*leading, 3, 4, 5)
    assert to_channels(gray, 1) is gray
    assert to_channels(rgb, 3) is rgb
    assert torch.equal(to_channels(gray, 3), torch.cat([gray] * 3, -3))
    expected = sum(weight * rgb.narrow(-3, i, 1) for i, weight in enumerate(GRAY))
    assert torch.allclose(to_channels(rgb, 1), expected, atol=1e-6)
    assert torch.allclose(to_channels(to_channels(gray, 3), 1), gray, atol=1e-6)


def test_levels_are_rounded() -> None:
    levels = torch.tensor([[10, 200], [20, 100], [31, 7]], dtype=torch.uint8).view(3, 1, 2)
    gray = to_channels(levels, 1)
    assert gray.dtype == torch.uint8
    assert gray.flatten().tolist() == [round(0.299 * 10 + 0.587 * 20 + 0.114 * 31), round(59.8 + 58.7 + 0.798)]


def test_white_is_the_largest_integer_and_one_for_floats() -> None:
    for name, white in (("uint8", 255), ("uint16", 65535), ("float16", 1), ("float32", 1)):
        assert white_of(np.dtype(name)) == white_of(getattr(torch, name)) == white
    assert white_of(torch.bfloat16) == 1
