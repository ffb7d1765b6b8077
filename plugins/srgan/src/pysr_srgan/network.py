"""Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pysr.plugin import limit_to_input

WIDTH = 64


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation beside the identity (figure 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.PReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTH),
        )

    def forward(self, planes: Tensor) -> Tensor:
        output: Tensor = planes + self.body(planes)
        return output


class ShuffledConv2d(nn.Conv2d):
    """Pixel shuffle by 2 and a convolution in one: (N, 4 C, h, w) to (N, out, 2 h, 2 w).

    It computes the same sums at the low resolution, with four times the channels on either side: with only three output
    channels 2.6 times as fast on a CPU, forward and backward.

    Args:
        in_channels: C.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, 4 n + 1, so that it starts at an even pixel.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size)

    def forward(self, planes: Tensor) -> Tensor:
        side = self.kernel_size[0] + 1  # one more for kernels that start at odd pixels, which makes it even
        wide = self.weight.new_zeros(self.out_channels, 2, 2, self.in_channels, side, side)
        for row in range(2):
            for column in range(2):
                wide[:, row, column, :, row : row + side - 1, column : column + side - 1] = self.weight
        wide = wide.unflatten(5, (-1, 2)).unflatten(4, (-1, 2))  # (out, 2, 2, C, taps, 2, taps, 2)
        weight = wide.permute(0, 1, 2, 3, 5, 7, 4, 6).flatten(3, 5).flatten(0, 2)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return functional.pixel_shuffle(functional.conv2d(planes, weight, bias, padding=side // 4), 2)


class SRResNet(nn.Module):
    """The generator (section 2.1.1, figure 4): (N, 3, h, w) in [0, 1] to (N, 3, h * scale, w * scale).

    Sixteen residual blocks at low resolution, then a 3 x 3 convolution and pixel shuffle for each doubling. The first
    and last layers are 9 x 9. The paper's truth is in [-1, 1] and its input in [0, 1]; here both are in [0, 1]. In
    evaluation, but not in training, the output is limited to what the input shows.
    Parameters: 1,547,350 at scale 4, with one slope for each PReLU.

    Args:
        scale: 2, 4 or 8.
        blocks: Residual blocks.
    """

    def __init__(self, scale: int = 4, blocks: int = 16) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Sequential(nn.Conv2d(3, WIDTH, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*(ResidualBlock() for _ in range(blocks)))
        self.merge = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH))
        doublings: list[nn.Module] = []
        for _ in range(scale.bit_length() - 1):
            doublings += [nn.Conv2d(WIDTH, 4 * WIDTH, 3, padding=1), nn.PReLU(), nn.PixelShuffle(2)]
        self.enlarge = nn.Sequential(*doublings[:-1])
        self.last = ShuffledConv2d(WIDTH, 3, 9)

    def forward(self, low: Tensor) -> Tensor:
        output = self.unlimited(low)
        return output if self.training else limit_to_input(output, low, self.scale)

    def unlimited(self, low: Tensor) -> Tensor:
        """What the layers make of an image."""
        first = self.first(low)
        output: Tensor = self.last(self.enlarge(first + self.merge(self.blocks(first))))
        return output


class Discriminator(nn.Module):
    """Real or generated (section 2.1.1, figure 4): (N, 3, side, side) in [0, 1] to (N, 1) logits, positive for real.

    Parameters: 23,563,649 for the paper's side of 96.

    Args:
        side: Side of its images in pixels, a multiple of 16.
    """

    def __init__(self, side: int = 96) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, padding=1), nn.LeakyReLU(0.2)]
        width = WIDTH
        for number, wider in enumerate((64, 128, 128, 256, 256, 512, 512)):
            layers += [nn.Conv2d(width, wider, 3, 2 - number % 2, 1, bias=False), nn.BatchNorm2d(wider)]
            layers.append(nn.LeakyReLU(0.2))
            width = wider
        self.features = nn.Sequential(*layers)
        self.verdict = nn.Sequential(
            nn.Flatten(), nn.Linear(width * (side // 16) ** 2, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        planes = (image * 2 - 1).contiguous(memory_format=torch.channels_last)
        verdict: Tensor = self.verdict(self.features(planes))
        return verdict.float()


@torch.no_grad()
def begin_small(network: nn.Module) -> None:
    """Start as a nearly linear enlargement, with residual blocks that add nothing."""
    for layer in network.modules():
        if isinstance(layer, ResidualBlock):
            norm = layer.body[-1]
            assert isinstance(norm, nn.BatchNorm2d)
            nn.init.zeros_(norm.weight)


def build(scale: int, variant: str | None) -> SRResNet:
    """Build the network of the models `srresnet` and `srgan`."""
    return SRResNet(scale)
