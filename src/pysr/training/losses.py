"""The losses of a recipe: built by name, weighted, on one device; some have state and optimizers of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..errors import InputError
from ..registry import registry


class Losses:
    """A weighted set of registered losses.

    Attributes:
        modules: Those that are ``nn.Module``, by name.
        optimizers: Those that trainable losses step themselves, in the order of the losses.

    Args:
        weights: Weight by name, such as ``{"l1": 1.0, "perceptual:relu2_2": 0.1}``; see `pysr.plugin.Loss`.
        device: Where they compute.
    """

    def __init__(self, weights: Mapping[str, float], device: torch.device) -> None:
        self._weights = weights
        self._losses = {name: _build_loss(name) for name in weights}
        self.modules = {name: loss.to(device) for name, loss in self._losses.items() if isinstance(loss, nn.Module)}
        self.optimizers: list[torch.optim.Optimizer] = [
            optimizer for module in self.modules.values() for optimizer in getattr(module, "optimizers", [])
        ]

    def __call__(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return each loss times its weight, by name, for (N, C, H, W) float tensors in [0, 1]."""
        return {name: weight * self._losses[name](output, target) for name, weight in self._weights.items()}

    def update(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Update trainable losses, such as discriminators; returns their metrics as "name.key"."""
        metrics: dict[str, float] = {}
        for name, loss in self._losses.items():
            values: Mapping[str, Any] = (loss.update(output, target) if hasattr(loss, "update") else None) or {}
            metrics |= {f"{name}.{key}": float(value) for key, value in values.items()}
        return metrics

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of all losses that have any, as "name.key"."""
        return {f"{name}.{key}": v for name, module in self.modules.items() for key, v in module.state_dict().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""
        for name, module in self.modules.items():
            own = {key.removeprefix(f"{name}."): v for key, v in tensors.items() if key.startswith(f"{name}.")}
            module.load_state_dict(own)

    def buffers(self) -> Iterator[Tensor]:
        """Yield the buffers of all losses, such as running statistics."""
        return (buffer for module in self.modules.values() for buffer in module.buffers())


def random_shift(images: Sequence[Tensor], by: int) -> list[Tensor]:
    """Shift all images by the same random distance, before a network judges them.

    The features of a network with strides or pooling lie on a grid. If that grid is aligned with the grid of an
    upscaling network, the latter learns to draw it; a shift that changes at every step prevents that. Images are
    mirrored beyond their borders, so that borders are judged too. The distance is drawn from torch's global generator.

    Args:
        images: (N, C, H, W) tensors of one size.
        by: Largest distance in pixels, in each of the four directions.

    Returns:
        The shifted images, each of its original shape.

    Raises:
        InputError: The images are not larger than ``by``.
    """
    height, width = images[0].shape[-2:]
    if min(height, width) <= by:
        raise InputError(f"{height} x {width} pixels cannot be shifted by {by}; use larger patches")
    top, left = torch.randint(2 * by + 1, (2,)).tolist()
    padded = (pad(image, (by, by, by, by), mode="reflect") for image in images)
    return [image[..., top : top + height, left : left + width] for image in padded]


def split_name(name: str) -> tuple[str, list[str]]:
    """Split a loss with options: ``"perceptual:relu2_2,unit"`` -> ``("perceptual", ["relu2_2", "unit"])``."""
    loss, _, options = name.partition(":")
    return loss, options.split(",") if options else []


def _build_loss(name: str) -> Any:
    loss, options = split_name(name)
    spec = registry().loss(loss)
    try:
        return spec.build(*options)
    except TypeError as error:
        raise InputError(
            f"the loss {loss!r} cannot be built from {name!r} ({error}); change the recipe's losses"
        ) from error
