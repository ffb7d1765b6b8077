"""Pictures that a training is measured on while it goes on: what `evaluate` would say of its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from PIL import Image
from torch import Tensor

from . import degrade
from .comparison import Panel, draw
from .data import read_planes
from .evaluation import check_size, measure
from .files import image_files
from .resize import resize
from .upscaler import Upscaler


class Validation:
    """The true pictures in a folder; without a folder nothing is measured."""

    def __init__(self, folder: Path | None, scales: Sequence[int]) -> None:
        self.columns = [f"psnr_x{scale}" for scale in scales]
        self.paths = image_files(folder) if folder else []
        for path in self.paths:
            check_size(path, read_planes(path), max(scales))

    def scores(self, upscalers: Mapping[int, Upscaler], stopped: Callable[[], bool]) -> dict[str, float] | None:
        """By column the mean PSNR in dB, protocol `y-shave`; None if ``stopped`` became true between two pictures."""
        scores = {}
        for scale, upscaler in upscalers.items():
            found = []
            for path in self.paths:
                if stopped():
                    return None
                found.append(measure(upscaler, path.stem, read_planes(path)).psnr)
            if found:
                scores[f"psnr_x{scale}"] = fmean(found)
        return scores

    def sample(self, upscaler: Upscaler, title: str) -> Image.Image:
        """The first picture, its bicubic enlargement and the upscaler's, side by side."""
        scale = upscaler.scale
        truth = degrade.crop_to_multiple(read_planes(self.paths[0]), scale)
        low = (degrade.bicubic(truth, scale).clamp(0, 1) * 255).round().byte()
        bicubic = resize(low / 255, scale).clamp(0, 1)
        panels = [Panel("original", _image(truth)), Panel("bicubic", _image(bicubic))]
        return draw([*panels, Panel(title, _image(upscaler.upscale(low) / 255))])


def _image(planes: Tensor) -> Image.Image:
    """(C, H, W) in [0, 1] as an RGB or gray image."""
    pixels = (planes * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
