"""The convolutional parts of classification networks. Their children have the names of the layers."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


def vgg(
    blocks: Sequence[tuple[int, int]],
    padding_mode: Literal["zeros", "reflect"] = "zeros",
    first: nn.Module | None = None,
) -> nn.Sequential:
    """Build a VGG network (Simonyan and Zisserman): 3x3 convolutions with ReLU, and 2x2 max pooling between blocks.

    Args:
        blocks: (channels, convolutions) of each block.
        padding_mode: How convolutions pad.
        first: A layer to put before all others, called ``conv0``.

    Returns:
        A network with children ``conv1_1, relu1_1, ..., pool1, conv2_1, ...``, without pooling after the last block.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict({"conv0": first} if first else {})
    channels = 3
    for block, (width, depth) in enumerate(blocks, 1):
        if block > 1:
            layers[f"pool{block - 1}"] = nn.MaxPool2d(2)
        for number in range(1, depth + 1):
            layers[f"conv{block}_{number}"] = nn.Conv2d(channels, width, 3, padding=1, padding_mode=padding_mode)
            layers[f"relu{block}_{number}"] = nn.ReLU(inplace=True)
            channels = width
    return nn.Sequential(layers)


class Fire(nn.Module):
    """SqueezeNet's module: few channels, then 1x1 and 3x3 convolutions side by side; ReLU after each."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        planes = self.squeeze1x1(planes).relu()
        return torch.cat([self.expand1x1(planes), self.expand3x3(planes)], 1).relu()


def squeezenet() -> nn.Sequential:
    """Build SqueezeNet 1.1 (Iandola et al.). Children: ``conv1, relu1, pool1, fire2, fire3, pool3, ..., fire9``."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv1=nn.Conv2d(3, 64, 3, stride=2), relu1=nn.ReLU(inplace=True))
    channels = 64
    for number, (squeezed, expanded) in enumerate(((16, 64), (32, 128), (48, 192), (64, 256))):
        if number < 3:
            layers[f"pool{2 * number + 1}"] = nn.MaxPool2d(3, stride=2)
        for name in (f"fire{2 * number + 2}", f"fire{2 * number + 3}"):
            layers[name] = Fire(channels, squeezed, expanded)
            channels = 2 * expanded
    return nn.Sequential(layers)


LITE0_BLOCKS = (  # channels in and out, kernel, stride
    ((32, 16), 3, 1),
    ((16, 24), 3, 2),
    ((24, 24), 3, 1),
    ((24, 40), 5, 2),
    ((40, 40), 5, 1),
    ((40, 80), 3, 2),
    ((80, 80), 3, 1),
    ((80, 80), 3, 1),
    ((80, 112), 5, 1),
)


class Inverted(nn.Module):
    """MobileNet's inverted residual block: more channels, a convolution of each of them, fewer channels again.

    Batch normalisations are folded into the convolutions.

    Args:
        channels: Of the input and of the output.
        kernel: Side of the convolution's kernel.
        stride: Of the convolution; an odd number of pixels of padding falls to the right and below, as in TensorFlow.
        expansion: How many times as many channels lie within.
    """

    def __init__(self, channels: tuple[int, int], kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        given, made = channels
        inner = given * expansion
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.skips = stride == 1 and given == made
        self.expand = nn.Sequential(nn.Conv2d(given, inner, 1), nn.ReLU6()) if expansion > 1 else nn.Identity()
        self.depthwise = nn.Sequential(
            nn.ZeroPad2d((before, after, before, after)),
            nn.Conv2d(inner, inner, kernel, stride, groups=inner),
            nn.ReLU6(),
        )
        self.project = nn.Conv2d(inner, made, 1)

    def forward(self, planes: Tensor) -> Tensor:
        output: Tensor = self.project(self.depthwise(self.expand(planes)))
        return output + planes if self.skips else output


def efficientnet_lite0() -> nn.Sequential:
    """Build EfficientNet-Lite0 (Google, 2020, after Tan and Le 2019) to its ninth block.

    Children: ``relu0``, the first convolution, and ``relu1, relu3, relu5, relu8``, the many channels within the blocks
    of those numbers, each after its convolution of single channels.
    """
    stem = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 32, 3, 2), nn.ReLU6())
    layers: OrderedDict[str, nn.Module] = OrderedDict(relu0=stem)
    waiting: list[nn.Module] = []
    for number, (channels, kernel, stride) in enumerate(LITE0_BLOCKS):
        block = Inverted(channels, kernel, stride, expansion=6 if number else 1)
        if number in (1, 3, 5, 8):
            layers[f"relu{number}"] = nn.Sequential(*waiting, block.expand, block.depthwise)
            waiting = [block.project]
        else:
            waiting.append(block)
    return nn.Sequential(layers)


def smallest_side(trunk: nn.Sequential) -> int:
    """Return the smallest side in pixels of an image for which the last layer can be computed."""
    side = 1
    for layer in reversed(trunk):
        if isinstance(layer, nn.Conv2d):
            side = (side - 1) * layer.stride[0] + layer.kernel_size[0] - 2 * int(layer.padding[0])
            if layer.padding_mode == "reflect":
                side = max(side, 2)
        elif isinstance(layer, nn.MaxPool2d):
            kernel, stride = int(layer.kernel_size), int(layer.stride)  # type: ignore[arg-type]
            side = (side - 1) * stride + kernel
    return side
