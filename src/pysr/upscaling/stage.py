"""One loaded model on windows of an image: preprocess, network, postprocess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import PluginError
from ..imaging.colour import to_channels
from ..imaging.symmetry import SYMMETRIES, transform, transform_back
from ..ops.host import cpu_by_default
from ..ops.resample import Resampler
from ..ops.threads import threads_on_idle_processors
from ..plugin import Model, Preprocess, Preprocessor, Weights
from .blame import blamed
from .runner import PreparedNetwork
from .turns import Turn

_PARAMETERS = 1_000_000  # of a network that cannot be asked: as many as model files have
_TAPS = 16  # multiplications per pixel of an interpolation
_WINDOW_BYTES = 8  # per value of a window and of its output: float32, and one copy (in transfer, or in a row of tiles)


@dataclass(frozen=True)
class BoundPreprocessor:
    """A preprocessor's description together with its built implementation.

    Attributes:
        spec: Its description.
        impl: Its two halves.
        bytes_per_pixel: Working memory per pixel of the window, if it is large enough to count.
    """

    spec: Preprocessor
    impl: Preprocess
    bytes_per_pixel: float = 0


@dataclass(frozen=True)
class Stage:
    """A loaded model, alone or in a chain. It knows nothing of patches. Threads may share it.

    Attributes:
        model: Its description, adjusted for this stage: it includes the halo and multiples of a pre-upsampler.
        scale: Enlargement per side.
        runner: Its network.
        steps: Its preprocessors, in order.
        owner: The distribution that provides the model, for error messages.
        ensemble: Whether the result is the mean over the eight flips and quarter turns of the input.
        weights: Where its network's weights come from; None if it has none, or they came with the model's own file.
        mixed_in: The digest of the weights of strength 0, where a strength is set (see `with_strength`).
        calibration: A sha256 that all images decide on which its network was calibrated for int8; empty if it was not.
        turn: By which several threads compute; None: all at the same time.
    """

    model: Model
    scale: int
    runner: PreparedNetwork
    steps: tuple[BoundPreprocessor, ...]
    owner: str
    ensemble: bool = False
    weights: Weights | Path | None = None
    mixed_in: str = ""
    calibration: str = ""
    turn: Turn | None = None

    @property
    def halo(self) -> int | None:
        """Pixels around a window of the image on which the window's output depends; None: unbounded."""
        halo = self.model.receptive_field
        if halo is None:
            return None
        for step in reversed(self.steps):
            halo = (math.ceil(halo / self.scale) if step.spec.enlarges else halo) + step.spec.reach
        return max(halo, *(step.spec.after_reach for step in self.steps), 0)

    @property
    def resampler(self) -> Resampler | None:
        """The interpolation that is all this stage does, if the native kernel computes it."""
        return None if self.steps or self.ensemble else self.runner.resampler

    def work(self, shape: Sequence[int]) -> int:
        """Estimate the multiplications that an image of shape (C, H, W) takes: one for each weight at each pixel."""
        channels, height, width = shape
        weights = _PARAMETERS if self.runner.parameters is None else self.runner.parameters
        return height * width * self._network_pixels(channels) * (weights or _TAPS)

    def _network_pixels(self, channels: int) -> int:
        """Return how many pixels, one channel after another, the network sees for each pixel of an image."""
        enlarged = self.scale**2 if any(step.spec.enlarges for step in self.steps) else 1
        return enlarged * (channels if self.model.colour == "any" else 1)

    def bytes_per_pixel(self, channels: int) -> float:
        """Estimate the working memory per pixel of a window of that many channels, in bytes, with input and output."""
        largest = self.runner.bytes_per_pixel * self._network_pixels(channels)
        largest = max(largest, *(step.bytes_per_pixel for step in self.steps), 0)
        buffers = 2 if self.ensemble else 1  # the sum over the symmetries is kept beside each output
        return largest + buffers * _WINDOW_BYTES * channels * (1 + self.scale**2)

    @torch.inference_mode()
    def process(self, windows: Tensor) -> Tensor:
        """Upscale windows of an image; nothing is clipped.

        Args:
            windows: (N, C, h, w) float32, C being 1 or 3.

        Returns:
            (N, C, h * scale, w * scale) float32, on the runner's device.

        Raises:
            PluginError: The model returns a wrong shape, NaN or infinite pixels, or raises an exception.
        """
        windows = windows.to(self.runner.device)
        return self.turn(self._compute, windows) if self.turn else self._compute(windows)

    def _compute(self, windows: Tensor) -> Tensor:
        threads = threads_on_idle_processors() if windows.device.type == "cpu" else nullcontext()
        with threads, blamed(f"the model {self.model.name!r} of {self.owner} failed"):
            return self._process_symmetries(windows) if self.ensemble else self._process_once(windows)

    def _process_symmetries(self, windows: Tensor) -> Tensor:
        """Average over the flips and quarter turns of the windows."""
        total = self._process_once(windows)
        for number in range(1, SYMMETRIES):
            turned = self._process_once(transform(windows, number).contiguous())
            total += transform_back(turned, number)
        return total / SYMMETRIES

    def _process_once(self, windows: Tensor) -> Tensor:
        image = windows
        contexts = []
        # ignore the caller's autocast and default device
        with torch.autocast(self.runner.device.type, enabled=False), cpu_by_default():
            for step in self.steps:
                image, context = step.impl.preprocess(image, self.scale)
                contexts.append(context)
            image = self._run_network(image)
            for step, context in zip(reversed(self.steps), reversed(contexts), strict=True):
                image = step.impl.postprocess(image, context, self.scale)
        self._check(windows, image)
        return image

    def _run_network(self, image: Tensor) -> Tensor:
        """Run gray as RGB through an "rgb" network, and each channel by itself through an "any" network."""
        count, channels, *side = image.shape
        if self.model.colour == "rgb" and channels == 1:
            return to_channels(self.runner(to_channels(image, 3)), 1)
        if self.model.colour == "any" and channels != 1:
            output = self.runner(image.reshape(count * channels, 1, *side))
            return output.reshape(count, channels, *output.shape[2:])
        return self.runner(image)

    def _check(self, windows: Tensor, output: Tensor) -> None:
        count, channels, height, width = windows.shape
        wanted = (count, channels, height * self.scale, width * self.scale)
        if not isinstance(output, Tensor) or output.layout != torch.strided or output.device != windows.device:
            kind = f"{output.layout} on {output.device}" if isinstance(output, Tensor) else type(output).__name__
            problem = f"{kind}, not a dense tensor on {windows.device}"
        elif output.shape != wanted:
            problem = f"{tuple(output.shape)} for an input of {tuple(windows.shape)}, not {wanted}"
        elif not torch.isfinite(output).all():
            precision = str(self.runner.dtype).removeprefix("torch.")
            problem = f"NaN or infinite pixels in {precision}"
            problem += "" if precision == "float32" else "; try precision='float32'"
        else:
            return
        raise PluginError(f"the model {self.model.name!r} of {self.owner} returned {problem}")


class PreUpsampler:
    """A preprocessor that enlarges by another stage, so that the network starts from its result instead of bicubic."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, None]:
        return self.stage.process(window), None

    def postprocess(self, output: Tensor, context: Any, scale: int) -> Tensor:
        return output
