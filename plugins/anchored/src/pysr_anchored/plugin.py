"""What this distribution tells pysr. Imports neither torch nor the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pysr.plugin import Model, Weights, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from pysr.plugin import Fit

DIGESTS = {  # of the weights file of each scale
    2: "c5b146f3774d1d17b01af1c893e745319ffc446f78352c1be031466fb892b2d6",
    3: "830d744bff6feb4dabef46d300c711118d05d3629db7cd80c023c3a65bcb57f2",
    4: "82cddec76c8d956c6adde0cbfff5689dae4283716094c5ce187a705af2247614",
}


def weights(scale: int) -> Weights:
    return Weights(
        file=Path(__file__).with_name("weights") / f"aplus-x{scale}.safetensors",
        sha256=DIGESTS[scale],
        licence="Apache-2.0; trained on research image sets without a formal licence",
        trained_on="T91",
    )


def network(scale: int, variant: str | None) -> nn.Module:
    from .network import APlus

    return APlus(scale)


def recipe() -> Fit:
    from .train import recipe

    return recipe()


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="aplus",
            scales=tuple(DIGESTS),
            network=network,
            summary="A linear regressor for each of 512 kinds of patches adds detail to the bicubic enlargement",
            colour="luma",
            preprocess=("luma", "bicubic"),
            weights={scale: weights(scale) for scale in DIGESTS},
            receptive_field=13,
            recipes={"shipped": recipe},
            paper="Timofte, De Smet, Van Gool: A+: Adjusted Anchored Neighborhood Regression for Fast Super-Resolution,"
            " ACCV 2014",
        )
    ]
