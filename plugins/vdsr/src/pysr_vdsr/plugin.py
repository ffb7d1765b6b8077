"""What this distribution tells pysr. Imports neither torch nor the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pysr.plugin import Model, Weights, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from pysr.plugin import Recipe

WEIGHTS = Weights(
    file=Path(__file__).with_name("weights") / "vdsr.safetensors",
    sha256="fe322361529e7f3686eab77b84aecf8085315abbcea7070bc97ce3033841a475",
    licence="Apache-2.0; trained on research image sets without a formal licence",
    trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
)
SCALES = (2, 3, 4)


def network(scale: int, variant: str | None) -> nn.Module:
    from .network import VDSR

    return VDSR()


def recipe() -> Recipe:
    from .train import recipe

    return recipe()


def paper() -> Recipe:
    from .train import paper

    return paper()


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="vdsr",
            scales=SCALES,
            network=network,
            summary="Twenty 3x3 layers that add detail to the bicubic enlargement",
            colour="luma",
            preprocess=("luma", "bicubic"),
            weights=dict.fromkeys(SCALES, WEIGHTS),
            receptive_field=20,
            recipes={"shipped": recipe, "paper": paper},
            paper="Kim, Lee, Lee: Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
        )
    ]
