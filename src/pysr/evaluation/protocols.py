"""Models against test sets, by named protocols that reproduce published tables."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..imaging import degrade
from ..imaging.colour import luma
from ..imaging.datasets import read_planes
from ..imaging.files import FilePath, image_files
from ..plugin import Metric
from ..registry import registry
from ..upscaling.chain import Chain
from ..upscaling.loading import load
from ..upscaling.upscaler import Upscaler

PROTOCOLS = ("y-shave",)
METRICS = ("psnr", "ssim")
Built = Mapping[Metric, Callable[[Tensor, Tensor], float]]


class _Scored:
    scores: Mapping[str, float]

    @property
    def psnr(self) -> float:
        """PSNR in dB, where it was measured."""
        return self.scores["psnr"]

    @property
    def ssim(self) -> float:
        """SSIM, where it was measured."""
        return self.scores["ssim"]


@dataclass(frozen=True)
class ImageResult(_Scored):
    """Scores of one image by metric, and the wall time of its upscaling alone."""

    name: str
    scores: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class ScaleResult(_Scored):
    """Means over the images of a set at one scale."""

    scale: int
    scores: Mapping[str, float]
    seconds: float
    images: tuple[ImageResult, ...]


@dataclass(frozen=True)
class Evaluation:
    """One model on one set by one protocol. data: the name of the set's folder. results: one a scale."""

    model: str
    data: str
    protocol: str
    results: tuple[ScaleResult, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what was measured."""
        return tuple(self.results[0].scores)

    def at(self, scale: int) -> ScaleResult | None:
        """The result at a scale; None where the model does not offer it."""
        return next((result for result in self.results if result.scale == scale), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, for JSON; the PSNR of an output without any error is None, as JSON has no infinity."""
        facts: dict[str, Any] = asdict(self, dict_factory=_finite)
        return facts


def _finite(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, value in items:
        facts |= value if name == "scores" else {name: value}
    return {name: None if value == math.inf else value for name, value in facts.items()}


def evaluate(
    names: Sequence[str],
    data: FilePath | Sequence[FilePath],
    scales: Sequence[int],
    *,
    variant: str | None = None,
    pre_upsampler: str | None = None,
    weights: FilePath | None = None,
    metrics: Sequence[str] = METRICS,
    protocol: str = "y-shave",
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[Evaluation]:
    """Measure models on test sets: one evaluation a model, set by set.

    names: models; "a+b" for one after the other; a name given twice counts once.
    data: a folder of images, the truth, or several of different names.
    scales: enlargements. Models may differ in what they offer: one is measured at those of the scales that it has.
        Each scale must be offered by one of the models, and each model must offer one of the scales.
    variant, weights: of the only model named, as in `pysr.load`.
    pre_upsampler: a model that makes the first enlargement of each of them, as in `pysr.load`.
    metrics: names of installed metrics, measured in this order. Those of luma compare as the protocol says. Those of
        colour compare the 8-bit RGB that a user gets from the shrunk RGB, rounded to 8 bits.
    protocol: "y-shave", the convention of SRCNN's and VDSR's tables: luma of BT.601 in the studio range, rounded to
        8 bits; cropped to a multiple of the scale; shrunk by MATLAB's bicubic and kept unrounded; the output rounded to
        8 bits; ``scale`` pixels shaved off every side; mean of per-image PSNR. Models that take RGB get the
        shrunk RGB rounded to 8 bits instead, and the luma of their rounded output is compared.
    progress: called as progress(done, total) after each image, with the total over all models, sets and scales.
    Raises UnknownNameError and InputError before anything is computed where that is possible.
    """
    if isinstance(names, str) or isinstance(scales, int):
        raise InputError("evaluate takes lists: evaluate(['vdsr'], 'Set5', [2, 3, 4])")
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}; use {', '.join(PROTOCOLS)}")
    if not names or not scales:
        raise InputError(f"no {'scale' if names else 'model'} given; for example: evaluate(['vdsr'], 'Set5', [2, 3])")
    names = list(dict.fromkeys(names))
    if not metrics or isinstance(metrics, str):
        raise InputError(f"metrics is {metrics!r}; give a list, such as {list(METRICS)}")
    if len(names) > 1 and (variant or weights):
        raise InputError(
            f"variant and weights are those of one model, and {len(names)} are named; measure one at a time"
        )
    built = build_metrics(metrics)
    sets = _sets([data] if isinstance(data, (str, os.PathLike)) else data)
    options: dict[str, Any] = {"variant": variant, "pre_upsampler": pre_upsampler, "weights": weights}
    named = "".join(f", {key} {os.path.basename(value)}" for key, value in options.items() if value)
    options |= {"device": device, "precision": precision}
    upscalers = [
        [load(name, scale, **options) for scale in offered]
        for name, offered in zip(names, _offered(names, scales), strict=True)
    ]
    for path in chain(*sets.values()):
        check_size(path, read_planes(path), max(scales), built)
    for upscaler in chain(*upscalers):
        upscaler.upscale(torch.zeros(1, 16, 16))  # what only a first call takes is in no image's seconds
    total, done = sum(map(len, upscalers)) * sum(map(len, sets.values())), count(1)

    def measured(upscaler: Upscaler, path: Path) -> ImageResult:
        result = measure(upscaler, path.stem, read_planes(path), built)
        if progress:
            progress(next(done), total)
        return result

    return [
        Evaluation(
            name + named,
            folder,
            protocol,
            tuple(_summarise(up.scale, [measured(up, path) for path in paths]) for up in row),
        )
        for folder, paths in sets.items()
        for name, row in zip(names, upscalers, strict=True)
    ]


def _sets(folders: Iterable[FilePath]) -> dict[str, list[Path]]:
    """The images of each folder by the folder's name."""
    sets: dict[str, list[Path]] = {}
    for folder in folders:
        images = image_files(folder)
        name = os.path.basename(os.path.abspath(folder))
        if name in sets:
            raise InputError(
                f"two folders are called {name!r}, and their scores could not be told apart; leave one out or rename it"
            )
        sets[name] = images
    if not sets:
        raise InputError("no folder of images given; name one or several, such as 'Set5'")
    return sets


def _offered(names: Sequence[str], scales: Sequence[int]) -> list[list[int]]:
    """Those of the scales that each model has."""
    offers = {name: Chain.parse(name).scales for name in names}
    listed = ", ".join(f"{name}: {' '.join(map(str, offer))}" for name, offer in offers.items())
    if missing := [scale for scale in scales if not any(scale in offer for offer in offers.values())]:
        raise InputError(f"none of these models offers scale {missing[0]!r} ({listed}); choose among their scales")
    for name, offer in offers.items():
        if not set(scales) & set(offer):
            raise InputError(f"{name} offers none of the scales asked for ({listed}); leave it out or ask for its own")
    return [[scale for scale in dict.fromkeys(scales) if scale in offers[name]] for name in names]


def check_size(path: Path, planes: Tensor, scale: int, metrics: Iterable[Metric]) -> None:
    """InputError for a picture, (C, H, W), that is too small for one of the metrics at that scale."""
    side = min(side // scale * scale for side in planes.shape[-2:]) - 2 * scale
    metric = max(metrics, key=lambda metric: metric.smallest)
    if side < metric.smallest:
        raise InputError(
            f"{path} is too small to be measured at scale {scale}: {metric.name} needs {metric.smallest} pixels a side"
            f" after {scale} are shaved off every border; leave it out"
        )


def build_metrics(names: Iterable[str]) -> Built:
    """Installed metrics, ready to measure, in the order of their names; UnknownNameError for a missing one."""
    return {metric: metric.build() for metric in map(registry().metric, names)}


def measure(upscaler: Upscaler, name: str, picture: Tensor, metrics: Built) -> ImageResult:
    """Shrink a true picture, (C, H, W) float in [0, 1], upscale it, and compare by the protocol `y-shave`."""
    scale = upscaler.scale
    picture = degrade.crop_to_multiple(picture, scale).double()
    truths = {"rgb": picture, "luma": _round(_luma(picture))}
    low = (degrade.bicubic(picture, scale).clamp(0, 1) * 255).round().to(torch.uint8)
    outputs: dict[str, Tensor] = {}
    if upscaler.model.colour == "rgb":
        outputs["rgb"], seconds = _timed(upscaler, low)
        outputs["rgb"] /= 255
        outputs["luma"] = _luma(outputs["rgb"])
    else:
        output, seconds = _timed(upscaler, degrade.bicubic(truths["luma"], scale).float())
        outputs["luma"] = _round(output)
        if any(metric.colour == "rgb" for metric in metrics):
            outputs["rgb"] = upscaler.upscale(low).double() / 255
    inside = (..., slice(scale, -scale), slice(scale, -scale))
    scores = {
        metric.name: score(outputs[metric.colour][inside], truths[metric.colour][inside])
        for metric, score in metrics.items()
    }
    return ImageResult(name, scores, seconds)


def _luma(planes: Tensor) -> Tensor:
    return planes if len(planes) == 1 else luma(planes)


def _timed(upscaler: Upscaler, low: Tensor) -> tuple[Tensor, float]:
    started = perf_counter()
    output: Tensor = upscaler.upscale(low)
    seconds = perf_counter() - started
    return output.double(), seconds


def _round(planes: Tensor) -> Tensor:
    return (planes.clamp(0, 1) * 255).round() / 255


def _summarise(scale: int, images: Iterable[ImageResult]) -> ScaleResult:
    images = tuple(images)
    scores = {name: fmean(image.scores[name] for image in images) for name in images[0].scores}
    return ScaleResult(scale, scores, fmean(image.seconds for image in images), images)
