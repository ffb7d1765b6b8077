"""The losses of a recipe, built by name: weighted, on one device, and some with a state of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..errors import InputError
from ..registry import registry


class Losses:
    """Losses by name, ``{"l1": 1.0, "perceptual:relu2_2": 0.1}``; see `pysr.plugin.Loss` for what one may own.

    optimizers: those that the losses step themselves, in the order of the losses.
    """

    def __init__(self, weights: Mapping[str, float], device: torch.device) -> None:
        self._weights = weights
        self._losses = {name: _built(name) for name in weights}
        self.modules = {name: loss.to(device) for name, loss in self._losses.items() if isinstance(loss, nn.Module)}
        self.optimizers: list[torch.optim.Optimizer] = [
            optimizer for module in self.modules.values() for optimizer in getattr(module, "optimizers", [])
        ]

    def __call__(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Of (N, C, H, W) float tensors in [0, 1]: each loss times its weight, by name."""
        return {name: weight * self._losses[name](output, target) for name, weight in self._weights.items()}

    def update(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Let those that learn themselves take their step; what they tell, as NAME.KEY."""
        told: dict[str, float] = {}
        for name, loss in self._losses.items():
            values: Mapping[str, Any] = (loss.update(output, target) if hasattr(loss, "update") else None) or {}
            told |= {f"{name}.{key}": float(value) for key, value in values.items()}
        return told

    def state(self) -> dict[str, Tensor]:
        """The tensors of all losses that have any, as NAME.KEY."""
        return {f"{name}.{key}": v for name, module in self.modules.items() for key, v in module.state_dict().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Become what `state` described."""
        for name, module in self.modules.items():
            own = {key.removeprefix(f"{name}."): v for key, v in tensors.items() if key.startswith(f"{name}.")}
            module.load_state_dict(own)

    def options(self) -> Iterator[str]:
        """What the names of all losses say behind their colons."""
        return (option for name in self._weights for option in _options(name)[1])

    def buffers(self) -> Iterator[Tensor]:
        """Those of all losses, such as running statistics."""
        return (buffer for module in self.modules.values() for buffer in module.buffers())


def random_shift(images: Sequence[Tensor], by: int) -> list[Tensor]:
    """Images for a network that judges them, all moved by the same up to ``by`` pixels down or up and across.

    How far is drawn from torch's generator. What a network with strides or pooling says has a grid, and where that
    stays in step with the grid of an enlargement, the enlargement learns to draw it. What comes into view beyond a
    border is mirrored, so that borders are judged, too.
    images: (N, C, H, W) of one size, which they keep. Raises InputError where they are not larger than ``by``.
    """
    height, width = images[0].shape[-2:]
    if min(height, width) <= by:
        raise InputError(f"{height} x {width} pixels cannot be moved by {by}; take larger patches")
    top, left = torch.randint(2 * by + 1, (2,)).tolist()
    padded = (pad(planes, (by, by, by, by), mode="reflect") for planes in images)
    return [planes[..., top : top + height, left : left + width] for planes in padded]


def _built(name: str) -> Any:
    """``"perceptual:relu2_2,relu3_3"`` is the loss `perceptual`, built with two options."""
    loss, options = _options(name)
    about = registry().loss(loss)
    try:
        return about.build(*options)
    except TypeError as error:
        raise InputError(
            f"the loss {loss!r} cannot be built from {name!r} ({error}); change the recipe's losses"
        ) from error


def _options(name: str) -> tuple[str, list[str]]:
    loss, _, listed = name.partition(":")
    return loss, listed.split(",") if listed else []
