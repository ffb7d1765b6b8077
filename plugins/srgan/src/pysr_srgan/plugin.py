"""What this distribution tells pysr. Imports neither torch nor the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysr.plugin import Loss, Model, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pysr.plugin import Recipe

PAPER = "Ledig et al.: Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017"
HALF_FIELD = 40  # pixels of the input: 4 of the first layer, 2 a block, 1 of the merge, 3 of what enlarges


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
            summary="Sixteen residual blocks at low resolution, then pixel shuffle; learnt to be right on average",
            receptive_field=HALF_FIELD,
            needs_float32=True,
            recipes={"shipped": resnet_recipe, "paper": resnet_paper},
            paper=PAPER,
        ),
        Model(
            name="srgan",
            scales=(4,),
            network=network,
            summary="SRResNet, taught by a discriminator to look real",
            receptive_field=HALF_FIELD,
            needs_float32=True,
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
