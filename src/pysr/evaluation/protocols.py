"""Evaluation of models on test sets, by named protocols that reproduce published tables."""

from __future__ import annotations

import logging
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

from ..atomic import FilePath
from ..errors import InputError
from ..files import image_files
from ..files.datasets import read_planes
from ..imaging.colour import luma
from ..imaging.degrade import Degrade, bicubic, crop_to_multiple
from ..ops.seeds import generator_for
from ..plugin import Metric, Progress
from ..registry import registry
from ..upscaling.chain import Chain, common_scales, listed_scales
from ..upscaling.loading import load
from ..upscaling.upscaler import Upscaler

logger = logging.getLogger("pysr")

PROTOCOLS = ("y-shave",)
METRICS = ("psnr", "ssim")
BuiltMetrics = Mapping[Metric, Callable[[Tensor, Tensor], float]]


class _Scored:
    scores: Mapping[str, float]

    @property
    def psnr(self) -> float:
        """PSNR in dB, if it was measured."""
        return self.scores["psnr"]

    @property
    def ssim(self) -> float:
        """SSIM, if it was measured."""
        return self.scores["ssim"]


@dataclass(frozen=True)
class ImageResult(_Scored):
    """Scores of one image.

    Attributes:
        name: The file's name without its ending.
        scores: By the metric's name.
        seconds: Wall time of upscaling alone.
    """

    name: str
    scores: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class ScaleResult(_Scored):
    """Means over the images of a set at one scale.

    Attributes:
        scale: Enlargement per side.
        scores: Means by the metric's name.
        seconds: Mean wall time of upscaling an image.
        images: The results of the images, sorted by the files' names.
    """

    scale: int
    scores: Mapping[str, float]
    seconds: float
    images: tuple[ImageResult, ...]


@dataclass(frozen=True)
class Evaluation:
    """One model on one test set by one protocol.

    Attributes:
        model: Its name, as in a table.
        data: The name of the set's folder.
        protocol: The name of the protocol.
        metrics: The metrics measured, in order, with all that is needed to print or plot their scores.
        results: One for each scale.
        degradation: The name of what the inputs went through; None for the protocol's own reduction alone.
    """

    model: str
    data: str
    protocol: str
    metrics: tuple[Metric, ...]
    results: tuple[ScaleResult, ...]
    degradation: str | None = None

    def at(self, scale: int) -> ScaleResult | None:
        """Return the result at a scale; None if the model was not measured at it."""
        return next((result for result in self.results if result.scale == scale), None)

    def as_dict(self) -> dict[str, Any]:
        """Convert to plain lists and dicts, for JSON, which has no infinity: the PSNR of a perfect output is None."""
        results = [asdict(result, dict_factory=_finite) for result in self.results]
        return {
            "model": self.model,
            "data": self.data,
            "protocol": self.protocol,
            "degradation": self.degradation,
            "results": results,
        }


def _finite(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, value in items:
        facts |= value if name == "scores" else {name: value}
    return {name: None if value == math.inf else value for name, value in facts.items()}


def evaluate(
    models: Sequence[str | Upscaler],
    data: FilePath | Sequence[FilePath],
    scales: Sequence[int] | None = None,
    *,
    metrics: Sequence[str] = METRICS,
    protocol: str = "y-shave",
    degradation: str | None = None,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Measure models on test sets.

    Protocol "y-shave" is the convention of the tables of SRCNN (Dong et al. 2016) and VDSR (Kim et al. 2016): luma of
    BT.601 in the studio range, rounded to 8 bits; cropped to a multiple of the scale; shrunk by MATLAB's bicubic and
    left unrounded; the output rounded to 8 bits; ``scale`` pixels shaved off every side; the mean of the images' PSNR.
    Models that take RGB get the shrunk RGB rounded to 8 bits instead, and the luma of their rounded output is compared.
    Files of one gray plane are compared as they are, in the full range, as the papers' code does: the same image stored
    as RGB scores 20 log10(255 / 219) = 1.32 dB more PSNR for the same errors. Which files are gray is logged.

    Args:
        models: Names, with "a+b" for one model after the other, which are loaded with default options; or upscalers,
            which `pysr.load` makes with any options, each measured at its own scale. Duplicates count once. Upscalers
            of the same name at different scales count as one model.
        data: A folder of images, the ground truth, or several folders of different names.
        scales: Enlargements per side; each model is measured at those that it offers. Default: the scales of the
            upscalers; without upscalers, those for which all models have shipped weights.
        metrics: Names of installed metrics, measured in this order. Luma metrics compare as the protocol says. Colour
            metrics compare the 8-bit RGB that a user gets from the shrunk RGB, rounded to 8 bits.
        protocol: One of `PROTOCOLS`.
        degradation: Name of an installed `pysr.plugin.Degradation`, such as "photo-medium", that makes the inputs in
            place of the protocol's bicubic. Its random numbers are seeded by the CRC-32 of each file's name without the
            ending. Luma models get the luma of the degraded image.
        progress: Called as ``progress(done, total)`` after each image, with the total over all models, sets and scales.

    Returns:
        One evaluation for each set and model, set by set.

    Raises:
        InputError: Arguments that cannot be used, a scale that no model offers, a model that offers none of the
            scales, or an image that is too small; before anything is computed where that is possible.
        UnknownNameError: No such model, metric or degradation is installed.
        WeightsError: The weights of a model cannot be used.
    """
    _check_arguments(models, scales, metrics, protocol)
    models = list(dict.fromkeys(models))
    scales = _default_scales(models) if scales is None else list(scales)
    built = build_metrics(metrics)
    degrade = registry().degradation(degradation).build() if degradation else None
    sets = _image_sets([data] if isinstance(data, (str, os.PathLike)) else data)
    rows = _load_rows(models, offered_scales(models, scales))
    gray = []
    for path in chain(*sets.values()):
        planes = read_planes(path)
        check_size(path, planes, max(scales), built)
        gray += [path.name] if len(planes) == 1 else []
    if gray:
        logger.info("%s: gray, so compared in the full range: 1.32 dB less PSNR than stored as RGB", ", ".join(gray))
    upscalers = [upscaler for _, row in rows for upscaler in row]
    for upscaler in upscalers:
        upscaler.upscale(torch.zeros(1, 16, 16))  # a warm-up keeps one-time costs out of the timings
    total, done = len(upscalers) * sum(map(len, sets.values())), count(1)

    def measured(upscaler: Upscaler, path: Path) -> ImageResult:
        result = measure(upscaler, path.stem, read_planes(path), built, degrade)
        if progress:
            progress(next(done), total)
        return result

    return [
        Evaluation(
            name,
            folder,
            protocol,
            tuple(built),
            tuple(_summarise(upscaler.scale, [measured(upscaler, path) for path in paths]) for upscaler in row),
            degradation,
        )
        for folder, paths in sets.items()
        for name, row in rows
    ]


def _check_arguments(
    models: Sequence[str | Upscaler], scales: Sequence[int] | None, metrics: Sequence[str], protocol: str
) -> None:
    example = "evaluate(['vdsr'], 'Set5', [2, 3, 4])"
    if isinstance(models, (str, Upscaler)) or isinstance(scales, int):
        raise InputError(f"evaluate takes lists of models and scales; for example: {example}")
    if wrong := [model for model in models if not isinstance(model, (str, Upscaler))]:
        raise InputError(f"a model is a name or an upscaler, not {type(wrong[0]).__name__}; for example: {example}")
    if not models or (scales is not None and not scales):
        raise InputError(f"no {'scale' if models else 'model'} given; for example: {example}")
    if not metrics or isinstance(metrics, str):
        raise InputError(f"metrics is {metrics!r}; give a list, such as {list(METRICS)}")
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}; use {', '.join(PROTOCOLS)}")


def _default_scales(models: Sequence[str | Upscaler]) -> list[int]:
    if own := [model.scale for model in models if not isinstance(model, str)]:
        return own
    chains = {name: Chain.parse(name) for name in models if isinstance(name, str)}
    return common_scales({name: chain.trained_scales or chain.scales for name, chain in chains.items()})


def offered_scales(models: Sequence[str | Upscaler], scales: Sequence[int]) -> list[list[int]]:
    """Return those of the scales that each model offers; an upscaler offers its own.

    Raises:
        InputError: No model offers one of the scales, or a model offers none of them.
        UnknownNameError: No such model is installed.
    """
    named = [
        (model, Chain.parse(model).scales) if isinstance(model, str) else (model.model.name, (model.scale,))
        for model in models
    ]
    offers: dict[str, list[int]] = {}
    for name, offer in named:
        offers.setdefault(name, []).extend(offer)
    if missing := [scale for scale in scales if not any(scale in offer for offer in offers.values())]:
        raise InputError(
            f"none of these models offers scale {missing[0]!r} ({listed_scales(offers)}); choose among their scales"
        )
    for name, offer in named:
        if not set(scales) & set(offer):
            raise InputError(
                f"{name} offers none of the scales asked for ({listed_scales(offers)}); leave it out or ask for its own"
            )
    return [[scale for scale in dict.fromkeys(scales) if scale in offer] for _, offer in named]


def _load_rows(models: Sequence[str | Upscaler], offered: Sequence[Sequence[int]]) -> list[tuple[str, list[Upscaler]]]:
    """Load the rows of a table: a name and its upscalers, one for each scale."""
    rows: list[tuple[str, dict[int, Upscaler]]] = []
    of_upscalers: list[tuple[str, dict[int, Upscaler]]] = []
    for model, scales in zip(models, offered, strict=True):
        if isinstance(model, str):
            rows.append((model, {scale: load(model, scale) for scale in scales}))
            continue
        name = model.model.name
        row = next((row for other, row in of_upscalers if other == name and model.scale not in row), None)
        if row is None:
            row = {}
            rows.append((name, row))
            of_upscalers.append((name, row))
        row[model.scale] = model
    return [(name, list(row.values())) for name, row in rows]


def _image_sets(folders: Iterable[FilePath]) -> dict[str, list[Path]]:
    """List the images of each folder, by the folder's name."""
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


def check_size(path: Path, image: Tensor, scale: int, metrics: Iterable[Metric]) -> None:
    """Check that an image, (C, H, W), is large enough for all the metrics at that scale.

    Raises:
        InputError: It is too small; the message names the file ``path``.
    """
    side = min(side // scale * scale for side in image.shape[-2:]) - 2 * scale
    metric = max(metrics, key=lambda metric: metric.smallest)
    if side < metric.smallest:
        raise InputError(
            f"{path} is too small to be measured at scale {scale}: {metric.name} needs {metric.smallest} pixels a side"
            f" after {scale} are shaved off every border; leave it out"
        )


def build_metrics(names: Iterable[str]) -> BuiltMetrics:
    """Build installed metrics, in the order of their names; UnknownNameError if one is not installed."""
    return {metric: metric.build() for metric in map(registry().metric, names)}


def measure(
    upscaler: Upscaler, name: str, image: Tensor, metrics: BuiltMetrics, degrade: Degrade | None = None
) -> ImageResult:
    """Shrink an image, upscale it, and compare the result by the protocol `y-shave`; see `evaluate`.

    Args:
        upscaler: A model at its scale.
        name: What to call the image in the result. The random numbers of a degradation are seeded by it.
        image: The ground truth, (C, H, W) float in [0, 1], C being 1 or 3.
        metrics: The result of `build_metrics`.
        degrade: Makes the input, in place of the antialiased bicubic.
    """
    scale = upscaler.scale
    image = crop_to_multiple(image, scale).double()
    truths = {"rgb": image, "luma": _round(luma(image))}
    reduced = degrade(image, scale, generator_for(name)) if degrade else bicubic(image, scale)
    low = (reduced.clamp(0, 1) * 255).round().to(torch.uint8)
    outputs: dict[str, Tensor] = {}
    if upscaler.model.colour == "rgb":
        outputs["rgb"], seconds = _timed(upscaler, low)
        outputs["rgb"] /= 255
        outputs["luma"] = luma(outputs["rgb"])
    else:
        low_luma = luma(reduced) if degrade else bicubic(truths["luma"], scale)
        output, seconds = _timed(upscaler, low_luma.float())
        outputs["luma"] = _round(output)
        if any(metric.colour == "rgb" for metric in metrics):
            outputs["rgb"] = upscaler.upscale(low).double() / 255
    inside = (..., slice(scale, -scale), slice(scale, -scale))
    scores = {
        metric.name: score(outputs[metric.colour][inside], truths[metric.colour][inside])
        for metric, score in metrics.items()
    }
    return ImageResult(name, scores, seconds)


def _timed(upscaler: Upscaler, low: Tensor) -> tuple[Tensor, float]:
    started = perf_counter()
    output: Tensor = upscaler.upscale(low)
    seconds = perf_counter() - started
    return output.double(), seconds


def _round(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round() / 255


def _summarise(scale: int, images: Sequence[ImageResult]) -> ScaleResult:
    scores = {name: fmean(image.scores[name] for image in images) for name in images[0].scores}
    return ScaleResult(scale, scores, fmean(image.seconds for image in images), tuple(images))
