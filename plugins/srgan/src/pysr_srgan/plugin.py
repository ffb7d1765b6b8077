"""What this distribution tells pysr. Imports neither torch nor the networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pysr.plugin import Loss, Model, Weights, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pysr.plugin import Recipe

PAPER = "Ledig et al.: Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017"
HALF_FIELD = 40  # pixels of the input: 4 of the first layer, 2 a block, 1 of the merge, 3 of what enlarges


DIGESTS = {
    "srgan-x4": "692660b4043e0127269ee15675e12e5888ae19f5b432997ca94ef3b8405e901e",
    "srresnet-x2": "52e87c1a5547e6ddfca3324833630acf2e25ba589901a07878929d3f7d3e700e",
    "srresnet-x4": "1bb0e9682e4971174213c8eeabafd612174125333bbd110c20106ec5bf6da902",
}


def weights(name: str) -> Weights:
    return Weights(
        file=Path(__file__).with_name("weights") / f"{name}.safetensors",
        sha256=DIGESTS[name],
        licence="Apache-2.0; trained on research image sets without a formal licence",
        trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
    )


def network(scale: int, variant: str | None) -> nn.Module:
    from .network import SRResNet

    return SRResNet(scale)


def resnet_recipe() -> Recipe:
    from .train import resnet_recipe

    return resnet_recipe()


def resnet_paper() -> Recipe:
    from .train import resnet_paper

    return resnet_paper()


def gan_recipe() -> Recipe:
    from .train import gan_recipe

    return gan_recipe()


def gan_paper() -> Recipe:
    from .train import gan_paper

    return gan_paper()


def adversarial(*options: str) -> Callable[[Tensor, Tensor], Tensor]:
    from .losses import adversarial

    return adversarial(*options)


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="srresnet",
            scales=(4, 2),
            network=network,
            weights={scale: weights(f"srresnet-x{scale}") for scale in (2, 4)},
            summary="Sixteen residual blocks at low resolution, then pixel shuffle; learnt to be right on average",
            receptive_field=HALF_FIELD,
            recipes={"shipped": resnet_recipe, "paper": resnet_paper},
            paper=PAPER,
        ),
        Model(
            name="srgan",
            scales=(4,),
            network=network,
            weights={4: weights("srgan-x4")},
            summary="SRResNet, taught by a discriminator to look real",
            receptive_field=HALF_FIELD,
            recipes={"shipped": gan_recipe, "paper": gan_paper},
            paper=PAPER,
        ),
    ]


@hookimpl
def pysr_losses() -> list[Loss]:
    return [
        Loss(
            "adversarial",
            adversarial,
            "What a discriminator thinks that learns beside the network; adversarial:96,1e-4",
        )
    ]
