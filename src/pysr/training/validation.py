"""Pictures that a training is measured on while it goes on: what `evaluate` would say of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from PIL import Image
from torch import Tensor

from ..evaluation.comparison import Panel, draw
from ..evaluation.protocols import build_metrics, check_size, measure
from ..imaging import degrade
from ..imaging.datasets import in_colour, read_stacks
from ..imaging.resize import resize
from ..plugin import Model
from ..upscaling.upscaler import Upscaler


class Validation:
    """The true pictures in a folder or the array ``val`` of an ``.npz`` file; without a place nothing is measured.

    columns: the names of what is measured: the mean PSNR in dB at each scale by the protocol `y-shave`, or, for a
    stochastic model, whose PSNR says little, the mean of bits per sub-pixel.
    """

    def __init__(self, place: Path | None, model: Model, scales: Sequence[int]) -> None:
        self._place, self._model, self._metrics = place, model, build_metrics(["psnr"])
        self.columns = ["bits_per_dim"] if model.stochastic else [f"psnr_x{scale}" for scale in scales]
        for path, stack in self._stacks():
            if model.stochastic:
                self._truth(stack, max(scales))
            else:
                check_size(path, stack[0], max(scales), self._metrics)

    def scores(self, upscalers: Mapping[int, Upscaler], stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Means over the pictures, by column; None if ``stopped`` became true between two of them."""
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
        """How good scores are: more is better."""
        return -sum(scores.values()) if self._model.stochastic else sum(scores.values())

    def sample(self, upscaler: Upscaler, title: str) -> Image.Image:
        """The first picture, its bicubic enlargement and the upscaler's, side by side."""
        _, stack = next(self._stacks())
        truth = self._truth(stack[0], upscaler.scale)
        low = _low(truth, upscaler.scale)
        bicubic = resize(low / 255, upscaler.scale).clamp(0, 1)
        panels = [Panel("original", _image(truth)), Panel("bicubic", _image(bicubic))]
        return draw([*panels, Panel(title, _image(upscaler.upscale(low) / 255))])

    def _stacks(self) -> Iterator[tuple[Path, Tensor]]:
        return read_stacks(self._place, "val") if self._place else iter(())

    def _truth(self, picture: Tensor, scale: int) -> Tensor:
        """Cropped to fit the scale, and in the colour of a stochastic model, which converts nothing itself."""
        picture = in_colour(picture, self._model.colour) if self._model.stochastic else picture
        return degrade.crop_to_multiple(picture, scale)

    def _bits(self, upscaler: Upscaler, truth: Tensor) -> float:
        high = (self._truth(truth, upscaler.scale) * 255).round().byte()
        return upscaler.bits_per_dim(_low(high / 255, upscaler.scale), high)


def _low(truth: Tensor, scale: int) -> Tensor:
    """(C, H, W) in [0, 1] -> (C, H / scale, W / scale) uint8."""
    return (degrade.bicubic(truth, scale).clamp(0, 1) * 255).round().byte()


def _image(planes: Tensor) -> Image.Image:
    """(C, H, W) in [0, 1] as an RGB or gray image."""
    pixels = (planes * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
