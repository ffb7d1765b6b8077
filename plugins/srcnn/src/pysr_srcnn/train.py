"""Training of SRCNN: as the shipped weights were trained, and as in the paper."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from pysr.plugin import Recipe
from pysr.training import constant, muon_and_adam, trapezoid

SCALES = (2,)  # one network per scale: `pysr train srcnn --scale 3` trains another


@torch.no_grad()
def pass_through(network: nn.Module) -> None:
    """Start as the identity: one filter of each layer passes the image on, the others add almost nothing."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers[:-1]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    for layer in layers:
        middle = layer.kernel_size[0] // 2
        layer.weight[0] = 0
        layer.weight[0, 0, middle, middle] = 1


def recipe() -> Recipe:
    """Training of the shipped weights. `reasons` says why it differs from the paper."""
    return Recipe(
        losses={"l1": 1.0},
        optimizers=lambda network: [Adam(network.parameters(), 1e-3)],
        schedule=trapezoid(rise=0.01, fall=0.5),
        steps=6_000,
        batch=32,
        patch=48,
        scales=SCALES,
        init_weights=pass_through,
        rescale_augment=(1.0, 0.8, 0.6),
        hard_mining_candidates=4,
        ema_decay=0.998,
        reasons={
            "optimizers": "Adam needs thousands of steps where the paper's SGD needs millions",
            "init_weights": "the network starts as bicubic enlargement: after 400 steps 32.11 dB on Set5 x3",
            "rescale_augment": "the training images are JPEG files; reduced copies are cleaner",
            "hard_mining_candidates": "of four random positions the one with most detail is used",
        },
    )


def finetune() -> Recipe:
    """A further stage from trained weights: ``--weights FILE``."""
    reasons = {
        "losses": "PSNR is judged by squared error; times 20, so that Adam's epsilon is small beside the gradients",
        "optimizers": "Muon for the second layer, which has most weights, and half of the first stage's rate else",
        "schedule": "the rate falls from the beginning to zero",
        "rescale_augment": recipe().reasons["rescale_augment"],
        "hard_mining_candidates": "any position, as test images are not chosen by their detail",
    }
    return replace(
        recipe(),
        losses={"mse": 20.0},
        optimizers=finetune_optimizers,
        schedule=trapezoid(rise=0.02, fall=0.98),
        steps=15_000,
        hard_mining_candidates=1,
        reasons=reasons,
    )


def finetune_optimizers(network: nn.Module) -> list[Optimizer]:
    """Muon for the second layer, Adam for the first, the last and all biases."""
    return muon_and_adam(network, [dict(network.named_parameters())["map.weight"]], (0.01, 5e-4))


def paper() -> Recipe:
    """Sections 3.3 and 4.1 of the paper."""
    return Recipe(
        losses={"mse": 20 * 20},
        optimizers=paper_optimizers,
        schedule=constant,
        steps=6_250_000,
        batch=128,
        patch=36,
        scales=SCALES,
        shave=8,
        ema_decay=0.0,
        validate_every=10_000,
        reasons={
            "losses": "the paper's error is summed over a patch (20 x 20 after shaving), averaged over patches",
            "optimizers": "the last layer learns ten times as slowly, which the paper calls important to converge",
            "steps": "8e8 backpropagated patches, 128 at a time",
            "batch": "as in the released training files; the text does not say",
            "patch": "33 in the paper; a multiple of 2, 3 and 4 here, so that low and high patches fit each other",
            "shave": "the paper trains without padding, so only pixels that see no border count: half of 17 for 9-5-5",
            "ema_decay": "the paper keeps the weights themselves",
        },
    )


def paper_optimizers(network: nn.Module) -> list[Optimizer]:
    """SGD with momentum 0.9; rates 1e-4, and 1e-5 for the last layer (section 3.3)."""
    first, second, last = (list(layer.parameters()) for layer in network.children())
    groups: list[dict[str, Any]] = [{"params": first + second}, {"params": last, "lr": 1e-5}]
    return [SGD(groups, lr=1e-4, momentum=0.9)]
