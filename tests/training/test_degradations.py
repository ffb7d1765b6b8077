"""The degradation `photo`: every chain another one, each a function of its random numbers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pysr.imaging.artefacts import round_to_8_bits
from pysr.imaging.degrade import bicubic
from pysr.testing import photo as photograph
from pysr.training.degradations import photo


def scene(channels: int = 3) -> Tensor:
    return torch.from_numpy(photograph(96, 96)).permute(2, 0, 1)[:channels].contiguous()


@pytest.mark.parametrize(("channels", "scale"), [(3, 4), (1, 2)])
def test_it_gives_a_small_8_bit_image(channels: int, scale: int) -> None:
    high = scene(channels)
    for seed in range(12):
        low = photo(high, scale, np.random.default_rng(seed))
        assert low.shape == (channels, 96 // scale, 96 // scale)
        assert low.dtype == torch.float32
        torch.testing.assert_close(low * 255, (low * 255).round().clamp(0, 255))
        assert torch.equal(low, photo(high, scale, np.random.default_rng(seed)))
        assert (low - bicubic(high, scale)).abs().mean() < 0.15


def test_chains_differ_and_some_leave_the_image_clean() -> None:
    high = scene()
    lows = [photo(high, 4, np.random.default_rng(seed)) for seed in range(200)]
    clean = round_to_8_bits(bicubic(high, 4))
    assert 22 < sum(torch.equal(low, clean) for low in lows) < 60  # of 200, about 20 %
    damaged = [low for low in lows if not torch.equal(low, clean)]
    assert len({low.numpy().tobytes() for low in damaged}) > 0.97 * len(damaged)
