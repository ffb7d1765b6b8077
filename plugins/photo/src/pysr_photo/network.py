"""SRResNet without batch normalisation, whose output is limited to what its input shows."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pysr.plugin import limit_to_input, load_weights
from pysr_srgan.network import SRResNet
from pysr_srgan.plugin import pysr_models as srgan_models

_Network = TypeVar("_Network", bound=SRResNet)


class PhotoNet(SRResNet):
    """The network of `photo` and `photo-sharp`: (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale).

    SRResNet with its normalisations folded into the convolutions, and its output limited in training, too.

    Args:
        scale: 2 or 4.
        blocks: Residual blocks.
    """

    def __init__(self, scale: int = 4, blocks: int = 16) -> None:
        super().__init__(scale, blocks)
        fold_normalization(self)

    def forward(self, low: Tensor) -> Tensor:
        return limit_to_input(self.unlimited(low), low, self.scale)


def build(scale: int, variant: str | None) -> PhotoNet:
    """The network of the models `photo` and `photo-sharp`."""
    return PhotoNet(scale)


def fill_from_srresnet(network: nn.Module) -> None:
    """Fill a `PhotoNet` with the shipped weights of the `srresnet` of its scale, which was trained on clean images."""
    assert isinstance(network, PhotoNet)
    clean = SRResNet(network.scale)
    (model,) = (model for model in srgan_models() if model.name == "srresnet")
    load_weights(clean, model.weights[network.scale])
    network.load_state_dict(fold_normalization(clean).state_dict())


def fold_normalization(network: _Network) -> _Network:
    """Fold every batch normalisation into its convolution, in place: the same function as in evaluation.

    That is faster, and the output for a patch no longer depends on the rest of its batch: beside photographs, flat
    patches and patterns would give a normalisation statistics that no photograph has.

    Returns:
        The network, in training mode.
    """
    for layers in [layers for layers in network.modules() if isinstance(layers, nn.Sequential)]:
        for index, (layer, following) in enumerate(pairwise(layers)):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                layers[index] = fuse_conv_bn_eval(layer.eval(), following.eval())
                layers[index + 1] = nn.Identity()
    for block in network.blocks:
        _balance(*convolutions(block))
    return network.train()


def convolutions(block: nn.Module) -> list[nn.Conv2d]:
    """The convolutions of a residual block, in order."""
    return [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]


@torch.no_grad()
def _balance(first: nn.Conv2d, second: nn.Conv2d) -> None:
    """Give both convolutions of a block weights of the same norm: what normalisation hid, optimizers would see.

    The rectifier between them lets a positive factor pass.
    """
    factor = (second.weight.norm() / first.weight.norm()).sqrt()
    first.weight *= factor
    second.weight /= factor
    if first.bias is not None:
        first.bias *= factor
