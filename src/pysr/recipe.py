"""How a model is trained, as named values: what a plugin's `train.py` holds. The work is done by `training`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from .data import Picture, Sampler

Progress = Callable[[int, int, str], None]  # done, total, what to say about it


@dataclass(frozen=True)
class Recipe:
    """How a network is trained by gradient steps: every value that matters, by name.

    losses: weights of registered losses, summed; ``"perceptual:relu2_2"`` is the loss `perceptual` with that option;
        a comma divides several.
    optimizers: builds them for a network.
    schedule: what their learning rates, and those of losses that learn themselves, are multiplied by, from the share
        of the training that is done, 0 to 1.
    steps: how many. batch: patches a step, dealt evenly to the scales. patch: side at high resolution.
    scales: trained together in one network.
    shave: pixels of an output's border that the losses do not see.
    initialise: changes the new network's numbers in place before the first step.
    clip: theta of VDSR's adjustable gradient clipping: each value of a gradient is clipped to
        [-theta / rate, theta / rate], where the rate is the present learning rate of its parameter.
    shrink, candidates, turns, plain: see `pysr.data`; faces want no turns.
    step: for methods that are not one output and a sum of losses, instead of ``losses``: called as
        ``step(network, low, high)`` with what the network gets, (N, C, h, w) float, and the truth, (N, C, H, W) float
        in [0, 1]; returns scalar losses by name, whose sum is descended.
    sampler: for methods whose inputs are not pictures made smaller: called as ``sampler(places, seed)`` with what
        ``--data`` named; makes the batches instead of `pysr.data.PatchSampler`, by a method like its ``batch``.
    average: decay of the running mean of the weights, which is what is validated and kept.
    validate: steps between validations.
    reasons: why, by value name.
    Raises ValueError for both losses and a step, or neither.
    """

    losses: Mapping[str, float]
    optimizers: Callable[[nn.Module], list[torch.optim.Optimizer]]
    schedule: Callable[[float], float]
    steps: int
    batch: int
    patch: int
    scales: tuple[int, ...]
    shave: int = 0
    initialise: Callable[[nn.Module], None] | None = None
    clip: float | None = None
    shrink: tuple[float, ...] = (1.0,)
    candidates: int = 1
    turns: bool = True
    plain: float = 0.0
    step: Callable[[nn.Module, Tensor, Tensor], Mapping[str, Tensor]] | None = None
    sampler: Callable[[Sequence[Path], int], Sampler] | None = None
    average: float = 0.999
    validate: int = 500
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.losses) == bool(self.step):
            raise ValueError(
                "a recipe has either losses or a step of its own, which computes them; give one of the two"
            )


@dataclass(frozen=True)
class Fit:
    """How a model without gradient steps is made from pictures, for one scale at a time.

    fit: called as ``fit(network, pictures, scale, seed, progress)``; fills the network's numbers in place. The same
    seed and pictures give the same numbers. scales: the first is the default. shrink: see `pysr.data.read_pictures`.
    reasons: why, by value name.
    """

    fit: Callable[[nn.Module, Sequence[Picture], int, int, Progress], None]
    scales: tuple[int, ...]
    shrink: tuple[float, ...] = (1.0,)
    reasons: Mapping[str, str] = field(default_factory=dict)
