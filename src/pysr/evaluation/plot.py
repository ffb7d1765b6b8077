"""Models in the plane of two metrics: what each gains in one and pays in the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError
from ..registry import registry

if TYPE_CHECKING:
    from .protocols import Evaluation

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SIZE = 900, 640  # of the picture, in pixels, as are all lengths here
_LEFT, _TOP, _RIGHT, _BOTTOM = 110, 60, 860, 560  # of the frame
_INSET = 0.12  # of the frame's sides, between it and the outermost points
_TICKS = 6  # about so many an axis
_RADIUS = 6
_PAPER, _INK, _GRAY, _GRID, _DOT = "white", "#1a1a1a", "#6b6b6b", "#e4e4e4", "#0a7d38"


def check_plottable(data: Sequence[object], scales: Sequence[int], metrics: Sequence[str]) -> None:
    """InputError unless evaluations of these make one plot: a data set, a scale, and different metrics to compare."""
    if len(set(metrics)) < 2 or len(data) != 1 or len(scales) != 1:
        raise InputError(
            "a plot shows one data set at one scale by two metrics or more, such as --data Set14 --scale 4"
            f" --metric psnr,perceptual; here are {len(data)} sets, {len(scales)} scales and {len(metrics)} metrics"
        )


def plot(evaluations: Sequence[Evaluation]) -> Image.Image:
    """Draw models of one data set and scale by name: across their first metric, upwards the last; RGB, 900 x 640.

    With distortion across and perception upwards it is the plot of Blau and Michaeli (CVPR 2018): no model can get
    beyond a certain line, and one that moves along it trades one for the other.
    Raises InputError for several data sets or scales, fewer than two metrics, and an infinite score.
    """
    metrics = evaluations[0].metrics
    data = list(dict.fromkeys(evaluation.data for evaluation in evaluations))
    scales = list(dict.fromkeys(result.scale for evaluation in evaluations for result in evaluation.results))
    check_plottable(data, scales, metrics)
    across, upwards = (
        [evaluation.results[0].scores[name] for evaluation in evaluations] for name in (metrics[0], metrics[-1])
    )
    if not all(map(math.isfinite, across + upwards)):
        raise InputError("an infinite score cannot be plotted; leave out the model that makes no error at all")
    picture = Image.new("RGB", _SIZE, _PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(17)
    x, y = _Axis(across, _LEFT, _RIGHT), _Axis(upwards, _BOTTOM, _TOP)
    _draw_grid(pen, font, x, y)
    pen.text(((_LEFT + _RIGHT) / 2, _BOTTOM + 36), _title(metrics[0]), _INK, font, anchor="ma")
    pen.text((_LEFT, _TOP - 32), f"{_title(metrics[-1])}; {data[0]} x{scales[0]}", _INK, font)
    for one, other, evaluation in zip(across, upwards, evaluations, strict=True):
        _draw_point(pen, font, (x.place(one), y.place(other)), evaluation.model)
    return picture


class _Axis:
    """From scores to pixels between start and end of the frame."""

    def __init__(self, scores: Sequence[float], start: float, end: float) -> None:
        low, high = min(scores), max(scores)
        self._low, self._high = (low, high) if low < high else (low - 0.5, high + 0.5)
        self._start, self._end = start + _INSET * (end - start), end - _INSET * (end - start)

    def place(self, score: float) -> float:
        return self._start + (score - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Places of round numbers within the frame, and how these are written."""
        span = self._high - self._low
        magnitude = 10 ** math.floor(math.log10(span / _TICKS))
        step = next(magnitude * factor for factor in (1, 2, 5, 10) if span / (magnitude * factor) <= _TICKS)
        decimals = max(0, -math.floor(math.log10(step)))
        beyond = span * _INSET / (1 - 2 * _INSET)
        for number in range(math.ceil((self._low - beyond) / step), math.floor((self._high + beyond) / step) + 1):
            yield self.place(number * step), f"{number * step:.{decimals}f}"


def _draw_grid(pen: ImageDraw.ImageDraw, font: _Font, x: _Axis, y: _Axis) -> None:
    for place, text in x.ticks():
        pen.line((place, _TOP, place, _BOTTOM), _GRID)
        pen.text((place, _BOTTOM + 8), text, _GRAY, font, anchor="ma")
    for place, text in y.ticks():
        pen.line((_LEFT, place, _RIGHT, place), _GRID)
        pen.text((_LEFT - 8, place), text, _GRAY, font, anchor="rm")
    pen.rectangle((_LEFT, _TOP, _RIGHT, _BOTTOM), outline=_GRAY)


def _draw_point(pen: ImageDraw.ImageDraw, font: _Font, place: tuple[float, float], name: str) -> None:
    """A dot, and the name on its right where there is room."""
    pen.circle(place, _RADIUS, _DOT)
    gap = 2 * _RADIUS
    fits = place[0] + gap + font.getlength(name) < _RIGHT
    pen.text((place[0] + (gap if fits else -gap), place[1]), name, _INK, font, anchor="lm" if fits else "rm")


def _title(metric: str) -> str:
    about = registry().metric(metric)
    return f"{about.title} ({'lower' if about.lower_is_better else 'higher'} is better)"
