"""Seeds: which values are allowed, and those derived for each step and process, or from the name of an image."""

from __future__ import annotations

import zlib
from numbers import Integral
from typing import Any

import numpy as np
import torch

from ..errors import InputError

SEEDS = 2**64  # number of seeds: torch.Generator.manual_seed takes 64 bits
_MULTIPLIER = 1_000_003  # a prime above the length of any training: neighbouring seeds share no step's random numbers


def check_seed(seed: Any) -> int:
    """Return the seed as an int.

    Raises:
        InputError: It is not a whole number from 0 to 2^64 - 1.
    """
    if not isinstance(seed, Integral) or not 0 <= int(seed) < SEEDS:
        raise InputError(f"seed is {seed!r}; give a whole number from 0 to 2^64 - 1")
    return int(seed)


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Derive the seed of one step of one process; neighbouring seeds, steps and ranks get unrelated streams."""
    return ((rank * _MULTIPLIER + seed) * _MULTIPLIER + step) % SEEDS


def generator(seed: int, step: int) -> torch.Generator:
    """Return a CPU generator for one step's random choices; the same seed and step give the same numbers.

    Args:
        seed: Seed of the whole run, 0 to 2^64 - 1.
        step: Number of the step, from 0.

    Returns:
        A new generator, which no other step shares.
    """
    return torch.Generator().manual_seed(step_seed(seed, step))


def generator_for(name: str) -> np.random.Generator:
    """Return the generator of a named image, seeded by the CRC-32 of its name: the same on every machine."""
    return np.random.default_rng(zlib.crc32(name.encode("utf-8", "surrogateescape")))
