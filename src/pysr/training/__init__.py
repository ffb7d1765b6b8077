"""Training: `train`, and what a recipe is made of. A public module; it imports torch."""

from .data import Pairs, Picture, Sampler
from .loop import train
from .losses import moved
from .optimizers import Muon, muon_and_adam
from .schedules import constant, cosine, stepped, trapezoid

__all__ = [
    "Muon",
    "Pairs",
    "Picture",
    "Sampler",
    "constant",
    "cosine",
    "moved",
    "muon_and_adam",
    "stepped",
    "train",
    "trapezoid",
]
