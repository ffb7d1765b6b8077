"""The corners: a digit in the top left or in the bottom right of a canvas, and nothing in the input says which."""

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

SIDE = 28
MAGIC = 0x803  # unsigned bytes in three dimensions
CHANNELS = 32
BRIGHT = 48  # the lowest level that counts as bright
JOINT_BRIGHT = 40.0


def read_digits(folder: Path, part: str) -> Tensor:
    """MNIST's images, (N, 1, 28, 28) in [0, 1]. part: "train" (60,000) or "t10k" (10,000)."""
    path = folder / f"{part}-images-idx3-ubyte.gz"
    try:
        with gzip.open(path) as file:
            data = file.read()
        magic, count, height, width = np.frombuffer(data, ">i4", 4)
        if magic != MAGIC or (height, width) != (SIDE, SIDE):
            raise ValueError("it holds no images of 28 x 28")
        pixels = np.frombuffer(data, np.uint8, offset=16).reshape(count, 1, SIDE, SIDE)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"MNIST's {path} cannot be read: {error}; give the folder of its four .gz files") from None
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def place(digits: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 1, 28, 28) digits, each in one of the two corners of a (N, 1, 56, 56) canvas, with probability one half."""
    count, planes, side, _ = digits.shape
    canvas = torch.zeros(count, planes, 2 * side, 2 * side)
    bottom = torch.rand(count, generator=generator) < 0.5
    canvas[~bottom, :, :side, :side] = digits[~bottom]
    canvas[bottom, :, side:, side:] = digits[bottom]
    return canvas


class CornersConditioning(nn.Module):
    """(N, 1, h, w) digits in [-0.5, 0.5] to (N, 32, 2 h, 2 w) features.

    No convolution moves a digit by half a canvas, so the input is repeated in all four corners, beside two planes that
    say where a pixel is; residual blocks make of it what stands where.
    """

    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers, *(ResidualBlock(CHANNELS) for _ in range(blocks)))

    def forward(self, low: Tensor) -> Tensor:
        canvas = low.repeat(1, 1, 2, 2)
        rows, columns = (torch.linspace(-0.5, 0.5, side, device=low.device) for side in canvas.shape[2:])
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).to(canvas.dtype)
        features: Tensor = self.body(torch.cat([canvas, places.expand(len(low), -1, -1, -1)], 1))
        return features


def corners() -> PixelCNN:
    """PixelCNN for the corners: 18 layers see 39 rows up, so that a digit in the other corner is seen."""
    return PixelCNN(CornersConditioning(), CHANNELS, Prior(planes=1, channels=32, layers=18, hidden=128))


class Head(nn.Module):
    """The same conditioning network with a head that knows no other pixel: (N, 1, h, w) in [0, 1] to (N, outputs, ...).

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
        generator = generator_of(self._seed, step)
        rank, processes = shard
        pairs = []
        for scale, count in counts.items():
            low = self._digits[torch.randint(len(self._digits), (count,), generator=generator)]
            pairs.append(Batch(scale, low[rank::processes], place(low, generator)[rank::processes]))
        return pairs


def corner_losses(network: PixelCNN, low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """The cross-entropies, and again, many times as heavy, that of whether a pixel is bright at all.

    In which corner the digit stands is one bit of the hundreds that its levels take: without the weight, training
    hardly hears of it.
    """
    given, both = network.logits(low, high)
    target = levels(high).flatten()
    losses = {}
    for name, logits, weight in (("joint", both, JOINT_BRIGHT), ("conditioning", given, 1.0)):
        scores = logits.flatten(0, 3).float()
        dark = scores[:, :BRIGHT].logsumexp(1) - scores[:, BRIGHT:].logsumexp(1)
        losses[name] = F.cross_entropy(scores, target)
        bright = F.binary_cross_entropy_with_logits(dark, (target < BRIGHT).float())
        losses[f"{name}_bright"] = weight * bright
    return losses


def head_losses(network: nn.Module, low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of each pixel alone."""
    logits = network(low).permute(0, 2, 3, 1).flatten(0, 2).float()
    return {"cross_entropy": F.cross_entropy(logits, levels(high).flatten())}
