"""SRCNN: Dong, Loy, He, Tang, "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 38(2), 2016."""

import torch
from torch import Tensor, nn

from pysr.plugin import limit_to_enlarged


class SRCNN(nn.Module):
    """Patch extraction, non-linear mapping, reconstruction (section 3.1): three convolutions and nothing else.

    Input and output: (N, 1, H, W) float luma in [0, 1], already at output size; one network for each scale. Borders are
    padded by replication. Unlike the paper's, the output is limited to what the enlargement shows, except in training:
    flat areas stay flat. Half receptive field: 6 pixels for 9-1-5, 8 for 9-5-5. Parameters: 8,129 and 57,281.

    Args:
        middle: Side of the second layer's filters: 1 in 9-1-5, 5 in 9-5-5.
    """

    def __init__(self, middle: int = 5) -> None:
        super().__init__()
        self.extract = _convolution(1, 64, 9)
        self.map = _convolution(64, 32, middle)
        self.reconstruct = _convolution(32, 1, 5)

    def forward(self, enlarged: Tensor) -> Tensor:  # (N, 1, H, W)
        features = torch.relu(self.extract(enlarged))  # (N, 64, H, W)
        output: Tensor = self.reconstruct(torch.relu(self.map(features)))
        return output if self.training else limit_to_enlarged(output, enlarged)


def _convolution(inputs: int, outputs: int, side: int) -> nn.Conv2d:
    """A layer initialised as in the paper: normal with deviation 0.001, biases zero (section 3.3)."""
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2, padding_mode="replicate")
    nn.init.normal_(layer.weight, std=1e-3)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def build(scale: int, variant: str | None) -> SRCNN:
    """Build the network of the model `srcnn`, the same for every scale. variant: "955" (also for None) or "915"."""
    return SRCNN(middle=1 if variant == "915" else 5)
