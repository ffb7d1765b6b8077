"""Scatter plots of models by two metrics, to show the trade-off between them. Needs matplotlib."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..atomic import FilePath, atomic_write, check_place, file_name
from ..errors import InputError, PysrError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..plugin import Metric
    from .protocols import Evaluation

ENDINGS = (".png", ".pdf", ".svg")
_SIZE = 9, 6.4  # in inches
_DPI = 100  # so a PNG has 900 x 640 pixels
_LABEL_GAP = 8  # between a dot and its name, in points
_MARGIN = 0.12  # between the outermost dots and the frame, as a share of the axis


def check_plot(path: FilePath, data: Sequence[object], scales: Sequence[object], metrics: Sequence[object]) -> None:
    """Check that a plot can be drawn and written, before the work whose scores it will show.

    Args:
        path: The file to write.
        data: The data sets, of which there must be one.
        scales: The scales, of which there must be one.
        metrics: The metrics, of which there must be two or more.

    Raises:
        InputError: The file cannot be written, or its ending is not one of `ENDINGS`; or the scores make no plot.
        PysrError: matplotlib is not installed.
    """
    _format(path)
    check_place(path)
    _check_plottable(data, scales, metrics)
    _figure()


def plot(evaluations: Sequence[Evaluation]) -> Figure:
    """Plot models on one data set at one scale: the first metric on the x axis, the last on the y axis.

    With distortion on the x axis and perceptual quality on the y axis, it is the plot of Blau and Michaeli (CVPR 2018):
    no model can cross a certain curve, and moving along it trades one for the other.

    Args:
        evaluations: One per model, all of the same data set, scale and metrics.

    Returns:
        A figure of matplotlib, 900 x 640 pixels or 9 x 6.4 inches.

    Raises:
        InputError: Several data sets or scales, fewer than two metrics, or an infinite score.
        PysrError: matplotlib is not installed.
    """
    metrics = evaluations[0].metrics
    data = list(dict.fromkeys(evaluation.data for evaluation in evaluations))
    scales = list(dict.fromkeys(result.scale for evaluation in evaluations for result in evaluation.results))
    _check_plottable(data, scales, metrics)
    across, upwards = (
        [evaluation.results[0].scores[metric.name] for evaluation in evaluations]
        for metric in (metrics[0], metrics[-1])
    )
    if not all(map(math.isfinite, across + upwards)):
        raise InputError("an infinite score cannot be plotted; leave out the model that makes no error at all")
    figure = _figure()
    axes = figure.add_subplot()
    axes.scatter(across, upwards)
    middle = (min(across) + max(across)) / 2
    for x, y, evaluation in zip(across, upwards, evaluations, strict=True):
        gap, side = (_LABEL_GAP, "left") if x <= middle else (-_LABEL_GAP, "right")  # there is room towards the middle
        axes.annotate(
            evaluation.model, (x, y), (gap, 0), textcoords="offset points", va="center", ha=side, parse_math=False
        )
    degraded = f", {evaluations[0].degradation}" if evaluations[0].degradation else ""
    axes.set_title(f"{data[0]} x{scales[0]}{degraded}", parse_math=False)
    axes.set(xlabel=_label(metrics[0]), ylabel=_label(metrics[-1]))
    axes.margins(_MARGIN)
    axes.grid(alpha=0.3)
    return figure


def write_plot(evaluations: Sequence[Evaluation], path: FilePath) -> None:
    """Plot models as `plot` does and write the figure as PNG, PDF or SVG, by the file's ending.

    Raises:
        InputError: As for `plot` and `check_plot`.
        PysrError: matplotlib is not installed.
    """
    figure, kind = plot(evaluations), _format(path)
    with atomic_write(path) as file:
        figure.savefig(file, format=kind)


def _format(path: FilePath) -> str:
    """Return the format that the file's ending names, as matplotlib calls it: "png", "pdf" or "svg"."""
    name = file_name(path)
    ending = os.path.splitext(name)[1].lower()
    if ending not in ENDINGS:
        raise InputError(f"{name!r} does not end like a plot; use one of {', '.join(ENDINGS)}")
    return ending.removeprefix(".")


def _check_plottable(data: Sequence[object], scales: Sequence[object], metrics: Sequence[object]) -> None:
    if len(set(metrics)) < 2 or len(data) != 1 or len(scales) != 1:
        raise InputError(
            "a plot shows one data set at one scale by two metrics or more, such as --data Set14 --scale 4"
            f" --metric psnr,perceptual; got {len(data)} sets, {len(scales)} scales and {len(metrics)} metrics"
        )


def _figure() -> Figure:
    """Make an empty figure, drawn by Agg or as PDF or SVG, without pyplot's global state and windows."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PysrError("plots need matplotlib; install it with: pip install 'pysr-sdk[plot]'") from error
    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _label(metric: Metric) -> str:
    return f"{metric.title} ({'lower' if metric.lower_is_better else 'higher'} is better)"
