"""How much a model for compressed images does: between a model for clean images, strength 0, and itself, 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..plugin import Model, Weights
from ..registry import registry
from .weights import load_weights, weights_digest


class MixedOutputs(nn.Module):
    """A mixture of what two networks make of the same input.

    Args:
        clean: The network of strength 0.
        trained: The network of strength 1.
        strength: 0 to 1.
    """

    def __init__(self, clean: nn.Module, trained: nn.Module, strength: float) -> None:
        super().__init__()
        self.clean = clean
        self.trained = trained
        self.strength = strength

    def forward(self, low: Tensor) -> Tensor:
        mixed: Tensor = torch.lerp(self.clean(low), self.trained(low), self.strength)
        return mixed


def with_strength(
    network: nn.Module,
    strength: float,
    model: Model,
    scale: int,
    variant: str | None,
    load_clean: Callable[[str], nn.Module],
    *,
    own_weights: bool,
) -> tuple[nn.Module, str]:
    """Return a network that does only so much of what the given one does.

    Args:
        network: The network of strength 1, with its shipped weights; changed where weights are mixed.
        strength: 0 to 1.
        model: Its model.
        scale: Its scale.
        variant: Its variant.
        load_clean: Loads the network of a model, by name, at this scale.
        own_weights: Whether the caller gave weights, for which there is no strength.

    Returns:
        The network, and the digest of the weights of strength 0 that went into it (see `weights_digest`); empty if none
        did.

    Raises:
        InputError: The model has no strength at this scale, or the number is outside 0 to 1.
        WeightsError: As `load_weights`.
    """
    start = model.clean_counterpart(scale, variant)
    if start is None:
        able = [spec.name for spec in registry().models.values() if spec.clean_counterpart(scale, variant)]
        instead = f", or choose {' or '.join(able)}" if able else ""
        raise InputError(f"{model.name} has no strength to set at scale {scale}; leave strength out{instead}")
    if own_weights:
        raise InputError(f"strength is for the weights that {model.name} comes with; leave strength or weights out")
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength!r}; give a number from 0 (clean images) to 1 ({model.name} as it is)")
    if strength == 1:
        return network, ""
    if isinstance(start, str):
        clean = load_clean(start)
        return MixedOutputs(clean, network, strength) if strength > 0 else clean, weights_digest(clean)
    return network, interpolate_weights(network, start, strength)


def interpolate_weights(network: nn.Module, start: Weights | Callable[[nn.Module], None], strength: float) -> str:
    """Take a network's weights back towards those that its training began from.

    This is network interpolation (Wang et al., ESRGAN, ECCV workshops 2018, section 3.4).

    Args:
        network: Holds the weights of strength 1; changed in place. What is no floating-point number stays as it is.
        start: The weights of strength 0, or what fills a network with them.
        strength: 0 to 1.

    Returns:
        The digest of the weights of strength 0.

    Raises:
        WeightsError: As `load_weights`.
    """
    trained = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if isinstance(start, Weights):
        load_weights(network, start)
    else:
        start(network)
    digest = weights_digest(network)
    mixed = {
        name: torch.lerp(first, trained[name], strength) if first.is_floating_point() else trained[name]
        for name, first in network.state_dict().items()
    }
    network.load_state_dict(mixed)
    return digest
