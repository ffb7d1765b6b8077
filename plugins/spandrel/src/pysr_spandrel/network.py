"""A network of one of spandrel's architectures, as pysr calls it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import pad

from .library import describe


def build(weights: Path, what: str) -> SpandrelNetwork:
    """Build a network with its weights.

    Args:
        weights: Its tensors as safetensors.
        what: The file that it comes from, for messages.

    Raises:
        PysrError: As `describe`.
    """
    with torch.device("cpu"), torch.no_grad():
        return SpandrelNetwork(describe(load_file(weights), what))


class _Lock:
    """A lock of which every copy of a network gets its own."""

    def __init__(self) -> None:
        self.held = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Lock:
        return _Lock()


class SpandrelNetwork(nn.Module):
    """The network of a spandrel descriptor; maps (N, C, h, w) float to (N, C, h * scale, w * scale)."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.network: nn.Module = descriptor.model
        self._call = descriptor._call_fn  # what the architecture adds, such as a noise map
        self._square, self._scale = descriptor.size_requirements.square, descriptor.scale
        self._lock = _Lock()  # some architectures keep masks of the size seen last

    def forward(self, image: Tensor) -> Tensor:
        with self._lock.held:
            return torch.cat([self._forward_one(one) for one in image.split(1)])  # spandrel's calls take one

    def _forward_one(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if self._square and height != width:
            side = max(height, width)
            image = pad(image, (0, side - width, 0, side - height), "replicate")
        output: Tensor = self._call(self.network, image.clone())  # some change it in place
        return output[..., : height * self._scale, : width * self._scale]
