"""Training: `train`, what recipes and losses are made of, and what studies of a training need.

A public module; it imports torch.
"""

from ..evaluation.comparison import Panel, contact_sheet
from ..imaging.datasets import read_array, read_planes
from ..upscaling.weights import save_weights
from .data import Batch, Sampler, TrainingImage, generator_of
from .loop import train
from .losses import random_shift
from .optimizers import Muon, muon_and_adam
from .schedules import constant, cosine, stepped, trapezoid

__all__ = [
    "Batch",
    "Muon",
    "Panel",
    "Sampler",
    "TrainingImage",
    "constant",
    "contact_sheet",
    "cosine",
    "generator_of",
    "muon_and_adam",
    "random_shift",
    "read_array",
    "read_planes",
    "save_weights",
    "stepped",
    "train",
    "trapezoid",
]
