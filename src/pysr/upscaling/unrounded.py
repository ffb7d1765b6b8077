"""Layers that read the network's input, which is never rounded to a low precision: that alone costs VDSR 0.15 dB."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Float32Layer(nn.Module):
    """A layer that reads the network's input: it computes in float32 and outputs the low precision."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = layer, dtype

    def forward(self, *inputs: Any, **named: Any) -> Any:
        output = _in_float32(self.layer)(*inputs, **named)
        return output.to(self.dtype) if isinstance(output, Tensor) else output


class SplitConv(nn.Module):
    """A plain convolution that reads the network's input, at low-precision speed: the input is split into two parts."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.conv = doubled_inputs(conv).to(dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> Tensor:
        parts = two_parts(image, self.dtype).to(self.conv.weight.dtype)
        output: Tensor = self.conv(parts.contiguous(memory_format=torch.channels_last))
        return output


def doubled_inputs(conv: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution of two images, added up: that of an image in two parts, as `two_parts` makes them."""
    conv = copy.deepcopy(conv)
    conv.in_channels *= 2
    conv.weight = nn.Parameter(torch.cat([conv.weight, conv.weight], 1), requires_grad=False)
    return conv


def two_parts(image: Tensor, dtype: torch.dtype) -> Tensor:
    """Split (N, C, h, w) into (N, 2 * C, h, w): the image rounded to a low precision, and what that leaves out.

    Two parts in bfloat16 together hold 16 significant bits.
    """
    image = image.float()
    high = image.to(dtype)
    return torch.cat([high, (image - high).to(dtype)], 1)


def keep_unrounded(network: nn.Module, readers: list[str]) -> None:
    """Make these layers compute in float32 under autocast, in place; the keys of the state dict stay the same."""
    for layer in map(network.get_submodule, readers):
        layer.forward = _in_float32(layer.forward)


def _in_float32(forward: Callable[..., Any]) -> Callable[..., Any]:
    def widened(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    def wrapped(*inputs: Any, **named: Any) -> Any:
        device = next((value.device.type for value in (*inputs, *named.values()) if isinstance(value, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return forward(*map(widened, inputs), **{name: widened(value) for name, value in named.items()})

    return wrapped
