"""Training of Johnson's networks: as the shipped weights were trained, and as in the paper."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from pysr.errors import InputError
from pysr.plugin import Recipe, load_weights
from pysr.training import constant, muon_and_adam, trapezoid

from .plugin import pysr_models

STYLE = "unit,shift4,relu1_1,relu2_1,relu3_1,relu4_1"  # what the loss `style` compares


def adam(rate: float) -> Callable[[nn.Module], list[Optimizer]]:
    return lambda network: [Adam(network.parameters(), rate)]


def muon(network: nn.Module) -> list[Optimizer]:
    """Muon for the 3 x 3 layers, Adam for the first, the last and everything that is not a matrix."""
    hidden = [p for p in network.parameters() if p.ndim == 4 and p.shape[-1] == 3]
    return muon_and_adam(network, hidden, (0.01, 1e-3))


@torch.no_grad()
def begin_at_x8(network: nn.Module) -> None:
    """Begin a network for x8 as the shipped one for x4, taught by pixels. Networks for x4 are left as they are.

    The last stage of stride 1/2, which that has not, begins as interpolation, and its normalisation by giving back the
    mean and deviation that it takes away, as they are for smooth random images.
    """
    *alike, new, norm, _, last = network.get_submodule("layers").children()
    (model,) = (model for model in pysr_models() if model.name == "perceptual")
    smaller, weights = model.network(4, "pixels"), model.weights_for(4, "pixels")
    assert weights and isinstance(new, nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d)
    trained = list(smaller.get_submodule("layers").children())
    if len(alike) + 1 < len(trained):
        return
    load_weights(smaller, weights)
    for layer, given in zip([*alike, last], trained, strict=True):
        layer.load_state_dict(given.state_dict())
    tent = torch.tensor([0.5, 1.0, 0.5])
    new.weight.copy_(torch.eye(new.out_channels)[..., None, None] * tent.outer(tent))
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    smooth = torch.nn.functional.interpolate(torch.rand(16, 3, 6, 6), scale_factor=4, mode="bicubic").clamp(0, 1)
    planes = nn.Sequential(*alike, new).eval()(smooth)
    mean, deviation = planes.mean((0, 2, 3)), planes.std((0, 2, 3))
    own = {"weight": deviation, "bias": mean, "running_mean": mean, "running_var": deviation.square()}
    norm.load_state_dict(norm.state_dict() | own)
    network.train()


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
            "scales": "one network per scale; `shipped-x8` and `pixel-x8` are for x8",
            "rescale_augment": "the training images are JPEG files; reduced copies are cleaner",
            "flat_fraction": "borders and backgrounds stay plain",
        },
    )


def pixel() -> Recipe:
    """A pixel loss, which the paper compares with, and an optimizer that is faster over the longer training."""
    reasons = {
        **recipe().reasons,
        "losses": "absolute error, where the paper has squared error",
        "init_weights": "at x8 it goes on from the shipped network for x4",
    }
    plain = replace(recipe(), losses={"l1": 1.0}, optimizers=muon, steps=6_000, reasons=reasons)
    return replace(plain, init_weights=begin_at_x8)


def at_x8(alike: Recipe, against_grids: dict[str, float]) -> Recipe:
    """Make the recipe for x8 of one for x4, with its own losses against grids."""
    losses = {
        name.replace("shift4", "shift8"): value
        for name, value in alike.losses.items()
        if not name.startswith("checkerboard")
    }
    reasons = {
        **alike.reasons,
        "losses": f"{alike.reasons['losses']}; at x8 several, as each layer of stride 1/2 draws a grid of its own",
        "patch": "16 pixels of the input: patches of 12 are mostly border",
        "batch": "with 3 patches, which are normalised by themselves, colours were off",
    }
    return replace(alike, losses=losses | against_grids, patch=128, scales=(8,), reasons=reasons)


def recipe_x8() -> Recipe:
    """Training of the shipped weights for x8. Start from the weights of `pixel_x8`."""
    return at_x8(replace(recipe(), steps=1_000), {f"checkerboard:{period},calm": 1000.0 for period in (8, 4, 2)})


def pixel_x8() -> Recipe:
    """Training for x8 by pixels, which goes on from the shipped network for x4."""
    return at_x8(pixel(), {"checkerboard:8": 3.0, "checkerboard:2": 3.0})


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
        losses={"perceptual:relu3_1,shift4": 1.0, f"style:{style},{STYLE}": 100.0, "tv": 50.0},
        optimizers=muon,
        schedule=trapezoid(rise=0.02, fall=0.5),
        steps=1_200,
        batch=2,
        patch=192,
        scales=(1,),
        ema_decay=0.99,
        reasons={
            "losses": "the layers are those that the distilled VGG-19 has learnt from the original; without `unit` the "
            "shallow ones would decide, and without shifts features draw grids; balanced by eye",
            "optimizers": "further in the same steps than the paper's Adam",
            "schedule": "the fall makes up for fewer steps",
            "steps": "40,000 in the paper, of four patches of 256 pixels; fewer still from another style's weights",
        },
    )
