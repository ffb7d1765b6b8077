"""The scores of `evaluate` as text: JSON, Markdown and CSV. Nothing here imports torch."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..registry import registry

if TYPE_CHECKING:
    from .protocols import Evaluation, ScaleResult


def to_json(evaluations: Iterable[Evaluation]) -> str:
    """A list of everything that was measured: `Evaluation.as_dict` of each."""
    return json.dumps([evaluation.as_dict() for evaluation in evaluations], indent=2) + "\n"


def to_csv(evaluations: Iterable[Evaluation]) -> str:
    """One line an image, below a line of names; PSNR in dB, "inf" for an output without any error."""
    evaluations = list(evaluations)
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(("data", "model", "scale", "image", *evaluations[0].metrics, "seconds"))
    for evaluation in evaluations:
        for result in evaluation.results:
            for image in result.images:
                scores = [format_score(name, score, finer=2) for name, score in image.scores.items()]
                write((evaluation.data, evaluation.model, result.scale, image.name, *scores, f"{image.seconds:.4f}"))
    return text.getvalue()


def to_markdown(evaluations: Sequence[Evaluation]) -> str:
    """A table a data set: see `markdown_table`."""
    tables = [markdown_table(data, block) for data, block in by_data(evaluations).items()]
    return "\n".join([f"{metric_titles(evaluations)}, protocol `{evaluations[0].protocol}`\n", *tables])


def markdown_table(title: str, evaluations: Sequence[Evaluation]) -> str:
    """The evaluations of one data set as a table of GitHub's Markdown: a row a model, a column a scale.

    The best score of each scale and metric, as printed, is bold; "-" where a model does not offer the scale.
    """
    scales = scales_of(evaluations)
    columns = [_column([evaluation.at(scale) for evaluation in evaluations]) for scale in scales]
    rows = [
        [title, *(f"x{scale}" for scale in scales)],
        ["---"] * (1 + len(scales)),
        *([evaluation.model, *cells] for evaluation, *cells in zip(evaluations, *columns, strict=True)),
    ]
    return "".join(map(markdown_row, rows))


def markdown_row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def by_data(evaluations: Iterable[Evaluation]) -> dict[str, list[Evaluation]]:
    """The evaluations of each data set, by its name."""
    blocks: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        blocks.setdefault(evaluation.data, []).append(evaluation)
    return blocks


def scales_of(evaluations: Iterable[Evaluation]) -> list[int]:
    """The scales at which any of them has a result, rising."""
    return sorted({result.scale for evaluation in evaluations for result in evaluation.results})


def metric_titles(evaluations: Sequence[Evaluation]) -> str:
    """The titles of their metrics, in order."""
    return " / ".join(registry().metric(name).title for name in evaluations[0].metrics)


def format_score(metric: str, score: float, *, least: int = 0, finer: int = 0) -> str:
    """A score with the decimals of its metric, at least ``least``, and ``finer`` more."""
    return f"{score:.{max(registry().metric(metric).decimals, least) + finer}f}"


def _column(results: Sequence[ScaleResult | None]) -> list[str]:
    """The cells of one scale."""
    metrics = next(result.scores for result in results if result)
    columns = [
        _best_in_bold([format_score(name, result.scores[name]) if result else "" for result in results], name)
        for name in metrics
    ]
    return [" / ".join(scores) if result else "-" for result, *scores in zip(results, *columns, strict=True)]


def _best_in_bold(scores: Sequence[str], metric: str) -> list[str]:
    numbers = [float(score) for score in scores if score]
    choose = min if registry().metric(metric).lower_is_better else max
    best = choose(numbers) if len(numbers) > 1 else math.nan
    return [f"**{score}**" if score and float(score) == best else score for score in scores]
