"""Artefacts of photographs: each step by what it does."""

import math

import pytest
import torch
from torch import Tensor

from pysr.imaging.artefacts import blur, compress, gaussian_kernel, round_to_8_bits, sharpen, sinc_kernel


def flat(level: float, side: int, channels: int = 3) -> Tensor:
    return torch.full((channels, side, side), level)


@pytest.mark.parametrize(
    "kernel",
    [
        gaussian_kernel((0.6, 0.6)),
        gaussian_kernel((2.8, 1.6), 0.7),
        gaussian_kernel((2, 1), 1, power=0.6),
        gaussian_kernel((2, 1), 1, power=1.6, plateau=True),
        sinc_kernel(1.5, 10),
    ],
)
def test_a_blur_keeps_brightness_and_is_centred(kernel: Tensor) -> None:
    assert kernel.sum() == pytest.approx(1)
    torch.testing.assert_close(kernel, kernel.flip(0, 1))
    torch.testing.assert_close(blur(flat(0.4, 40), kernel), flat(0.4, 40))
    point = torch.zeros(1, 61, 61)
    point[0, 30, 30] = 1
    reach = kernel.shape[0] // 2
    found = blur(point, kernel)[0, 30 - reach : 31 + reach, 30 - reach : 31 + reach]
    torch.testing.assert_close(found.double(), kernel, rtol=0, atol=1e-6)


def test_a_gaussian_has_its_sigmas_along_its_axes() -> None:
    kernel = gaussian_kernel((2.8, 1.6), math.pi / 2)  # rotated: the first sigma is now that of the rows
    position = torch.arange(len(kernel)) - len(kernel) // 2
    assert float((kernel.sum(1) * position**2).sum().sqrt()) == pytest.approx(2.8, rel=0.01)
    assert float((kernel.sum(0) * position**2).sum().sqrt()) == pytest.approx(1.6, rel=0.01)


def test_a_sinc_rings_and_sharpening_overshoots() -> None:
    step = torch.cat([flat(0.25, 64, 1), flat(0.75, 64, 1)], -1)
    for planes in (blur(step, sinc_kernel(1.2, 10)), sharpen(step, 1.0, 1.0)):
        assert planes.max() > 0.76
        assert planes.min() < 0.24
    torch.testing.assert_close(sharpen(flat(0.3, 20), 1.0, 1.5), flat(0.3, 20))


def test_encoders_are_real_and_obey_quality_and_subsampling() -> None:
    stripes = torch.zeros(3, 32, 32)
    stripes[0, :, ::2] = 1  # red lines of one pixel: 4:2:0 cannot keep their colour
    full, half = compress(stripes, "JPEG", 95, subsampling="4:4:4"), compress(stripes, "JPEG", 95)
    assert (full - stripes).abs().mean() < 0.02
    assert (half - stripes).abs().mean() > 0.1
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    for errors in (
        [float((compress(noise, "JPEG", quality) - noise).abs().mean()) for quality in (95, 60, 30)],
        [float((compress(noise, "WEBP", quality) - noise).abs().mean()) for quality in (95, 60, 30)],
    ):
        assert errors == sorted(errors)
    assert compress(noise[:1], "JPEG", 50).shape == (1, 64, 64)


def test_an_offset_moves_the_blocks() -> None:
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64).contiguous()
    moved = compress(ramp, "JPEG", 5, block_offset=(0, 3))
    assert moved.shape == ramp.shape
    jumps = moved[0, 32].diff().abs()
    assert int(jumps.argmax()) % 8 == 4  # between the fifth pixel and the sixth: 3 + 5 = 8
    assert int(compress(ramp, "JPEG", 5)[0, 32].diff().abs().argmax()) % 8 == 7


def test_rounding_clips() -> None:
    assert round_to_8_bits(torch.tensor([-1.0, 0.5, 2.0])).tolist() == pytest.approx([0, 128 / 255, 1])
