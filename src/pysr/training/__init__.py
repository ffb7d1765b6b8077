"""Training: `train`, and what a recipe is made of. A public module; it imports torch."""

from .data import Batch, Sampler, TrainingImage
from .loop import train
from .losses import random_shift
from .optimizers import Muon, muon_and_adam
from .schedules import constant, cosine, stepped, trapezoid

__all__ = [
    "Batch",
    "Muon",
    "Sampler",
    "TrainingImage",
    "constant",
    "cosine",
    "muon_and_adam",
    "random_shift",
    "stepped",
    "train",
    "trapezoid",
]
