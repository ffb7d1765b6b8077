"""One model on windows: how far it sees, what it needs, and what it promises."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pysr.builtin.network import Enlarge, LumaOnly
from pysr.errors import PluginError
from pysr.imaging.colour import GRAY
from pysr.ops.resample import Resampler
from pysr.plugin import Model, Preprocessor
from pysr.upscaling.runner import PreparedNetwork
from pysr.upscaling.stage import BoundPreprocessor, PreUpsampler, Stage


class Twice(nn.Module):
    """Every pixel twice, times a gain of its own for each plane."""

    def __init__(self, *gains: float) -> None:
        super().__init__()
        self.gains = torch.tensor(gains).view(-1, 1, 1)

    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2) * self.gains


class WrongSize(nn.Module):
    def forward(self, low: Tensor) -> Tensor:
        return low


def stage(network: nn.Module, *steps: BoundPreprocessor, **fields: Any) -> Stage:
    spec = Model("probe", (2,), lambda scale, variant: network, "", **{"receptive_field": 0, **fields})
    runner = PreparedNetwork(network, torch.device("cpu"), torch.float32, (spec.channels, 32, 32))
    return Stage(spec, 2, runner, steps, "pysr-fake")


def step(reach: int = 0, after_reach: int = 0, enlarges: bool = False) -> BoundPreprocessor:
    run = Enlarge() if enlarges else LumaOnly()
    return BoundPreprocessor(
        Preprocessor("", lambda: run, "", reach=reach, after_reach=after_reach, enlarges=enlarges), run
    )


@pytest.mark.parametrize(
    ("receptive_field", "steps", "halo"),
    [
        (None, [step(2, enlarges=True)], None),
        (5, [], 5),
        (20, [step(2, enlarges=True)], 12),
        (5, [step(2, enlarges=True)], 5),
        (5, [step(3), step(2, enlarges=True)], 8),
        (5, [step(2, enlarges=True), step(3)], 6),
        (0, [step(0, after_reach=2)], 2),
    ],
)
def test_the_halo_adds_up_along_the_steps(
    receptive_field: int | None, steps: list[BoundPreprocessor], halo: int | None
) -> None:
    assert stage(WrongSize(), *steps, receptive_field=receptive_field).halo == halo


def test_memory_counts_the_larger_of_the_network_and_a_step() -> None:
    small = stage(Twice(1), colour="luma").bytes_per_pixel(1)
    assert stage(Twice(1), colour="any").bytes_per_pixel(3) > 2 * small
    assert stage(Twice(1), step(enlarges=True), colour="luma").bytes_per_pixel(1) > 2 * small
    large = BoundPreprocessor(Preprocessor("", Enlarge, "", enlarges=True), Enlarge(), bytes_per_pixel=1e6)
    assert stage(Twice(1), large, colour="luma").bytes_per_pixel(1) == 1e6 + 8 * 5


def test_a_gray_window_goes_through_a_colour_network_three_times_and_gives_its_luma() -> None:
    window = torch.rand(2, 1, 5, 7)
    gains = (1.5, 1.0, 0.25)
    expected = Twice(sum(g * weight for g, weight in zip(gains, GRAY, strict=True)))(window)
    assert torch.allclose(stage(Twice(*gains), colour="rgb").process(window), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_planes_go_through_a_network_for_any_one_by_one(channels: int) -> None:
    window = torch.rand(2, channels, 5, 7)
    assert torch.equal(stage(Twice(1), colour="any").process(window), Twice(1)(window))


def test_nothing_is_clipped_or_rounded() -> None:
    window = torch.tensor([-0.3, 0.123456789, 1.4]).view(1, 1, 1, 3)
    assert torch.equal(stage(Twice(1), colour="luma").process(window), Twice(1)(window))
    assert torch.equal(PreUpsampler(stage(Twice(3), colour="luma")).preprocess(window, 2)[0], Twice(3)(window))


def test_a_pre_upsampler_runs_with_its_own_steps() -> None:
    run = PreUpsampler(stage(Resampler("bicubic", 2), step(after_reach=2), colour="luma"))
    window = torch.rand(1, 3, 6, 5)
    enlarged, context = run.preprocess(window, 2)
    assert torch.allclose(enlarged, Resampler("bicubic", 2)(window), atol=1e-5)
    assert run.postprocess(enlarged, context, 2) is enlarged


@pytest.mark.parametrize(
    ("network", "message"), [(WrongSize(), "returned .* for an input of"), (Twice(1, torch.nan, 1), "returned NaN")]
)
def test_a_network_that_breaks_its_promise_is_named(network: nn.Module, message: str) -> None:
    with pytest.raises(PluginError, match=f"'probe' of pysr-fake {message}"):
        stage(network, colour="rgb").process(torch.rand(1, 3, 8, 8))
