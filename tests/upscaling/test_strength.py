"""Models between a clean image's and a compressed one's: interpolated weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr.errors import InputError, WeightsError
from pysr.plugin import Model, Weights
from pysr.testing import check_model, photo
from pysr.upscaling.strength import interpolate_weights
from pysr.upscaling.weights import load_weights, save_weights


class Layer(nn.Module):
    """A 3x3 layer added to every pixel repeated, and a counter that is no weight."""

    count: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.register_buffer("count", torch.tensor(seed))
        values = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            self.conv.weight.copy_(values * 0.05)
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, low: Tensor) -> Tensor:
        return (low + self.conv(low)).repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.fixture
def shipped(tmp_path: Path) -> Callable[[str, nn.Module], Weights]:
    def shipped(name: str, network: nn.Module) -> Weights:
        file = tmp_path / f"{name}.safetensors"
        return Weights(file, save_weights(network, file, {}), "free", "nothing")

    return shipped


@pytest.fixture
def mending(install: Callable[..., None], shipped: Callable[[str, nn.Module], Weights]) -> Model:
    """The model "mending", whose training began from "clean" at scale 2, and has no start at scale 3."""
    options: dict[str, Any] = {"colour": "any", "receptive_field": 1}
    clean = {2: shipped("clean", Layer(1))}
    mending = Model(
        "mending",
        (2, 3),
        lambda scale, variant: Layer(),
        "",
        weights={2: shipped("mending", Layer(2)), 3: shipped("mending", Layer(2))},
        made_for="compressed",
        strength_from=clean,
        **options,
    )
    install(mending, Model("clean", (2,), lambda scale, variant: Layer(), "", weights=clean, **options))
    return mending


def upscaled(name: str, **options: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return pysr.load(name, 2, device="cpu", precision="float32", **options).upscale(
        photo(9, 8) * 0.4 + 0.3
    )  # far from where results are clipped


@pytest.mark.usefixtures("mending")
def test_the_ends_are_the_models_themselves_bit_by_bit() -> None:
    assert np.array_equal(upscaled("mending", strength=1), upscaled("mending"))
    assert np.array_equal(upscaled("mending", strength=0), upscaled("clean"))
    assert not np.array_equal(upscaled("mending"), upscaled("clean"))


@pytest.mark.usefixtures("mending")
def test_between_the_ends_the_weights_are_mixed() -> None:
    low, high = upscaled("clean"), upscaled("mending")
    for strength in (0.25, 0.5):  # the layer is linear, and so is what it makes of mixed weights
        assert np.abs(upscaled("mending", strength=strength) - (low + strength * (high - low))).max() < 1e-6


def test_the_weights_of_strength_0_may_come_from_a_callable(mending: Model, install: Callable[..., None]) -> None:
    def fill(network: nn.Module) -> None:
        network.load_state_dict(Layer(1).state_dict())

    install(mending, replace(mending, name="filled", strength_from={2: fill}))
    for strength in (0, 0.5):
        assert np.array_equal(upscaled("filled", strength=strength), upscaled("mending", strength=strength))


def test_the_outputs_of_another_model_may_be_mixed_in(mending: Model, install: Callable[..., None]) -> None:
    install(
        mending,
        replace(mending, name="mixing", strength_from={2: "clean"}),
        replace(mending, name="clean", weights=mending.strength_from),
    )
    low, high = upscaled("clean"), upscaled("mending")
    assert np.array_equal(upscaled("mixing", strength=0), low)
    assert np.array_equal(upscaled("mixing", strength=1), high)
    assert np.abs(upscaled("mixing", strength=0.25) - (0.75 * low + 0.25 * high)).max() < 1e-6


def test_what_is_no_weight_is_kept(shipped: Callable[[str, nn.Module], Weights]) -> None:
    network = Layer(2)
    interpolate_weights(network, shipped("clean", Layer(1)), 0.5)
    assert network.count == 2
    torch.testing.assert_close(network.conv.weight, (Layer(1).conv.weight + Layer(2).conv.weight) / 2)


def test_weights_of_another_network_change_nothing(shipped: Callable[[str, nn.Module], Weights]) -> None:
    network = Layer(2)
    with pytest.raises(WeightsError, match="is not for the network Layer"):
        interpolate_weights(network, shipped("other", nn.Conv2d(1, 1, 1)), 0.5)
    assert torch.equal(network.conv.weight, Layer(2).conv.weight)


@pytest.mark.parametrize("kind", ["weights", "callable", "model"])
def test_other_weights_of_strength_0_are_another_result(
    kind: str,
    mending: Model,
    install: Callable[..., None],
    shipped: Callable[[str, nn.Module], Weights],
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((4, 4), 90, np.uint8)).save(tmp_path / "in" / "1.png")
    clean = Model("clean", (2,), lambda scale, variant: Layer(), "", colour="any", receptive_field=1)

    def skips(seed: int, strength: float) -> list[bool]:
        """Whether a run with clean weights of that seed skips the file."""
        weights = shipped(f"clean{seed}", Layer(seed))
        start: Any = {"weights": weights, "model": "clean", "callable": partial(load_weights, weights=weights)}[kind]
        install(replace(mending, strength_from={2: start}), replace(clean, weights={2: weights}))
        up = pysr.load("mending", 2, device="cpu", strength=strength)
        return [bool(file.skipped) for file in up.upscale_folder(tmp_path / "in", tmp_path / "out", resume=True)]

    for seed in (1, 3):
        assert skips(seed, 0.5) == [False]
        assert skips(seed, 0.5) == [True]
    assert skips(1, 1) == [False]
    assert skips(3, 1) == [True]  # nothing is mixed in


@pytest.mark.usefixtures("mending")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "clean"}, "^clean has no strength to set at scale 2; leave strength out, or choose mending$"),
        ({"scale": 3}, "^mending has no strength to set at scale 3; leave strength out$"),
        ({"strength": 1.01}, r"^strength is 1.01; give a number from 0 \(clean images\) to 1 \(mending as it is\)"),
        ({"strength": -1}, "^strength is -1;"),
        ({"strength": float("nan")}, "^strength is nan;"),
        ({"model": "clean+mending", "scale": 4}, "^strength cannot be given for several models"),
    ],
)
def test_where_there_is_no_strength_it_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pysr.load(**{"model": "mending", "scale": 2, "strength": 0.5, "device": "cpu"} | arguments)


def test_weights_of_ones_own_have_no_strength(mending: Model) -> None:
    with pytest.raises(InputError, match="for the weights that mending comes with; leave strength or weights out"):
        pysr.load("mending", 2, strength=0.5, weights=mending.weights[2].file, device="cpu")


@pytest.mark.usefixtures("mending")
def test_an_upscaler_names_its_strength() -> None:
    assert pysr.load("mending", 2, strength=0.5, device="cpu").model.name == "mending, strength 0.5"


def test_the_conformance_check_mixes_weights(mending: Model, install: Callable[..., None]) -> None:
    check_model("mending", scales=(2,))
    install(replace(mending, name="same", strength_from=mending.weights))
    with pytest.raises(AssertionError, match="is the same at the strengths 0 and 1"):
        check_model("same", scales=(2,))
