"""The loss that sees grids and nothing else."""

import pytest
import torch

from pysr.errors import InputError
from pysr.registry import registry
from pysr.testing import photo
from pysr_perceptual.checkerboard import checkerboard

IMAGE = torch.from_numpy(photo(82, 72, seed=3)).permute(2, 0, 1)[None]
LOSS = checkerboard()


def grid(period: int) -> torch.Tensor:
    planes = torch.zeros_like(IMAGE)
    planes[..., 1::period, 2::period] = 0.05
    return planes


def random_signs() -> torch.Tensor:
    return torch.randint(2, IMAGE.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("period", [2, 4])
def test_a_grid_costs_more_than_noise(period: int) -> None:
    noise = grid(period).mean() * random_signs()
    assert LOSS(IMAGE + grid(period), IMAGE) > 10 * LOSS(IMAGE + noise, IMAGE)
    assert LOSS(IMAGE + grid(period), IMAGE) > 0.005


def test_what_every_place_has_in_common_is_free() -> None:
    assert float(LOSS(IMAGE, IMAGE)) == 0
    assert float(LOSS(IMAGE + 0.1, IMAGE)) == pytest.approx(0, abs=1e-6)


def test_a_grid_of_random_signs_costs_by_its_detail() -> None:
    everywhere = grid(2).mean() * random_signs()
    assert LOSS(IMAGE + grid(2) * random_signs(), IMAGE) > 3 * LOSS(IMAGE + everywhere, IMAGE)


def test_a_grid_in_one_image_of_four_costs_a_quarter() -> None:
    images = IMAGE.expand(4, -1, -1, -1)
    outputs = images + grid(4) * torch.tensor([0, 0, 1, 0]).view(4, 1, 1, 1)
    assert float(LOSS(outputs, images)) == pytest.approx(float(LOSS(IMAGE + grid(4), IMAGE)) / 4, rel=0.01)


def test_chance_evens_out_over_a_batch() -> None:
    images = IMAGE.expand(16, -1, -1, -1)
    noise = 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert LOSS(images + noise, images) < LOSS(images[:1] + noise[:1], IMAGE) / 2.5


def test_a_grid_does_not_hide_behind_an_opposite_one() -> None:
    """Smooth on the left, textured on the right, and a grid that is the other way round there."""
    target = torch.full((1, 3, 64, 128), 0.5)
    target[..., 64:] += 0.2 * torch.randn((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    opposite = torch.zeros_like(target)
    opposite[..., 1::4, 2::4] = 0.01
    opposite[..., 64:] *= -1
    assert checkerboard("4", "calm")(target + opposite, target) > 3 * LOSS(target + opposite, target)


def test_gradients_flow() -> None:
    output = (IMAGE + grid(4)).requires_grad_()
    LOSS(output, IMAGE).backward()
    assert output.grad is not None and output.grad.abs().sum() > 0


def test_what_cannot_be_is_said() -> None:
    assert float(registry().loss("checkerboard").build("2")(IMAGE + grid(4), IMAGE)) > 0
    for period in ("1", "17", "x", "4.0"):
        with pytest.raises(InputError, match="2 to 16 pixels, as in 'checkerboard:4'"):
            checkerboard(period)
    with pytest.raises(InputError, match=r"takes the option calm, .*; got loud"):
        checkerboard("4", "loud")
    with pytest.raises(InputError, match="80 x 5 pixels have no cell of checkerboard:4; take larger patches"):
        LOSS(torch.rand(1, 3, 5, 80), torch.rand(1, 3, 5, 80))
