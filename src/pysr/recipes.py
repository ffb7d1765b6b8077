"""How models are trained, as named values: what a plugin's recipes build. Public as part of `pysr.plugin`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .plugin import Progress
    from .training.data import Sampler, TrainingImage


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained by gradient steps: every value that matters, by name.

    Attributes:
        losses: Weights of registered losses, which are summed; ``"perceptual:relu2_2"`` is the loss `perceptual` with
            that option, and commas separate several options.
        optimizers: Builds the optimizers for a network.
        schedule: From training progress, 0 to 1, to the factor on the base rate of every optimizer, those of losses
            included.
        steps: Number of steps.
        batch: Patches per step, divided evenly among the scales.
        patch: Side of a high-resolution patch in pixels, a multiple of every scale.
        scales: Upscaling factors that one network is trained for together.
        shave: Pixels of an output's border that the losses do not see.
        init_weights: Changes the new network in place before the first step.
        clip_theta: Theta of adjustable gradient clipping (VDSR, section 3.2): each value of a gradient is clipped to
            [-theta / rate, theta / rate], where rate is the current learning rate of its parameter.
        rescale_augment: Each training image is used at these relative sizes; (1.0,) uses the original size only.
        hard_mining_candidates: Of this many random positions, the one with the most detail becomes a patch.
        rotate: Whether patches are rotated by quarter turns and flipped vertically; otherwise they are only mirrored
            left to right (faces stand upright).
        flat_fraction: Share of the patches that are one random colour.
        neutral_fraction: Share of the other patches that become images without colour: gray photographs, halftones,
            checkerboards, lines and text.
        degradation: Name of the `Degradation` that makes low-resolution patches; None is the antialiased bicubic. Each
            patch gets random numbers that depend on the seed and the step alone. Validation stays as it is.
        compute_losses: Replaces ``losses`` for methods that do not apply a sum of losses to a single output: called as
            ``compute_losses(network, low, high)`` with the network's input, (N, C, h, w) float, and the ground truth,
            (N, C, H, W) float in [0, 1]. Returns scalar losses by name, whose sum is minimised.
        sampler: Makes the batches, for methods whose inputs are not downscaled images: called as
            ``sampler(places, seed)`` with the paths given to ``--data``.
        ema_decay: Decay of the exponential moving average of the weights, which is validated and kept; 0 keeps the
            weights themselves.
        validate_every: Steps between validations.
        reasons: Why a value is what it is, by its name.
        name: The name under which the model offers it; `pysr.training.recipe` fills it in.

    Raises:
        ValueError: Both or neither of ``losses`` and ``compute_losses`` are given.
    """

    losses: Mapping[str, float]
    optimizers: Callable[[nn.Module], list[torch.optim.Optimizer]]
    schedule: Callable[[float], float]
    steps: int
    batch: int
    patch: int
    scales: tuple[int, ...]
    shave: int = 0
    init_weights: Callable[[nn.Module], None] | None = None
    clip_theta: float | None = None
    rescale_augment: tuple[float, ...] = (1.0,)
    hard_mining_candidates: int = 1
    rotate: bool = True
    flat_fraction: float = 0.0
    neutral_fraction: float = 0.0
    degradation: str | None = None
    compute_losses: Callable[[Any, Tensor, Tensor], Mapping[str, Tensor]] | None = None
    sampler: Callable[[Sequence[Path], int], Sampler] | None = None
    ema_decay: float = 0.999
    validate_every: int = 500
    reasons: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if bool(self.losses) == bool(self.compute_losses):
            given = "both" if self.losses else "neither"
            raise ValueError(f"a recipe takes either losses or compute_losses; {given} were given; give one of the two")


@dataclass(frozen=True)
class Fit:
    """How a model is fitted to images without gradient steps, one scale at a time.

    Attributes:
        fit: Called as ``fit(network, images, scale, seed, progress)``; fills the network's tensors in place. The same
            seed and images give the same tensors. ``progress`` is a `Progress`.
        scales: Scales that it can be fitted for; the first is the default.
        rescale_augment: Each training image is used at these relative sizes; (1.0,) uses the original size only.
        reasons: Why a value is what it is, by its name.
        name: The name under which the model offers it; `pysr.training.recipe` fills it in.
    """

    fit: Callable[[nn.Module, Sequence[TrainingImage], int, int, Progress], None]
    scales: tuple[int, ...]
    _: KW_ONLY
    rescale_augment: tuple[float, ...] = (1.0,)
    reasons: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
