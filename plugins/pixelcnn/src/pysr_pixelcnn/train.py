"""Training of PixelCNN: as the shipped weights were trained, and as in the paper."""

from collections.abc import Callable

from torch import nn
from torch.optim import Optimizer, RMSprop

from pysr.plugin import Recipe
from pysr.training import muon_and_adam, stepped, trapezoid

from .digits import CornersSampler, corner_losses, head_losses
from .network import cross_entropies

MATRIX = 16  # channels per side from which a layer is a matrix worth orthogonalising


def optimizers(rate: float) -> Callable[[nn.Module], list[Optimizer]]:
    """Muon for the layers between the first and the logits, Adam at `rate` for the rest."""

    def build(network: nn.Module) -> list[Optimizer]:
        hidden = [
            value
            for name, value in network.named_parameters()
            if value.ndim == 4 and ("layers." in name or "body" in name) and min(value.shape[:2]) >= MATRIX
        ]
        return muon_and_adam(network, hidden, (0.01, rate), betas=(0.9, 0.95))

    return build


def faces_recipe() -> Recipe:
    """Training of the shipped weights. `reasons` says why it differs from `paper`."""
    return Recipe(
        losses={},
        compute_losses=cross_entropies,
        optimizers=optimizers(6e-3),
        schedule=trapezoid(rise=0.002, fall=0.6),
        steps=14_000,
        batch=4,
        patch=32,
        scales=(4,),
        rotate=False,
        ema_decay=0.995,
        reasons={
            "optimizers": "better than Adam alone in equal time: after 170 s 6.07 against 6.13 bits per sub-pixel",
            "batch": "4 is better than 8 and 16 in equal time (4.60, 5.32 and 6.05 bits after 170 s)",
            "rotate": "faces stand upright; they are only mirrored left to right",
        },
    )


def paper() -> Recipe:
    """The paper's appendix, with what it leaves open as in published re-implementations."""
    return Recipe(
        losses={},
        compute_losses=cross_entropies,
        optimizers=lambda network: [RMSprop(network.parameters(), 4e-4, alpha=0.95, momentum=0.9, eps=1e-8)],
        schedule=stepped(factor=0.5),
        steps=200_000,
        batch=32,
        patch=32,
        scales=(4,),
        rotate=False,
        ema_decay=0.0,
        reasons={
            "schedule": "halved every 500,000 steps, so never in this training",
            "ema_decay": "the paper keeps the weights themselves",
        },
    )


def corners_recipe() -> Recipe:
    """The study of ambiguity: PixelCNN."""
    return Recipe(
        losses={},
        compute_losses=corner_losses,
        sampler=CornersSampler,
        optimizers=optimizers(3e-3),
        schedule=trapezoid(rise=0.01, fall=0.6),
        steps=10_000,
        batch=2,
        patch=56,
        scales=(2,),
        ema_decay=0.99,
        reasons={"compute_losses": "whether a pixel is bright weighs 40 times: see corner_losses"},
    )


def head_recipe(losses: dict[str, float]) -> Recipe:
    """The study's other heads.

    Args:
        losses: Weights of losses; if empty, the cross-entropy of each pixel on its own.
    """
    return Recipe(
        losses=losses,
        compute_losses=None if losses else head_losses,
        sampler=CornersSampler,
        optimizers=optimizers(3e-3),
        schedule=trapezoid(rise=0.02, fall=0.5),
        steps=1_000,
        batch=4,
        patch=56,
        scales=(2,),
        ema_decay=0.99,
    )
