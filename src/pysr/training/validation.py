"""Validation during training, with the metrics of `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image
from torch import Tensor

from ..evaluation.comparison import Panel, draw
from ..evaluation.protocols import build_metrics, check_size, measure
from ..files.datasets import in_colour, read_stacks
from ..imaging import degrade
from ..imaging.resize import resize
from ..upscaling.loading import bicubic_stage, make_stage
from ..upscaling.tiling import Tiling
from ..upscaling.upscaler import Upscaler
from .config import TrainingConfig


class Validation:
    """The validation images of a training, and how its weights score on them.

    They are in a folder, or are the array ``val`` of an ``.npz`` file. Without any, nothing is measured.

    Attributes:
        columns: Names of the scores: the mean PSNR in dB at each scale by the protocol `y-shave`; for a stochastic
            model, whose PSNR says little, the mean of bits per sub-pixel.

    Args:
        config: The training.

    Raises:
        InputError: An image cannot be read or is too small.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self._config, self._model, self._metrics = config, config.model, build_metrics(["psnr"])
        scales = config.scales
        self.columns = ["bits_per_dim"] if self._model.stochastic else [f"psnr_x{scale}" for scale in scales]
        for path, stack in self._stacks():
            if self._model.stochastic:
                self._truth(stack, max(scales))
            else:
                check_size(path, stack[0], max(scales), self._metrics)

    def upscalers(self, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> dict[int, Upscaler]:
        """Build the model with these weights, by scale, as users will load it."""
        return {scale: self._upscaler(scale, tensors, device, dtype) for scale in self._config.scales}

    def _upscaler(
        self, scale: int, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
    ) -> Upscaler:
        network = self._model.network(scale, self._config.variant)
        network.load_state_dict(tensors)
        stage = make_stage(self._model, scale, network, (device, dtype), self._config.options.pre_upsampler)
        return Upscaler(stage.model, scale, (stage,), Tiling(), alpha=bicubic_stage(scale))

    def scores(self, upscalers: Mapping[int, Upscaler], stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Return mean scores over the images, by column; None if ``stopped`` became true between two of them."""
        found: dict[str, list[float]] = {}
        for truth in (truth for _, stack in self._stacks() for truth in stack):
            for column, upscaler in zip(self.columns, upscalers.values(), strict=True):
                if stopped():
                    return None
                score = (
                    self._bits(upscaler, truth)
                    if self._model.stochastic
                    else measure(upscaler, "", truth, self._metrics).psnr
                )
                found.setdefault(column, []).append(score)
        return {column: fmean(values) for column, values in found.items()}

    def merit(self, scores: Mapping[str, float]) -> float:
        """Return one number for how good scores are; higher is better."""
        return -sum(scores.values()) if self._model.stochastic else sum(scores.values())

    def sample(self, upscaler: Upscaler, title: str) -> Image.Image:
        """Draw the first image, its bicubic enlargement and the upscaler's result side by side."""
        _, stack = next(self._stacks())
        truth = self._truth(stack[0], upscaler.scale)
        low = _downscale(truth, upscaler.scale)
        bicubic = resize(low / 255, upscaler.scale).clamp(0, 1)
        panels = [Panel("original", _to_pil(truth)), Panel("bicubic", _to_pil(bicubic))]
        return draw([*panels, Panel(title, _to_pil(upscaler.upscale(low) / 255))])

    def _stacks(self) -> Iterator[tuple[Path, Tensor]]:
        place = self._config.validation
        return read_stacks(place, "val") if place else iter(())

    def _truth(self, image: Tensor, scale: int) -> Tensor:
        """Crop to a multiple of the scale, and convert to the colour of a stochastic model, which converts nothing."""
        image = in_colour(image, self._model.colour) if self._model.stochastic else image
        return degrade.crop_to_multiple(image, scale)

    def _bits(self, upscaler: Upscaler, truth: Tensor) -> float:
        high = (self._truth(truth, upscaler.scale) * 255).round().byte()
        return upscaler.bits_per_dim(_downscale(high / 255, upscaler.scale), high)


def _downscale(truth: Tensor, scale: int) -> Tensor:
    """(C, H, W) in [0, 1] -> (C, H / scale, W / scale) uint8."""
    return (degrade.bicubic(truth, scale).clamp(0, 1) * 255).round().byte()


def _to_pil(image: Tensor) -> Image.Image:
    """(C, H, W) in [0, 1] -> an RGB or gray image."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
