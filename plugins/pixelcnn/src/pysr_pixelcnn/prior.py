"""The prior network: a gated PixelCNN whose vertical stack sees only rows strictly above (van den Oord et al. 2016).

Because of that, pixel (i, j) depends on row i - k only up to column j + 3 + 2 (k - 1), so that pixels with equal
j + 4 i can be drawn together, as `pysr.plugin.PixelCNNSampler` does.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pysr.plugin import channel_groups

LEVELS = 256  # of a sub-pixel: 8 bits
PREGATE_GAIN = 1.7  # keeps the variance of tanh(a) * sigmoid(b) from layer to layer


def _membership(channels: int, planes: int) -> Tensor:
    """Return the plane that each channel belongs to."""
    sizes = torch.tensor(channel_groups(channels, planes))
    return torch.arange(planes).repeat_interleave(sizes)


def _sees(outputs: Tensor, inputs: Tensor) -> Tensor:
    """Mask B: whether each output may depend on each input of the same pixel, both as planes; (outputs, inputs)."""
    return (inputs[None, :] <= outputs[:, None]).float()


class Masked(nn.Conv2d):
    """A convolution without padding whose weight is multiplied by a mask of 0 and 1."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], mask: Tensor | None = None) -> None:
        super().__init__(inputs, outputs, kernel)
        self.register_buffer("mask", torch.ones_like(self.weight) if mask is None else mask, persistent=False)

    def forward(self, planes: Tensor) -> Tensor:
        return F.conv2d(planes, self.weight * self.mask, self.bias)


def gate(preactivation: Tensor) -> Tensor:
    """tanh of the first half of the channels times sigmoid of the second (equation 2 of the gated PixelCNN)."""
    signal, opening = preactivation.chunk(2, 1)
    return torch.tanh(signal) * torch.sigmoid(opening)


class GatedLayer(nn.Module):
    """One gated layer, kernel 5 x 5: a vertical stack and a horizontal one that reads it (figure 2 there)."""

    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        member = _membership(channels, planes)
        centre = torch.ones(2 * channels, channels, 1, 3)
        centre[:, :, 0, 2] = _sees(member.repeat(2), member)  # the tanh and the sigmoid half alike
        self.vertical = nn.Conv2d(channels, 2 * channels, (2, 5))
        self.across = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.horizontal = Masked(channels, 2 * channels, (1, 3), centre)
        self.out = Masked(channels, channels, (1, 1), _sees(member, member)[:, :, None, None])

    def forward(self, above: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the vertical and the horizontal stack of the next layer from this layer's, (N, C, H, W) each."""
        height = above.shape[2]
        vertical = self.vertical(F.pad(above, (2, 2, 2, 0))[:, :, : height + 1])
        horizontal = self.horizontal(F.pad(here, (2, 0))) + self.across(vertical)
        return gate(vertical), here + self.out(gate(horizontal))


class Prior(nn.Module):
    """(N, P, H, W) images in [-0.5, 0.5] to (N, P * 256, H, W) logits, which depend only on earlier sub-pixels.

    Sub-pixels are ordered by rows, in a row by pixels, in a pixel R, G, B. The defaults are the sizes in the paper's
    appendix.

    Args:
        planes: P, 1 or 3.
        channels: Channels of the gated layers.
        layers: Number of gated layers.
        hidden: Channels of the layer before the logits.
    """

    def __init__(self, planes: int = 3, channels: int = 64, layers: int = 20, hidden: int = 1024) -> None:
        super().__init__()
        self.planes, self.channels, self.hidden = planes, channels, hidden
        plane, member, wide = torch.arange(planes), _membership(channels, planes), _membership(hidden, planes)
        seen = torch.ones(channels, planes, 4, 7)
        seen[:, :, 3, 4:] = 0
        seen[:, :, 3, 3] = (plane[None, :] < member[:, None]).float()  # mask A
        self.first = Masked(planes, channels, (4, 7), seen)
        self.layers = nn.ModuleList(GatedLayer(channels, planes) for _ in range(layers))
        self.widen = Masked(channels, hidden, (1, 1), _sees(wide, member)[:, :, None, None])
        answer = plane.repeat_interleave(LEVELS)
        self.answer = Masked(hidden, planes * LEVELS, (1, 1), _sees(answer, wide)[:, :, None, None])
        self._initialise()

    def forward(self, image: Tensor) -> Tensor:
        above = here = self.first(F.pad(image, (3, 3, 3, 0)))
        for layer in self.layers:
            above, here = layer(above, here)
        logits: Tensor = self.answer(torch.relu(self.widen(here)))
        return logits

    @torch.no_grad()
    def _initialise(self) -> None:
        """Keep variances from layer to layer, and start the residual stack near the identity."""
        without_bias: list[nn.Conv2d] = [self.answer]
        for layer in self.layers:
            assert isinstance(layer, GatedLayer)
            without_bias += [layer.vertical, layer.horizontal, layer.out]
            fan = layer.vertical.weight[0].numel()
            nn.init.normal_(layer.vertical.weight, std=PREGATE_GAIN * 2 / math.sqrt(fan))
            nn.init.normal_(layer.across.weight, std=0.5 / math.sqrt(layer.across.weight[0].numel()))
            nn.init.normal_(layer.horizontal.weight, std=1 / math.sqrt(layer.horizontal.weight[0].numel()))
            nn.init.normal_(layer.out.weight, std=0.3 / math.sqrt(layer.out.weight[0].numel()))
        nn.init.normal_(self.first.weight, std=3 / math.sqrt(self.first.weight[0].numel()))
        nn.init.kaiming_normal_(self.widen.weight, nonlinearity="relu")
        nn.init.normal_(self.answer.weight, std=0.1 / math.sqrt(self.hidden))
        for convolution in without_bias:
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)


def masked(prior: Prior) -> dict[str, Tensor]:
    """Return a prior's weights by their names in the state dict, with the masks applied."""
    weights = {name: value.detach() for name, value in prior.named_parameters()}
    layers = {name: layer for name, layer in prior.named_modules() if isinstance(layer, Masked)}
    return weights | {f"{name}.weight": (layer.weight * layer.mask).detach() for name, layer in layers.items()}
