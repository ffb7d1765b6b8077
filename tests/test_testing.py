"""The conformance check finds what it is there to find."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pysr.errors import InputError, PluginError
from pysr.plugin import Degradation, Model
from pysr.registry import registry
from pysr.testing import check_degradation, check_model, measured_receptive_field


class Doubling(nn.Module):
    """Sound: nearest enlargement; the tests below break one thing each."""

    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2)


class Inverting(Doubling):
    def forward(self, low: Tensor) -> Tensor:
        return super().forward(low * 0.5)


class Random(Doubling):
    def forward(self, low: Tensor) -> Tensor:
        return super().forward(low + torch.rand(()) * 0.05)


class Remembering(Doubling):
    """Not safe for threads: the state of one call reaches the next."""

    last = 0.0

    def forward(self, low: Tensor) -> Tensor:
        shift, self.last = self.last, float(low.mean()) * 0.1
        return super().forward(low + shift)


class Seeing(Doubling):
    """Sees two pixels to every side."""

    def forward(self, low: Tensor) -> Tensor:
        return super().forward(nn.functional.avg_pool2d(nn.functional.pad(low, (2, 2, 2, 2)), 5, 1))


class Faint(Doubling):
    """Sees two pixels to every side, too faintly for patches to differ."""

    def forward(self, low: Tensor) -> Tensor:
        seen = nn.functional.avg_pool2d(nn.functional.pad(low, (2, 2, 2, 2)), 5, 1)
        return super().forward(low + 1e-7 * seen)


class Larger(Doubling):
    def forward(self, low: Tensor) -> Tensor:
        return nn.functional.pad(super().forward(low), (0, 1))


class Unloadable(Doubling):
    """Builds other numbers each time and keeps them out of its state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = 1 - float(torch.rand(())) * 0.01

    def forward(self, low: Tensor) -> Tensor:
        return super().forward(low * self.gain)


class Starting(Doubling):
    """Adds what a layer sees, which at first is nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 5, padding=2, padding_mode="replicate")
        nn.init.zeros_(self.layer.weight)

    def forward(self, low: Tensor) -> Tensor:
        return super().forward(low + self.layer(low))


def model(network: type[nn.Module], name: str = "probe", receptive_field: int = 0) -> Model:
    return Model(name, (2,), lambda scale, variant: network(), "", colour="rgb", receptive_field=receptive_field)


def test_a_sound_model_passes(install: Callable[..., None]) -> None:
    install(model(Doubling), model(Seeing, "other", receptive_field=2))
    check_model("probe")
    check_model("other")


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Inverting, "wrong value range"),
        (Random, "two runs on one image differ"),
        (Remembering, "two runs|8 threads"),
        (Seeing, "from tiles"),
        (Faint, "declares a receptive field of 0 pixels, but 2 were measured"),
        (Unloadable, "state dict|differs"),
    ],
)
def test_a_broken_model_is_told_what_is_wrong(
    install: Callable[..., None], network: type[nn.Module], message: str
) -> None:
    install(model(network))
    with pytest.raises(AssertionError, match=message):
        check_model("probe")


def test_a_model_without_weights_does_not_pass(install: Callable[..., None]) -> None:
    recipes: dict[str, Callable[..., Any]] = {"only": lambda: None}
    install(Model("untrained", (2,), lambda scale, variant: nn.Conv2d(3, 3, 3, padding=1), "", recipes=recipes))
    with pytest.raises(InputError, match="untrained comes without weights for scale 2"):
        check_model("untrained")


def test_layers_that_begin_at_zero_do_not_hide_what_is_before_them(install: Callable[..., None]) -> None:
    recipes: dict[str, Callable[..., Any]] = {"only": lambda: None}
    starting = replace(model(Starting, receptive_field=2), recipes=recipes)
    install(starting, replace(starting, name="other", receptive_field=1))
    check_model("probe", untrained=True)
    with pytest.raises(AssertionError, match="is its receptive_field really 1"):
        check_model("other", untrained=True)


def test_a_wrong_size_is_found(install: Callable[..., None]) -> None:
    install(model(Larger))
    with pytest.raises(PluginError, match="returned"):
        check_model("probe")


@pytest.mark.parametrize("radius", [1, 2, 5])
def test_the_receptive_field_is_measured(radius: int) -> None:
    network = nn.Conv2d(1, 1, 2 * radius + 1, padding=radius)
    assert measured_receptive_field(network, 1, 1, reach=8) == radius


@pytest.mark.parametrize("name", registry().degradations)
def test_installed_degradations_keep_the_contract(name: str) -> None:
    check_degradation(name)


def reduce(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    """Sound: every n-th pixel; the functions below break one thing each."""
    return high[:, ::scale, ::scale].clone()


def reduce_in_place(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    return reduce(high.mul_(0.9), scale, rng)


def reduce_too_much(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    return reduce(high, scale, rng)[:, 1:]


def to_float64(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    return reduce(high, scale, rng).double()


def overexpose(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    return reduce(high, scale, rng) * 2


def add_noise_of_its_own(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    low = reduce(high, scale, rng)
    return (low + 0.1 * torch.rand(low.shape)).clamp(0, 1)


def mirror(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    return reduce(high, scale, rng).flip(-1)


@pytest.mark.parametrize(
    ("degrade", "message"),
    [
        (reduce_in_place, r"probe x2 of \(3, 32, 40\) changed the image"),
        (reduce_too_much, r"gave \(3, 15, 20\), not \(3, 16, 20\)"),
        (to_float64, "gave torch.float64, not torch.float32"),
        (overexpose, r"left \[0, 1\]"),
        (add_noise_of_its_own, "another image for the same random numbers"),
        (mirror, "a flipped image"),
    ],
)
def test_a_broken_degradation_is_told_what_is_wrong(
    install: Callable[..., None], degrade: Callable[[Tensor, int, np.random.Generator], Tensor], message: str
) -> None:
    install(degradations=[Degradation("probe", lambda: degrade, ""), Degradation("sound", lambda: reduce, "")])
    check_degradation("sound")
    with pytest.raises(AssertionError, match=message):
        check_degradation("probe")
