"""The corners data set: a digit in the top left or bottom right of a canvas; the input does not say which."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from pysr.errors import InputError
from pysr.training import Batch, Shard, generator_of

from .network import PixelCNN, ResidualBlock, levels
from .prior import Prior

SIDE = 28  # of MNIST's images, in pixels
MAGIC = 0x803  # of an idx file of unsigned bytes in three dimensions
CHANNELS = 32  # of the conditioning network
BRIGHT = 48  # the lowest level that counts as bright: strokes are brighter, the background is 0
JOINT_BRIGHT = 40.0  # weight of one bit among the hundreds that encode the levels of a digit


def read_digits(folder: Path, part: str) -> Tensor:
    """Read MNIST's images.

    Args:
        folder: Folder of MNIST's idx files.
        part: "train" (60,000 images) or "t10k" (10,000).

    Returns:
        (N, 1, 28, 28) in [0, 1].

    Raises:
        InputError: The file is missing or damaged.
    """
    path = folder / f"{part}-images-idx3-ubyte.gz"
    try:
        with gzip.open(path) as file:
            data = file.read()
        magic, count, height, width = np.frombuffer(data, ">i4", 4)
        if magic != MAGIC or (height, width) != (SIDE, SIDE):
            raise ValueError("it has no images of 28 x 28 pixels")
        pixels = np.frombuffer(data, np.uint8, offset=16).reshape(count, 1, SIDE, SIDE)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"MNIST's {path} cannot be read: {error}; give the folder of its four .gz files") from None
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def place(digits: Tensor, generator: torch.Generator) -> Tensor:
    """Put (N, 1, 28, 28) digits into one of two corners of (N, 1, 56, 56) canvases, each with probability one half."""
    count, planes, side, _ = digits.shape
    canvas = torch.zeros(count, planes, 2 * side, 2 * side)
    bottom = torch.rand(count, generator=generator) < 0.5
    canvas[~bottom, :, :side, :side] = digits[~bottom]
    canvas[bottom, :, side:, side:] = digits[bottom]
    return canvas


class CornersConditioning(nn.Module):
    """(N, 1, h, w) digits in [-0.5, 0.5] to (N, 32, 2 h, 2 w) features.

    Convolutions cannot move a digit by half a canvas. So the input is repeated in all four corners before the residual
    blocks, with the position of each pixel in two more planes.
    """

    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers, *(ResidualBlock(CHANNELS) for _ in range(blocks)))

    def forward(self, low: Tensor) -> Tensor:
        canvas = low.repeat(1, 1, 2, 2)
        rows, columns = (torch.linspace(-0.5, 0.5, side, device=low.device) for side in canvas.shape[2:])
        positions = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).to(canvas.dtype)
        features: Tensor = self.body(torch.cat([canvas, positions.expand(len(low), -1, -1, -1)], 1))
        return features


def build_corners(scale: int = 2, variant: str | None = None) -> PixelCNN:
    """Build the network of `pixelcnn-mnist-corners`: 18 layers see 39 rows up, and so the digit in the other corner."""
    return PixelCNN(CornersConditioning(), CHANNELS, Prior(planes=1, channels=32, layers=18, hidden=128))


class Head(nn.Module):
    """The same conditioning network with independent pixels: (N, 1, h, w) in [0, 1] to (N, outputs, 2 h, 2 w).

    Args:
        outputs: 1, the image itself, for squared error; 256, logits of levels, for cross-entropy.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conditioning, self.answer = CornersConditioning(), nn.Conv2d(CHANNELS, outputs, 1)

    def forward(self, low: Tensor) -> Tensor:
        output: Tensor = self.answer(self.conditioning(low - 0.5))
        return output


class CornersSampler:
    """Training pairs: a digit, and a canvas that has it in one of two corners."""

    def __init__(self, places: Sequence[Path], seed: int) -> None:
        self._digits = torch.cat([read_digits(place, "train") for place in places])
        self._seed = seed

    def batch(self, step: int, counts: Mapping[int, int], shard: Shard = (0, 1)) -> list[Batch]:
        """See `pysr.training.Sampler`."""
        generator = generator_of(self._seed, step)
        rank, world_size = shard
        pairs = []
        for scale, count in counts.items():
            low = self._digits[torch.randint(len(self._digits), (count,), generator=generator)]
            pairs.append(Batch(scale, low[rank::world_size], place(low, generator)[rank::world_size]))
        return pairs


def corner_losses(network: PixelCNN, low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """The cross-entropies of the levels and, weighted, those of whether a pixel is bright at all.

    The corner of the digit is one bit among the hundreds that encode its levels: without the weight, training hardly
    learns it.
    """
    conditioning, joint = network.logits(low, high)
    target = levels(high).flatten()
    losses = {}
    for name, logits, weight in (("joint", joint, JOINT_BRIGHT), ("conditioning", conditioning, 1.0)):
        scores = logits.flatten(0, 3).float()
        dark = scores[:, :BRIGHT].logsumexp(1) - scores[:, BRIGHT:].logsumexp(1)
        losses[name] = F.cross_entropy(scores, target)
        bright = F.binary_cross_entropy_with_logits(dark, (target < BRIGHT).float())
        losses[f"{name}_bright"] = weight * bright
    return losses


def head_losses(network: nn.Module, low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of each pixel on its own."""
    logits = network(low).permute(0, 2, 3, 1).flatten(0, 2).float()
    return {"cross_entropy": F.cross_entropy(logits, levels(high).flatten())}
