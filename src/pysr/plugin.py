"""What a plugin author needs: `hookimpl` and the descriptions that the hooks return.

Importing this module imports neither torch nor numpy; a plugin's own module must not either. Everything heavy is
behind a callable that imports inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .hookspecs import hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .training.data import Sampler, TrainingImage

__all__ = ["Fit", "Loss", "Metric", "Model", "Preprocess", "Preprocessor", "Recipe", "Weights", "hookimpl"]

Progress = Callable[[int, int], None]  # called as progress(done, total), in units that the callee chooses


@dataclass(frozen=True)
class Weights:
    """A safetensors file that comes with a plugin.

    file: path of the file. sha256: its digest in lower-case hex; a file that differs is refused.
    licence: terms of the weights (not of the code). trained_on: the data, in words.
    """

    file: Path
    sha256: str
    licence: str
    trained_on: str


@dataclass(frozen=True)
class Model:
    """A named way to upscale: everything that the core needs to know about it, as data.

    name, aliases: how users ask for it; unique over all installed plugins.
    scales: enlargements per side that it offers; the first is the default.
    colour: planes that the network takes: "rgb" (3 planes), "luma" (1) or "any" (each plane by itself).
    domain: what pictures it was made for.
    preprocess: names of preprocessors, in order. `bicubic` among them means that the network works at output size.
    network: builds the untrained ``nn.Module`` for a scale and variant; imports torch inside. It maps
        (N, C, h, w) float in [0, 1] to (N, C, h * scale, w * scale), or to (N, C, h, w) behind an enlarging
        preprocessor; batch items and calls are independent of each other.
    weights: by scale, or by (scale, variant); empty for networks that need none.
    variants: named versions; the first is the default.
    receptive_field: half width, in pixels of the network's input, beyond which an input pixel cannot influence an
        output pixel; None when unbounded (attention, global pooling): such models are blended.
    multiple_of: the network's input sides must be multiples of this.
    needs_float32: a lower precision costs measurably, as where few layers carry the image itself and not only a
        correction to it; the model then computes in float32 whatever is asked for. Only its training may be asked to
        use bfloat16.
    stochastic: the result is drawn at random: the network has ``sample(low, n, seed=0, temperature=1.0, known=None,
        mask=None, progress=None)``, (N, C, h, w) in [0, 1] to (N, n, C, H, W) in [0, 1], with levels that are known,
        (N, C, H, W) uint8, kept where the mask, (N, H, W) bool, is True; and ``log_likelihood(low, high)``, (N,) in
        nats. It sees whole images, never patches.
    recipes: ways to train it, by name; the first is the default, and usually how the shipped weights were made. Each
        builds a `Recipe`, or a `Fit` for a method without gradient steps; imports inside. Its arguments, if any, are
        strings with defaults, which ``pysr train -o NAME=VALUE`` gives.
    paper, summary: one line each.
    """

    name: str
    scales: tuple[int, ...]
    network: Callable[[int, str | None], nn.Module]
    summary: str
    aliases: tuple[str, ...] = ()
    colour: Literal["rgb", "luma", "any"] = "rgb"
    domain: Literal["photo", "face", "digit", "style"] = "photo"
    preprocess: tuple[str, ...] = ()
    weights: Mapping[int | tuple[int, str], Weights] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    receptive_field: int | None = None
    multiple_of: int = 1
    stochastic: bool = False
    needs_float32: bool = False
    recipes: Mapping[str, Callable[..., Recipe | Fit]] = field(default_factory=dict)
    paper: str = ""

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) < 1:
            raise ValueError(f"the model {self.name!r} offers the scales {self.scales}; give whole numbers from 1")

    @property
    def channels(self) -> int:
        """Channels of the network's input and output: 3 for RGB, else 1."""
        return 3 if self.colour == "rgb" else 1

    def weights_for(self, scale: int, variant: str | None = None) -> Weights | None:
        """The weights that come with the model for a scale and variant; None where there are none."""
        return self.weights.get(scale) or self.weights.get((scale, variant or ""))

    @property
    def trained_scales(self) -> tuple[int, ...]:
        """Those of its scales for which weights come with it, or all where it needs none."""
        trained = {key if isinstance(key, int) else key[0] for key in self.weights}
        return tuple(scale for scale in self.scales if scale in trained or not (trained or self.recipes))


class Preprocess(Protocol):
    """What a `Preprocessor` builds: the two halves of a step around the network. Must be safe to call from threads."""

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, Any]:
        """(N, C, h, w) window of the image, float in [0, 1] -> the network's input, and a context for `postprocess`."""

    def postprocess(self, output: Tensor, context: Any, scale: int) -> Tensor:
        """What came back, (N, C', h * scale, w * scale) -> the same at the end of this step."""


@dataclass(frozen=True)
class Preprocessor:
    """A step around the network that works on any window of an image.

    build: makes the step; imports torch inside. reach: half width, in pixels of the step's own input, that one pixel
    of what `preprocess` hands on depends on; these add up along the chain. after_reach: the same for what
    `postprocess` takes from the window past the network. enlarges: whether `preprocess` hands on a window `scale` times
    as large.
    """

    name: str
    build: Callable[[], Preprocess]
    summary: str
    reach: int = 0
    after_reach: int = 0
    enlarges: bool = False


@dataclass(frozen=True)
class Loss:
    """A training loss.

    build: called with the options that a recipe names, as strings (``"perceptual:relu2_2"``; they have defaults);
    returns a callable ``(output, target) -> scalar`` on (N, C, H, W) float tensors in [0, 1].

    What is built may be an ``nn.Module``: it goes to the device of the training, and its state dict into checkpoints.
    A loss that learns, such as an adversarial one, has ``update(output, target)``, called after each step of the
    network with detached tensors; it returns numbers for the log, by name, or None. The optimizers that it steps there
    are its attribute ``optimizers``, a list: they follow the recipe's schedule and go into checkpoints, and with
    several processes their gradients are averaged before each of their steps. Trainings in a low precision call both
    under autocast.
    """

    name: str
    build: Callable[..., Callable[[Tensor, Tensor], Tensor]]
    summary: str


@dataclass(frozen=True)
class Metric:
    """A measure of an output against the truth, for `pysr evaluate --metric NAME`.

    build: called without arguments; returns a callable ``(output, target) -> float`` on (C, H, W) float64 tensors of
    the same shape in [0, 1]. title: what a table calls it, with the unit. colour: which planes it gets; "rgb" is one
    plane where the picture is gray. lower_is_better: which of two scores is the better one. decimals: shown in a table.
    smallest: how many pixels a side it needs.
    """

    name: str
    build: Callable[[], Callable[[Tensor, Tensor], float]]
    summary: str
    title: str
    colour: Literal["rgb", "luma"] = "luma"
    lower_is_better: bool = False
    decimals: int = 4
    smallest: int = 1


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
    init_weights: changes the new network's numbers in place before the first step.
    clip_theta: theta of VDSR's adjustable gradient clipping: each value of a gradient is clipped to
        [-theta / rate, theta / rate], where the rate is the present learning rate of its parameter.
    shrink, candidates, turns, plain: see `pysr.training.data`; faces want no turns.
    compute_losses: for methods that are not one output and a sum of losses, instead of ``losses``: called as
        ``step(network, low, high)`` with what the network gets, (N, C, h, w) float, and the truth, (N, C, H, W) float
        in [0, 1]; returns scalar losses by name, whose sum is descended.
    sampler: for methods whose inputs are not pictures made smaller: called as ``sampler(places, seed)`` with what
        ``--data`` named; makes the batches instead of `PatchSampler`, by a method like its ``batch``.
    ema_decay: decay of the running mean of the weights, which is what is validated and kept.
    validate_every: steps between validations.
    reasons: why, by value name.
    name: under which the model offers it; `pysr.training.recipe` fills it in.
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
    init_weights: Callable[[nn.Module], None] | None = None
    clip_theta: float | None = None
    rescale_augment: tuple[float, ...] = (1.0,)
    hard_mining_candidates: int = 1
    rotate: bool = True
    flat_fraction: float = 0.0
    compute_losses: Callable[[nn.Module, Tensor, Tensor], Mapping[str, Tensor]] | None = None
    sampler: Callable[[Sequence[Path], int], Sampler] | None = None
    ema_decay: float = 0.999
    validate_every: int = 500
    reasons: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if bool(self.losses) == bool(self.compute_losses):
            raise ValueError(
                "a recipe has either losses or a step of its own, which computes them; give one of the two"
            )


@dataclass(frozen=True)
class Fit:
    """How a model without gradient steps is made from pictures, for one scale at a time.

    fit: called as ``fit(network, pictures, scale, seed, progress)``; fills the network's numbers in place. The same
    seed and pictures give the same numbers; ``progress(done, total)`` may be called at any time. scales: the first is
    the default. rescale_augment: each picture is also used at these sizes. reasons: why, by value name. name: under
    which the model offers it; `pysr.training.recipe` fills it in.
    """

    fit: Callable[[nn.Module, Sequence[TrainingImage], int, int, Progress], None]
    scales: tuple[int, ...]
    rescale_augment: tuple[float, ...] = (1.0,)
    reasons: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
