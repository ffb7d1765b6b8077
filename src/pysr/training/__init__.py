"""Training: `train`, and the building blocks of recipes, losses, samplers and fitted models.

A public module. Importing it imports torch, so a plugin imports it inside the functions that build a recipe or loss.
"""

from ..evaluation.comparison import Panel, contact_sheet
from ..files.datasets import read_array, read_planes
from ..imaging.degrade import bicubic as bicubic_downscale
from ..imaging.degrade import crop_to_multiple
from ..ops.seeds import generator as generator_of
from ..upscaling.weights import save_weights
from .config import TrainingOptions, recipe
from .data import Batch, Sampler, Shard, TrainingImage
from .loop import train
from .losses import random_shift
from .optimizers import Muon, muon_and_adam
from .schedules import Schedule, constant, cosine, stepped, trapezoid

__all__ = [
    "Batch",
    "Muon",
    "Panel",
    "Sampler",
    "Schedule",
    "Shard",
    "TrainingImage",
    "TrainingOptions",
    "bicubic_downscale",
    "constant",
    "contact_sheet",
    "cosine",
    "crop_to_multiple",
    "generator_of",
    "muon_and_adam",
    "random_shift",
    "read_array",
    "read_planes",
    "recipe",
    "save_weights",
    "stepped",
    "train",
    "trapezoid",
]
