"""Training of SRResNet and SRGAN: as the shipped weights were trained, and as in the paper."""

from dataclasses import replace
from functools import partial

from torch import nn
from torch.optim import Adam, Optimizer

from pysr.plugin import Recipe
from pysr.training import constant, muon_and_adam, stepped, trapezoid

from .network import begin_small

PERCEPTUAL = "perceptual:relu1_2,relu2_2,relu3_4,relu4_1,relu4_2,relu4_3,relu4_4,relu5_1,unit,shift8"


def muon(network: nn.Module, rate: float, adam_rate: float) -> list[Optimizer]:
    """Muon for the 3 x 3 layers, Adam for the first, the last and everything that is not a matrix."""
    names = ("blocks", "merge", "enlarge")
    hidden = [p for name, p in network.named_parameters() if p.ndim == 4 and name.startswith(names)]
    return muon_and_adam(network, hidden, (rate, adam_rate))


def adam(network: nn.Module) -> list[Optimizer]:
    return [Adam(network.parameters(), 1e-4, betas=(0.9, 0.999))]


def resnet_recipe() -> Recipe:
    """Training of SRResNet's shipped weights. `reasons` says why it differs from `resnet_paper`."""
    return Recipe(
        losses={"l1": 1.0},
        optimizers=partial(muon, rate=0.01, adam_rate=1e-3),
        schedule=trapezoid(rise=0.01, fall=0.5),
        steps=30_000,
        batch=8,
        patch=96,
        scales=(4,),
        init_weights=begin_small,
        rescale_augment=(1.0, 0.8, 0.6),
        hard_mining_candidates=2,
        ema_decay=0.998,
        reasons={
            "losses": "absolute error converges faster than squared error at the same PSNR",
            "optimizers": "as for VDSR: further in the same steps than Adam alone",
            "init_weights": "the deep network starts as a shallow one",
            "batch": "half the paper's, for a CPU",
            "rescale_augment": "the training images are JPEG files; reduced copies are cleaner",
            "hard_mining_candidates": "of two random positions the one with more detail is used",
        },
    )


def resnet_finetune() -> Recipe:
    """A further stage from trained weights: ``--weights FILE``."""
    reasons = {
        **resnet_recipe().reasons,
        "optimizers": "0.6 of the first stage's rates",
        "schedule": "rates fall from the beginning to zero",
        "neutral_fraction": "so that text, patterns and gray photographs get no coloured edges",
    }
    lower = partial(muon, rate=0.006, adam_rate=6e-4)
    falling = replace(resnet_recipe(), optimizers=lower, schedule=trapezoid(rise=0.02, fall=0.98), reasons=reasons)
    return replace(falling, steps=5_500, neutral_fraction=0.05)


def resnet_finetune_x2() -> Recipe:
    """A further stage for x2 from trained weights: ``--weights FILE``."""
    reasons = {
        **resnet_finetune().reasons,
        "patch": "32 pixels at low resolution, where the network works, against 24 at x4",
        "flat_fraction": "without flat patches it draws garbage on plain areas at an image's border",
    }
    return replace(resnet_finetune(), scales=(2,), patch=64, steps=5_000, flat_fraction=1 / 16, reasons=reasons)


def resnet_paper() -> Recipe:
    """Section 3.2: a million updates of 16 crops of 96 pixels."""
    return Recipe(
        losses={"mse": 4.0},
        optimizers=adam,
        schedule=constant,
        steps=1_000_000,
        batch=16,
        patch=96,
        scales=(4,),
        ema_decay=0.0,
        reasons={
            "losses": "the paper's truth is in [-1, 1], where squared errors are four times as large",
            "ema_decay": "the paper keeps the weights themselves",
        },
    )


def gan_recipe() -> Recipe:
    """SRGAN, starting from SRResNet: ``--weights srresnet-x4.safetensors``.

    Needs the losses of pysr-perceptual: ``pip install pysr-srgan[train]``.
    """
    return Recipe(
        losses={"l1": 130.0, PERCEPTUAL: 7.0, "projected": 0.1, "checkerboard:4": 100.0},
        optimizers=partial(muon, rate=0.002, adam_rate=2e-4),
        schedule=trapezoid(rise=0.02, fall=0.6),
        steps=4_000,
        batch=8,
        patch=96,
        scales=(4,),
        rescale_augment=(1.0, 0.8, 0.6),
        flat_fraction=1 / 16,
        ema_decay=0.995,
        validate_every=500,
        reasons={
            "losses": "features of the distilled VGG-19, whose deepest layer is relu5_1, and discriminators of these "
            "features: they learn faster than the paper's discriminator of pixels; absolute error keeps colours in "
            "place; without the last loss, features draw grids",
            "schedule": "a short training: instead of a second phase as long as the first, rates fall from early on",
            "optimizers": "as for SRResNet: further in the same steps than Adam",
            "flat_fraction": "a discriminator tolerates texture on plain backgrounds, a user does not",
        },
    )


def gan_paper() -> Recipe:
    """Sections 2.2 and 3.2; needs the weights of VGG-19: ``python -m pysr_perceptual.fetch vgg19``."""
    return Recipe(
        losses={"perceptual:vgg19/relu5_4": 0.006, "adversarial:96": 1e-3},
        optimizers=adam,
        schedule=stepped(0.5),
        steps=200_000,
        batch=16,
        patch=96,
        scales=(4,),
        ema_decay=0.0,
        reasons={
            "losses": "features multiplied by 1 / 12.75, that is squared distances by 0.006",
            "schedule": "1e5 updates at 1e-4, then 1e5 at 1e-5",
            "ema_decay": "the paper keeps the weights themselves",
        },
    )
