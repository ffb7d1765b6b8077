"""What this distribution tells pysr. Imports neither torch nor the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pysr.plugin import Model, Weights, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from pysr.plugin import Recipe

DIGESTS = {
    2: "a92948cafcef4e88facbda1c75171061900647a3b42be447bf677cf9f5388cb1",
    3: "02ee9ad55fbcf61b9a89466bfab9477c8a88d2cc04f1ac4d7cc94fcb86147e53",
    4: "723410a465bd759f28fac08f64a8bd355d0b3373a44070e4e5b10b1f29b1b838",
}


def weights(scale: int) -> Weights:
    return Weights(
        file=Path(__file__).with_name("weights") / f"vdsr-x{scale}.safetensors",
        sha256=DIGESTS[scale],
        licence="Apache-2.0; trained on research image sets without a formal licence",
        trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
    )


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
            scales=tuple(DIGESTS),
            network=network,
            summary="Twenty 3x3 layers that add detail to the bicubic enlargement",
            colour="luma",
            preprocess=("luma", "bicubic"),
            weights={scale: weights(scale) for scale in DIGESTS},
            receptive_field=20,
            recipes={"shipped": recipe, "paper": paper},
            paper="Kim, Lee, Lee: Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
        )
    ]
