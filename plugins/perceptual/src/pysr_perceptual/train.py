"""How Johnson's networks are trained: here, and as the paper says."""

from dataclasses import replace

from torch import nn
from torch.optim import Adam, Optimizer

from pysr.errors import InputError
from pysr.plugin import Recipe
from pysr.schedules import constant, trapezoid


def adam(network: nn.Module) -> list[Optimizer]:
    return [Adam(network.parameters(), 1e-3)]


def recipe() -> Recipe:
    """What differs from the paper (section 4.2: features of VGG-16, 200,000 steps of four crops of 288 pixels).

    Start it from what `pixel` has made: features alone drive a network with random weights into saturated patterns
    first, which a long training may leave again.
    """
    return Recipe(
        losses={"perceptual:relu2_2,shift4": 1.0},
        optimizers=adam,
        schedule=trapezoid(rise=0.01, fall=0.4),
        steps=20_000,
        batch=8,
        patch=96,
        scales=(4,),
        shrink=(1.0, 0.8, 0.6),
        candidates=2,
        reasons={
            "losses": "relu2_2 as in the paper, of a VGG-19 distilled to a quarter of its channels, which is shipped; "
            "moved by up to 3 pixels against checkerboards",
            "schedule": "the fall makes up for fewer steps",
            "patch": "with the batch, a fifth of the paper's pixels a step: for a CPU",
            "scales": "a network for each scale: train x8 with --scale 8",
            "shrink": "the training pictures are JPEG files; reduced copies are cleaner",
            "candidates": "of two random places the one with more detail",
        },
    )


def pixel() -> Recipe:
    """The same with a pixel loss, which the paper compares with."""
    return replace(recipe(), losses={"mse": 1.0})


def paper() -> Recipe:
    """Section 4.2. The numbers of VGG-16 must be here: ``python -m pysr_perceptual.fetch vgg16``."""
    return Recipe(
        losses={"perceptual:vgg16/relu2_2": 1.0},
        optimizers=adam,
        schedule=constant,
        steps=200_000,
        batch=4,
        patch=288,
        scales=(4,),
        average=0.0,
        reasons={
            "losses": "features alone: no pixel loss, and no total variation for super-resolution",
            "scales": "a network for each scale: train x8 with --scale 8",
            "average": "the paper keeps the weights themselves",
        },
    )


def style(style: str | None = None) -> Recipe:
    """Section 4.1, for one style. style: an image file, whose style the network is to learn."""
    if style is None:
        raise InputError("a network learns one style: give the picture, as in -o style=picture.jpg")
    return Recipe(
        losses={"perceptual:relu3_3": 1.0, f"style:{style}": 0.1, "tv": 10.0},
        optimizers=adam,
        schedule=constant,
        steps=8_000,
        batch=4,
        patch=128,
        scales=(1,),
        reasons={
            "losses": "content at relu3_3, style at four layers, both of the distilled VGG-19; balanced by eye",
            "steps": "40,000 in the paper; with crops of half the side a tenth of the work, for a CPU",
            "patch": "256 in the paper",
        },
    )
