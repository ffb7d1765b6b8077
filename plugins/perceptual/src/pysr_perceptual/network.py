"""The image transformation networks of Johnson, Alahi, Fei-Fei, ECCV 2016 (section 3 and the supplement)."""

import torch
from torch import Tensor, nn

from pysr.plugin import limit_to_input

AMPLITUDE = 150 / 255  # of the last tanh, about mid-gray: beyond black and white, so that neither saturates it


def conv_norm_relu(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A convolution, batch normalisation and ReLU."""
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]


def upsample_2x(channels: int, width: int) -> list[nn.Module]:
    """A fractionally strided 3x3 convolution, of stride 1/2: twice the size."""
    return conv_norm_relu(nn.ConvTranspose2d(channels, width, 3, stride=2, padding=1, output_padding=1))


class Residual(nn.Module):
    """conv - BN - ReLU - conv - BN, plus the input, without a ReLU after it. Padding 0 crops two pixels per side."""

    def __init__(self, width: int, padding: int) -> None:
        super().__init__()
        self.crop = 2 * (1 - padding)
        self.layers = nn.Sequential(
            *conv_norm_relu(nn.Conv2d(width, width, 3, padding=padding)),
            nn.Conv2d(width, width, 3, padding=padding),
            nn.BatchNorm2d(width),
        )

    def forward(self, planes: Tensor) -> Tensor:
        height, width = planes.shape[-2:]
        inner = planes[..., self.crop : height - self.crop, self.crop : width - self.crop]
        output: Tensor = inner + self.layers(planes)
        return output


class Transformation(nn.Module):
    """Layers followed by a scaled tanh, which turns their output into an image."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        planes: Tensor = self.layers(image)
        return 0.5 + AMPLITUDE * planes.tanh()


class SuperResolution(Transformation):
    """The network for x4 and x8 (supplement, tables 1 and 2): it enlarges at its end, by layers of stride 1/2.

    Input: (N, 3, h, w) float RGB in [0, 1]; output: (N, 3, h * scale, w * scale), slightly beyond [0, 1] at most.
    Half receptive field: 14 input pixels. Parameters: 401,859 at x4, 438,915 at x8. In evaluation, but not in training,
    the output is limited to what the input shows.
    """

    def __init__(self, scale: int) -> None:
        super().__init__(
            *conv_norm_relu(nn.Conv2d(3, 64, 9, padding=4)),
            *(Residual(64, padding=1) for _ in range(4)),
            *(layer for _ in range(scale.bit_length() - 1) for layer in upsample_2x(64, 64)),
            nn.Conv2d(64, 3, 9, padding=4),
        )
        self.scale = scale

    def forward(self, image: Tensor) -> Tensor:
        output = super().forward(image)
        return output if self.training else limit_to_input(output, image, self.scale)


class StyleTransfer(Transformation):
    """The network for style transfer (supplement, table 1): draws an image in the style it was trained for.

    Input and output: (N, 3, H, W) float RGB in [0, 1], sides being multiples of 4. The input is padded by 40 mirrored
    pixels on every side, which the residual blocks consume, as they have no padding. Half receptive field: 54 pixels.
    Parameters: 1,679,235.
    """

    MARGIN = 40  # five blocks of two convolutions, one pixel per side each, at a quarter of the size

    def __init__(self) -> None:
        super().__init__(
            *conv_norm_relu(nn.Conv2d(3, 32, 9, padding=4)),
            *conv_norm_relu(nn.Conv2d(32, 64, 3, stride=2, padding=1)),
            *conv_norm_relu(nn.Conv2d(64, 128, 3, stride=2, padding=1)),
            *(Residual(128, padding=0) for _ in range(5)),
            *upsample_2x(128, 64),
            *upsample_2x(64, 32),
            nn.Conv2d(32, 3, 9, padding=4),
        )

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(mirrored(image, self.MARGIN))


def mirrored(image: Tensor, margin: int) -> Tensor:
    """(..., H, W) with a mirrored margin around it: reflection padding of any width."""
    for axis in (-2, -1):
        image = image.index_select(axis, _reflected(image.shape[axis], margin).to(image.device))
    return image


def _reflected(length: int, margin: int) -> Tensor:
    """Source indices of a mirrored axis; the outermost pixels are not repeated."""
    indices = torch.arange(-margin, length + margin)
    period = indices.new_full((), max(2 * length - 2, 1))  # a tensor: the length may be a symbol of a trace
    indices = indices % period
    return torch.minimum(indices, period - indices) if length > 1 else indices


def build_super_resolution(scale: int, variant: str | None) -> SuperResolution:
    """Build the network of the model `perceptual`, the same for both variants."""
    return SuperResolution(scale)


def build_style_transfer(scale: int, variant: str | None) -> StyleTransfer:
    """Build the network of the model `perceptual-style`."""
    return StyleTransfer()
