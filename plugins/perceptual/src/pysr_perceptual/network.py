"""The image transformation networks of Johnson, Alahi, Fei-Fei, ECCV 2016 (section 3 and the supplement)."""

from typing import Literal, TypeAlias

from torch import Tensor, nn

from pysr.plugin import limit_to_input

PaddingMode: TypeAlias = Literal["zeros", "reflect"]
AMPLITUDE = 150 / 255  # of the last tanh, about mid-gray: beyond black and white, so that neither saturates it


def conv_norm_relu(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A convolution, batch normalisation and ReLU."""
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)]


def upsample_2x(channels: int, width: int) -> list[nn.Module]:
    """A fractionally strided 3x3 convolution, of stride 1/2: twice the size."""
    return conv_norm_relu(nn.ConvTranspose2d(channels, width, 3, stride=2, padding=1, output_padding=1))


class Residual(nn.Module):
    """conv - BN - ReLU - conv - BN, plus the input, without a ReLU after it. Borders are padded in a given mode."""

    def __init__(self, width: int, padding_mode: PaddingMode = "zeros") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *conv_norm_relu(nn.Conv2d(width, width, 3, padding=1, padding_mode=padding_mode)),
            nn.Conv2d(width, width, 3, padding=1, padding_mode=padding_mode),
            nn.BatchNorm2d(width),
        )

    def forward(self, planes: Tensor) -> Tensor:
        output: Tensor = planes + self.layers(planes)
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
            *(Residual(64) for _ in range(4)),
            *(layer for _ in range(scale.bit_length() - 1) for layer in upsample_2x(64, 64)),
            nn.Conv2d(64, 3, 9, padding=4),
        )
        self.scale = scale

    def forward(self, image: Tensor) -> Tensor:
        output = super().forward(image)
        return output if self.training else limit_to_input(output, image, self.scale)


class StyleTransfer(Transformation):
    """The network for style transfer (supplement, table 1): draws an image in the style it was trained for.

    Input and output: (N, 3, H, W) float RGB in [0, 1], sides being multiples of 4, at least 8. Half receptive field: 57
    pixels. Parameters: 424,899. Two things differ from the paper's, so that plain areas come out even, up to the
    outermost pixels: every layer mirrors its input at the borders, where the paper mirrors 40 pixels of the image, pads
    most layers by zeros and the residual blocks not at all; and nearest-neighbour enlargement and a convolution of
    stride 1 take the place of those of stride 1/2, which draw checkerboards.

    Args:
        width: Channels of the first layer: half of the paper's 32, for a quarter of its work and size.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__(
            *conv_norm_relu(_mirroring(3, width, 9)),
            *conv_norm_relu(_mirroring(width, 2 * width, 3, stride=2)),
            *conv_norm_relu(_mirroring(2 * width, 4 * width, 3, stride=2)),
            *(Residual(4 * width, "reflect") for _ in range(5)),
            nn.Upsample(scale_factor=2),
            *conv_norm_relu(_mirroring(4 * width, 2 * width, 3)),
            nn.Upsample(scale_factor=2),
            *conv_norm_relu(_mirroring(2 * width, width, 3)),
            _mirroring(width, 3, 9),
        )


def _mirroring(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, padding_mode="reflect")


def build_super_resolution(scale: int, variant: str | None) -> SuperResolution:
    """Build the network of the model `perceptual`, the same for both variants."""
    return SuperResolution(scale)


def build_style_transfer(scale: int, variant: str | None) -> StyleTransfer:
    """Build the network of the model `perceptual-style`, the same for every style."""
    return StyleTransfer()
