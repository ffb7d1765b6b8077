"""Training of Johnson's networks: as the shipped weights were trained, and as in the paper."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn
from torch.optim import Adam, Optimizer

from pysr.errors import InputError
from pysr.plugin import Recipe
from pysr.training import constant, muon_and_adam, trapezoid


def adam(rate: float) -> Callable[[nn.Module], list[Optimizer]]:
    return lambda network: [Adam(network.parameters(), rate)]


def muon(network: nn.Module) -> list[Optimizer]:
    """Muon for the 3 x 3 layers, Adam for the first, the last and everything that is not a matrix."""
    hidden = [p for p in network.parameters() if p.ndim == 4 and p.shape[-1] == 3]
    return muon_and_adam(network, hidden, (0.01, 1e-3))


def recipe() -> Recipe:
    """Training of the shipped weights. Differs from the paper (section 4.2: VGG-16, 200,000 steps of 4 crops of 288).

    Start from the weights of `pixel`: features alone first drive a network with random weights into saturated patterns,
    from which only long training recovers.
    """
    return Recipe(
        losses={"perceptual:relu2_2,shift4": 1.0, "l1": 300.0, "checkerboard:4": 1000.0},
        optimizers=adam(2e-4),
        schedule=trapezoid(rise=0.02, fall=0.4),
        steps=1_400,
        batch=8,
        patch=96,
        scales=(4,),
        rescale_augment=(1.0, 0.8, 0.6),
        flat_fraction=1 / 16,
        ema_decay=0.99,
        reasons={
            "losses": "relu2_2 as in the paper, of a VGG-19 distilled to a quarter of its channels, which is shipped; "
            "absolute error with about the same gradient, and the last loss against the checkerboards that features "
            "alone draw",
            "schedule": "the fall makes up for fewer steps",
            "patch": "with the batch, a fifth of the paper's pixels per step: for a CPU",
            "scales": "one network per scale: train x8 with --scale 8",
            "rescale_augment": "the training images are JPEG files; reduced copies are cleaner",
            "flat_fraction": "borders and backgrounds stay plain",
        },
    )


def pixel() -> Recipe:
    """A pixel loss, which the paper compares with, and an optimizer that is faster over the longer training."""
    reasons = {**recipe().reasons, "losses": "absolute error, where the paper has squared error"}
    return replace(recipe(), losses={"l1": 1.0}, optimizers=muon, steps=6_000, reasons=reasons)


def paper() -> Recipe:
    """Section 4.2. Needs the weights of VGG-16: ``python -m pysr_perceptual.fetch vgg16``."""
    return Recipe(
        losses={"perceptual:vgg16/relu2_2": 1.0},
        optimizers=adam(1e-3),
        schedule=constant,
        steps=200_000,
        batch=4,
        patch=288,
        scales=(4,),
        ema_decay=0.0,
        reasons={
            "losses": "features alone: no pixel loss, and no total variation for super-resolution",
            "scales": "one network per scale: train x8 with --scale 8",
            "ema_decay": "the paper keeps the weights themselves",
        },
    )


def style(style: str | None = None) -> Recipe:
    """Section 4.1, for one style.

    Args:
        style: Image file of the style to learn.

    Raises:
        InputError: No file is given.
    """
    if style is None:
        raise InputError("a network learns one style, and no style image was given; give one: -o style=image.jpg")
    return Recipe(
        losses={"perceptual:relu3_3": 1.0, f"style:{style}": 0.1, "tv": 10.0},
        optimizers=adam(1e-3),
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
