"""Training of VDSR: as the shipped weights were trained, and as in the paper."""

from dataclasses import replace
from functools import partial

from torch import nn
from torch.optim import SGD, Optimizer

from pysr.plugin import Recipe
from pysr.training import muon_and_adam, stepped, trapezoid


def optimizers(network: nn.Module, rate: float, adam_rate: float) -> list[Optimizer]:
    """Muon for the eighteen 64 x 64 layers, Adam for the first, the last and all biases."""
    hidden = [value for value in network.parameters() if value.ndim == 4 and min(value.shape[:2]) > 1]
    return muon_and_adam(network, hidden, (rate, adam_rate))


def recipe() -> Recipe:
    """Training of the shipped weights.

    Differs from the paper (section 3.2: SGD at 0.1 with clipped gradients, squared error, 41 x 41 patches).
    """
    return Recipe(
        losses={"l1": 1.0},
        optimizers=partial(optimizers, rate=0.015, adam_rate=1e-3),
        schedule=trapezoid(rise=0.01, fall=0.4),
        steps=10_000,
        batch=12,
        patch=48,
        scales=(2, 3, 4),
        rescale_augment=(1.0, 0.8, 0.6),
        hard_mining_candidates=2,
        ema_decay=0.998,
        reasons={
            "losses": "absolute error converges faster than squared error at the same PSNR",
            "optimizers": "after 300 steps 29.60 dB on Set5 x4, against 29.14 dB with Adam alone at 1e-3",
            "patch": "the smallest multiple of 2, 3 and 4 that exceeds the receptive field of 41",
            "scales": "one network for all scales, as the paper's section 3.3",
            "rescale_augment": "the training images are JPEG files; reduced copies are cleaner",
            "hard_mining_candidates": "of two random positions the one with more detail is used",
        },
    )


def finetune() -> Recipe:
    """A further stage from trained weights: ``--weights FILE``."""
    reasons = {
        **recipe().reasons,
        "optimizers": "0.4 of the first stage's rates: trained weights lose at those what many steps then regain",
        "schedule": "rates fall from the beginning to zero",
    }
    lower = partial(optimizers, rate=0.006, adam_rate=4e-4)
    return replace(recipe(), optimizers=lower, schedule=trapezoid(rise=0.02, fall=0.98), steps=4_000, reasons=reasons)


def paper() -> Recipe:
    """Sections 3.2 and 5 of the paper."""
    patch = 48
    return Recipe(
        losses={"mse": patch * patch / 2},
        optimizers=lambda network: [SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)],
        schedule=stepped(0.25, 0.5, 0.75),
        steps=9_960,
        batch=64,
        patch=patch,
        scales=(2, 3, 4),
        clip_theta=1e-4,
        ema_decay=0.0,
        reasons={
            "losses": "half the squared error, summed over a patch: with the mean, a rate of 0.1 changes little",
            "schedule": "divided by ten every 20 of 80 epochs",
            "steps": "80 epochs of the paper's set",
            "patch": "41 in the paper; a multiple of 2, 3 and 4 here, so that low and high patches fit each other",
            "clip_theta": "each value to [-theta / rate, theta / rate]; the paper does not give theta, 1e-4 is stable",
            "ema_decay": "the paper keeps the weights themselves",
        },
    )
