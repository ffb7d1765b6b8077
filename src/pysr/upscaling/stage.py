"""One loaded model on windows of an image: preprocess -> network -> what the preprocessors put back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import PluginError
from ..plugin import Model, Preprocess, Preprocessor
from ..registry import registry
from .runner import PreparedNetwork

GRAY = (0.299, 0.587, 0.114)  # BT.601 luma of full-range RGB: what a gray image gets back from a colour network


@dataclass(frozen=True)
class BoundPreprocessor:
    """A preprocessor, built: its description and its two halves.

    bytes_per_pixel: working memory per pixel of the window, where the step is large enough to count.
    """

    about: Preprocessor
    run: Preprocess
    bytes_per_pixel: float = 0


@dataclass(frozen=True)
class Stage:
    """A loaded model, the only one or one of a chain; knows nothing of patches. Any number of threads may share it.

    model: what holds for this stage: with a pre-upsampler model, that one's halo and multiples are counted in.
    """

    model: Model
    scale: int
    runner: PreparedNetwork
    steps: tuple[BoundPreprocessor, ...]

    @property
    def halo(self) -> int | None:
        """Pixels of the image around a window that its output depends on; None when unbounded."""
        halo = self.model.receptive_field
        if halo is None:
            return None
        for step in reversed(self.steps):
            halo = (math.ceil(halo / self.scale) if step.about.enlarges else halo) + step.about.reach
        return max(halo, *(step.about.after_reach for step in self.steps), 0)

    def bytes_per_pixel(self, channels: int) -> float:
        """Working memory per pixel of a window of that many planes, its input and output included."""
        enlarged = self.scale**2 if any(step.about.enlarges for step in self.steps) else 1
        networks = channels if self.model.colour == "any" else 1
        largest = max(self.runner.bytes_per_pixel * enlarged * networks, *(s.bytes_per_pixel for s in self.steps), 0)
        return largest + 8 * channels * (1 + self.scale**2)

    @torch.inference_mode()
    def process(self, windows: Tensor) -> Tensor:
        """(N, C, h, w) windows of an image -> (N, C, h * scale, w * scale), both float32, C being 1 or 3; not clipped.

        Raises PluginError for a wrong shape and for NaN or infinite pixels.
        """
        planes = windows = windows.to(self.runner.device)
        memories = []
        with torch.autocast(self.runner.device.type, enabled=False), torch.device("cpu"):  # the caller's are not ours
            for step in self.steps:
                planes, memory = step.run.preprocess(planes, self.scale)
                memories.append(memory)
            planes = self._network(planes)
            for step, memory in zip(reversed(self.steps), reversed(memories), strict=True):
                planes = step.run.postprocess(planes, memory, self.scale)
        self._check(windows, planes)
        return planes

    def _network(self, planes: Tensor) -> Tensor:
        """The network on any number of planes: gray images through a colour network, and each plane through "any"."""
        count, channels, *side = planes.shape
        if self.model.colour == "rgb" and channels == 1:
            colour: Tensor = self.runner(planes.expand(-1, 3, -1, -1))
            return (colour * colour.new_tensor(GRAY).view(3, 1, 1)).sum(1, keepdim=True)
        if self.model.colour == "any" and channels != 1:
            output: Tensor = self.runner(planes.reshape(count * channels, 1, *side))
            return output.reshape(count, channels, *output.shape[2:])
        return self.runner(planes)

    def _check(self, windows: Tensor, output: Tensor) -> None:
        count, channels, height, width = windows.shape
        wanted = (count, channels, height * self.scale, width * self.scale)
        if output.shape != wanted:
            what = f"{tuple(output.shape)} for an input of {tuple(windows.shape)}, not {wanted}"
        elif not torch.isfinite(output).all():
            precision = str(self.runner.dtype).removeprefix("torch.")
            what = f"NaN or infinite pixels in {precision}"
            what += "" if precision == "float32" else "; try precision='float32'"
        else:
            return
        raise PluginError(f"the model {self.model.name!r} of {registry().owner(self.model.name)} gave {what}")


class PreUpsampler:
    """A preprocessor that enlarges by a stage: another model's network begins with its result, not with bicubic."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, None]:
        return self._stage.process(window), None

    def postprocess(self, output: Tensor, memory: Any, scale: int) -> Tensor:
        return output
