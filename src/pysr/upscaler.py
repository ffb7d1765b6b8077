"""The way of the data: image in -> preprocess -> patches -> network -> blend -> image out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import files
from .cutting import Cutting, Progress, place_of
from .errors import InputError, OutOfMemory
from .image import Array, open_image
from .patches import Plan
from .plugin import Model
from .precision import Runner
from .registry import registry
from .stage import Stage
from .steps import Resampler

_WHITE = {"uint8": 255, "uint16": 65535}


class Upscaler:
    """Loaded models, ready to use; stateless, so any number of threads may share one. Made by `pysr.load`.

    model: the model's description; for a chain or with an initial model, one that names them all.
    scale: enlargement per side, of all stages together.
    """

    def __init__(self, model: Model, scale: int, stages: tuple[Stage, ...], cutting: Cutting) -> None:
        self.model, self.scale = model, scale
        self._stages, self._cutting = stages, cutting

    def __repr__(self) -> str:
        return f"<Upscaler {self.model.name} x{self.scale} on {self.device} in {self.precision}>"

    @property
    def device(self) -> torch.device:
        """Where the networks run. Images may lie elsewhere; results lie where the image lay."""
        return self._stages[0].runner.device

    @property
    def precision(self) -> str:
        """How the networks compute: "float32", "bfloat16" or "float16"; of a chain the lowest."""
        dtype = min((stage.runner.dtype for stage in self._stages), key=lambda dtype: dtype.itemsize)
        return str(dtype).removeprefix("torch.")

    def upscale(self, image: Any, *, progress: Progress | None = None) -> Any:
        """The image, ``scale`` times as large per side, as the same kind of object.

        image: a PIL image of mode 1, L, LA, P, I;16, RGB, RGBA or CMYK; a NumPy array (H, W) or (H, W, C), uint8,
            uint16, float16 or float32; a torch tensor (C, H, W) or (N, C, H, W), uint8, uint16, float16, bfloat16 or
            float32, on any device; or the path of an image file, which gives a PIL image, upright. C is 1 (gray),
            2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha). Floats are in [0, 1].
        Returns the same type, dtype, mode and device; floats are clipped to [0, 1], integers rounded half to even;
            between the models of a chain nothing is clipped or rounded.
            Alpha is enlarged by bicubic, and colours are bled into transparent pixels first, so edges stay clean.
        progress: called as progress(done, total) after each patch; an exception raised in it ends the work.
        Raises InputError for images that cannot be used, OutOfMemory when even the smallest patch does not fit.
        """
        if isinstance(image, (str, PathLike)):
            image = files.read_image(Path(image))
        opened = open_image(image)
        parts = opened.parts(self.scale)
        plans = [self._plans(planes.shape) for planes, _ in parts]
        reports = _shares(progress, [math.prod(cut.shape) for cuts in plans for cut in cuts])
        for (planes, out), cuts in zip(parts, plans, strict=True):
            self._upscale_planes(planes, out, cuts, reports)
        for alpha, out in opened.alphas(self.scale):
            white = _WHITE.get(str(alpha.dtype).removeprefix("torch."), 1)
            if (alpha == white).all():  # opaque, as most are
                out[:] = white
            else:
                _enlarge_alpha(alpha, out, self.scale)
        return opened.result()

    def upscale_file(
        self, source: str | PathLike[str], target: str | PathLike[str], *, progress: Progress | None = None
    ) -> None:
        """Read an image file, upscale it and write it; the format is chosen by the target's extension.

        The target appears only when it is complete; an older file of that name is kept until then. The orientation
        noted by a camera is applied, the colour profile is kept. Raises InputError before any work when the target
        cannot take the result or is the source itself.
        """
        if Path(target).exists() and Path(source).exists() and Path(target).samefile(source):
            raise InputError(f"{target} is the input and would be overwritten; choose another name for the output")
        image = files.read_image(Path(source))
        size = image.width * self.scale, image.height * self.scale
        files.check_output(Path(target), size, image.mode, transparent=image.has_transparency_data)
        files.write_image(self.upscale(image, progress=progress), Path(target))

    def _plans(self, shape: Sequence[int]) -> list[Plan]:
        """Where each stage cuts, for planes of shape (C, H, W)."""
        channels, height, width = shape
        plans = []
        for stage in self._stages:
            plans.append(self._cutting.plan(stage, (channels, height, width)))
            height, width = plans[-1].output_shape
        return plans

    def _upscale_planes(
        self, planes: Array, out: Array, plans: Sequence[Plan], reports: Iterator[Progress | None]
    ) -> None:
        """Fill ``out`` (C, H * scale, W * scale) from ``planes`` (C, H, W), one stage after the other."""
        for number, (stage, cut) in enumerate(zip(self._stages, plans, strict=True), 1):
            last = number == len(plans)
            result = out if last else _empty(len(planes), cut.output_shape, place_of(planes))
            self._cutting.enlarge(stage, planes, result, cut, progress=next(reports), clip=last)
            planes = result


def _shares(progress: Progress | None, sizes: Sequence[int]) -> Iterator[Progress | None]:
    """For each piece of the work, in order, a callback that reports its share of the whole; sizes: their patches."""
    before, total = 0, sum(sizes)
    for size in sizes:

        def report(done: int, of: int, before: int = before, size: int = size) -> None:
            assert progress
            progress(before + done * size // of, total)

        yield report if progress else None
        before += size


def _empty(channels: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """Room for what one stage hands to the next, float32."""
    try:
        return torch.empty(channels, *size, dtype=torch.float32, device=device)
    except RuntimeError as error:
        raise OutOfMemory(
            f"what one model of the chain hands to the next, {size[1]} x {size[0]} pixels, does not fit into memory; "
            "choose a smaller scale, or upscale parts of the image"
        ) from error


def _enlarge_alpha(alpha: Array, out: Array, scale: int) -> None:
    """By bicubic, on the CPU: (1, H, W) -> (1, H * scale, W * scale)."""
    runner = Runner(Resampler("bicubic", scale), torch.device("cpu"), torch.float32, (1, 8, 8))
    bicubic, cutting = Stage(registry().model("bicubic"), scale, runner, ()), Cutting()
    cutting.enlarge(bicubic, alpha, out, cutting.plan(bicubic, alpha.shape))
