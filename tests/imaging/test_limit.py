"""Outputs of networks, limited to what the input shows."""

import torch
from torch.nn.functional import max_pool2d

from pysr.imaging.limit import OVERSHOOT, limit_to_enlarged, limit_to_input
from pysr.plugin import resize


def test_outputs_stay_near_the_levels_around_them() -> None:
    low = torch.full((1, 3, 16, 16), 0.4)
    low[:, :, 8:, :] = 0.6
    found = limit_to_input(torch.randn(1, 3, 64, 64), low, 4)
    assert found.min() >= 0.4 - OVERSHOOT * 0.2 - 1e-6
    assert found.max() <= 0.6 + OVERSHOOT * 0.2 + 1e-6
    torch.testing.assert_close(found[..., :16, :], torch.full((1, 3, 16, 64), 0.4))  # far from the edge


def test_what_is_within_the_limits_and_in_colour_passes() -> None:
    low = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    output = resize(low, 2).clamp(0.1, 0.9)
    torch.testing.assert_close(limit_to_input(output, low, 2), output)


def test_a_little_colour_is_kept_in_part() -> None:
    low = torch.full((1, 3, 8, 8), 0.5)
    low[:, 0] += 2 / 255  # a quarter of what lets all colours pass
    output = torch.full((1, 3, 16, 16), 0.5)
    output[:, 0] += 0.2
    found = limit_to_input(output.repeat(2, 1, 1, 1), low.repeat(2, 1, 1, 1), 2)
    assert found.shape == (2, 3, 16, 16)
    assert (found[:, 0] - found[:, 1]).max() <= 2 / 255 + 1e-6


def test_the_levels_around_a_pixel_of_an_enlarged_image_are_those_of_nine_by_nine() -> None:
    enlarged = torch.rand(2, 1, 30, 7, generator=torch.Generator().manual_seed(0))
    highest, lowest = max_pool2d(enlarged, 9, 1, 4), -max_pool2d(-enlarged, 9, 1, 4)
    for output, limit in ((9.0, 2 * highest - lowest), (-9.0, 2 * lowest - highest)):
        torch.testing.assert_close(limit_to_enlarged(torch.full_like(enlarged, output), enlarged), limit)
    assert torch.equal(limit_to_enlarged(enlarged, enlarged), enlarged)
