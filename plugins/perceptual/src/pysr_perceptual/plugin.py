"""What this distribution tells pysr. Imports neither torch nor the networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pysr.plugin import Loss, Metric, Model, Weights, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from pysr.plugin import Recipe

PAPER = "Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer and Super-Resolution, ECCV 2016"


VARIANTS = ("features", "pixels")  # what the network was taught by
DIGESTS = {
    (4, "features"): "6245cef5a21b0e6fe1a25745298961d6ab05b5d489f8d996f9054dd493c12536",
    (4, "pixels"): "005feba312977c5eead2433f32c99b9f4eb9fe63efa85d22340a32eab4e58f6e",
}


def weights(scale: int, variant: str) -> Weights:
    return Weights(
        file=Path(__file__).with_name("weights") / f"perceptual-{variant}-x{scale}.safetensors",
        sha256=DIGESTS[scale, variant],
        licence="Apache-2.0; trained on research image sets without a formal licence",
        trained_on="T91, BSDS200 (without 302003, which is Set5's woman), BSDS500 test",
    )


def super_resolution(scale: int, variant: str | None) -> nn.Module:
    from .network import SuperResolution

    return SuperResolution(scale)


def style_transfer(scale: int, variant: str | None) -> nn.Module:
    from .network import StyleTransfer

    return StyleTransfer()


def recipe() -> Recipe:
    from .train import recipe

    return recipe()


def pixel() -> Recipe:
    from .train import pixel

    return pixel()


def paper() -> Recipe:
    from .train import paper

    return paper()


def style_recipe(style: str | None = None) -> Recipe:
    from .train import style as recipe

    return recipe(style)


def perceptual(*options: str) -> Callable[[Tensor, Tensor], Tensor]:
    from .losses import perceptual

    return perceptual(*options)


def style(*options: str) -> Callable[[Tensor, Tensor], Tensor]:
    from .losses import style

    return style(*options)


def total_variation() -> Callable[[Tensor, Tensor], Tensor]:
    from .losses import total_variation

    return total_variation


def checkerboard(*options: str) -> Callable[[Tensor, Tensor], Tensor]:
    from .checkerboard import checkerboard

    return checkerboard(*options)


def projected(*options: str) -> Callable[[Tensor, Tensor], Tensor]:
    from .projected import projected

    return projected(*options)


def distance() -> Callable[[Tensor, Tensor], float]:
    from .distance import perceptual_distance

    return perceptual_distance


@hookimpl
def pysr_models() -> list[Model]:
    return [
        Model(
            name="perceptual",
            scales=(4, 8),
            network=super_resolution,
            weights={key: weights(*key) for key in DIGESTS},
            variants=VARIANTS,
            summary="Learnt features of the truth: sharper than its variant that learnt pixels, at less PSNR",
            receptive_field=14,
            needs_float32=True,
            recipes={"shipped": recipe, "pixel": pixel, "paper": paper},
            paper=PAPER,
        ),
        Model(
            name="perceptual-style",
            scales=(1,),
            network=style_transfer,
            summary="The image in the style of the picture that it was trained for; of the same size",
            domain="style",
            receptive_field=54,
            multiple_of=4,
            needs_float32=True,
            recipes={"shipped": style_recipe},
            paper=PAPER,
        ),
    ]


@hookimpl
def pysr_losses() -> list[Loss]:
    return [
        Loss("perceptual", perceptual, "Distance of features; perceptual:relu3_3, perceptual:squeezenet/fire3"),
        Loss("style", style, "Distance of Gram matrices of features; style:picture.jpg, style:relu1_2,relu2_2"),
        Loss("tv", total_variation, "Total variation of the output"),
        Loss("projected", projected, "What discriminators of features think that learn beside the network"),
        Loss("checkerboard", checkerboard, "Grids that the truth has not; checkerboard:4, the scale"),
    ]


@hookimpl
def pysr_metrics() -> list[Metric]:
    return [
        Metric(
            "perceptual",
            distance,
            "Distance of SqueezeNet's features, in the form of LPIPS but not calibrated as it is",
            "perceptual distance",
            colour="rgb",
            lower_is_better=True,
            smallest=31,
        )
    ]
