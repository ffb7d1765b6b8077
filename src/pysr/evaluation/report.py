"""The scores of `evaluate` as text: JSON, Markdown and CSV. Nothing here imports torch."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..plugin import Metric
    from .protocols import Evaluation


def to_json(evaluations: Iterable[Evaluation]) -> str:
    """Format everything that was measured as a JSON list: `Evaluation.as_dict` of each."""
    return json.dumps([evaluation.as_dict() for evaluation in evaluations], indent=2) + "\n"


def to_csv(evaluations: Iterable[Evaluation]) -> str:
    """Format scores as CSV: a header, then one line per image; PSNR in dB, "inf" for a perfect output."""
    evaluations = list(evaluations)
    metrics = evaluations[0].metrics
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(("data", "model", "scale", "image", *(metric.name for metric in metrics), "seconds", "degradation"))
    for evaluation in evaluations:
        for result in evaluation.results:
            for image in result.images:
                scores = [format_score(metric, image.scores[metric.name], extra_decimals=2) for metric in metrics]
                row = (evaluation.data, evaluation.model, result.scale, image.name, *scores, f"{image.seconds:.4f}")
                write((*row, evaluation.degradation))
    return text.getvalue()


def to_markdown(evaluations: Sequence[Evaluation]) -> str:
    """Format scores as one table per data set: see `markdown_table`."""
    tables = [markdown_table(data, block) for data, block in by_data(evaluations).items()]
    first = evaluations[0]
    degraded = f", degradation `{first.degradation}`" if first.degradation else ""
    return "\n".join([f"{metric_titles(evaluations)}, protocol `{first.protocol}`{degraded}\n", *tables])


def markdown_table(title: str, evaluations: Sequence[Evaluation]) -> str:
    """Format the scores of one data set as a table of GitHub's Markdown: a row per model, a column per scale.

    The best score of each scale and metric, as printed, is bold; "-" where a model does not offer the scale.
    """
    scales = scales_of(evaluations)
    columns = [_column(evaluations, scale) for scale in scales]
    rows = [
        [title, *(f"x{scale}" for scale in scales)],
        ["---"] * (1 + len(scales)),
        *([evaluation.model, *cells] for evaluation, *cells in zip(evaluations, *columns, strict=True)),
    ]
    return "".join(map(markdown_row, rows))


def markdown_row(cells: Iterable[str]) -> str:
    """Format one line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def by_data(evaluations: Iterable[Evaluation]) -> dict[str, list[Evaluation]]:
    """Group evaluations by the name of their data set."""
    blocks: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        blocks.setdefault(evaluation.data, []).append(evaluation)
    return blocks


def scales_of(evaluations: Iterable[Evaluation]) -> list[int]:
    """Return the scales at which any of them has a result, in ascending order."""
    return sorted({result.scale for evaluation in evaluations for result in evaluation.results})


def metric_titles(evaluations: Sequence[Evaluation]) -> str:
    """Return the titles of the metrics, in order, as "PSNR in dB / SSIM"."""
    return " / ".join(metric.title for metric in evaluations[0].metrics)


def format_score(metric: Metric, score: float, *, min_decimals: int = 0, extra_decimals: int = 0) -> str:
    """Format a score with the decimals of its metric, at least ``min_decimals``, and ``extra_decimals`` more."""
    return f"{score:.{max(metric.decimals, min_decimals) + extra_decimals}f}"


def _column(evaluations: Sequence[Evaluation], scale: int) -> list[str]:
    """The cells of one scale."""
    results = [evaluation.at(scale) for evaluation in evaluations]
    columns = [
        _best_in_bold(
            metric, [format_score(metric, result.scores[metric.name]) if result else "" for result in results]
        )
        for metric in evaluations[0].metrics
    ]
    return [" / ".join(scores) if result else "-" for result, *scores in zip(results, *columns, strict=True)]


def _best_in_bold(metric: Metric, scores: Sequence[str]) -> list[str]:
    numbers = [float(score) for score in scores if score]
    choose = min if metric.lower_is_better else max
    best = choose(numbers) if len(numbers) > 1 else math.nan  # a single score is not the best of anything
    return [f"**{score}**" if score and float(score) == best else score for score in scores]
