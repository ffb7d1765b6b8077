"""Training of `photo` and `photo-sharp`."""

from functools import partial

from torch import nn
from torch.optim import Optimizer

from pysr.plugin import Recipe
from pysr.training import trapezoid
from pysr_srgan.train import PERCEPTUAL
from pysr_srgan.train import muon as srgan_muon

from .network import fill_from_srresnet

SECOND = "perceptual:" + ",".join(f"efficientnet-lite0/relu{block}" for block in (0, 1, 3, 5, 8)) + ",unit,shift8"


def muon(network: nn.Module, rate: float) -> list[Optimizer]:
    """Muon for the 3 x 3 layers, and Adam at a tenth of its rate for the others, as for SRResNet."""
    return srgan_muon(network, rate, rate / 10)


def recipe() -> Recipe:
    """Training of `photo`, starting from `srresnet`."""
    return Recipe(
        losses={"l1": 1.0, "mse": 8.0},
        optimizers=partial(muon, rate=0.003),
        schedule=trapezoid(rise=0.01, fall=1.0),
        steps=3_800,
        batch=8,
        patch=96,
        scales=(4,),
        init_weights=fill_from_srresnet,
        rescale_augment=(1.0, 0.8),
        neutral_fraction=1 / 32,
        degradation="photo",
        ema_decay=0.99,
        validate_every=250,
        reasons={
            "losses": "of what a damaged input leaves open, squared errors make the mean, which PSNR rewards",
            "init_weights": "what upscales clean images is near to what upscales degraded ones",
            "hard_mining_candidates": "none: flat areas, where noise and blocks are seen best, count as well",
            "neutral_fraction": "text and patterns get no coloured edges",
        },
    )


def sharp_recipe() -> Recipe:
    """Training of `photo-sharp`, starting from `photo`: ``--weights photo-x4.safetensors``.

    Needs the losses of pysr-perceptual: ``pip install pysr-photo[train]``.
    """
    return Recipe(
        losses={"l1": 20.0, PERCEPTUAL: 6.0, SECOND: 14.0, "projected": 0.3, "checkerboard:4": 100.0},
        optimizers=partial(muon, rate=0.002),
        schedule=trapezoid(rise=0.02, fall=0.6),
        steps=2_000,
        batch=8,
        patch=96,
        scales=(4,),
        rescale_augment=(1.0, 0.8, 0.6),
        flat_fraction=1 / 16,
        neutral_fraction=1 / 8,
        degradation="photo",
        ema_decay=0.995,
        validate_every=250,
        reasons={
            "losses": "those of `srgan` and features of a second network, as those of one are soon learnt by heart;"
            " neither is the network of the metric `perceptual`",
            "flat_fraction": "a discriminator tolerates texture on plain backgrounds, a user does not",
            "neutral_fraction": "a discriminator tolerates colours in text, too",
        },
    )
