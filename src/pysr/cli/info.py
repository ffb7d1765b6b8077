"""``pysr info``: everything that is known about one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from .options import CliState, models_folder_option, scale_option, verbosity_options
from .terminal import facts_table, print_json, print_table


@click.command()
@click.argument("name", metavar="MODEL")
@scale_option("Scale at which the network is counted. Default: the model's, which is named among its scales.")
@models_folder_option
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_obj
def info(state: CliState, /, name: str, scale: int | None, json: bool) -> None:
    """Show what is known about a model: paper, size, licence, scores.

    MODEL is a name from `pysr models`, a model file, or the name of one in a folder of models.
    """
    from ..upscaling.model_files import find_model

    state.show_log()
    find_model(name)  # what is no model is refused at once, and not after the second that it takes to import torch
    from ..upscaling.facts import model_facts

    facts = model_facts(name, scale)
    if json:
        print_json(facts)
    else:
        print_table(facts_table(dict(_lines(facts))))


def _scales(scales: Sequence[int]) -> str:
    listed = " ".join(f"x{scale}" for scale in sorted(scales))
    return f"{listed} (x{scales[0]} by default)" if len(scales) > 1 else listed


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is shown, and how."""
    yield "model", ", ".join([facts["name"], *facts["aliases"]])
    yield "description", facts["summary"]
    if facts["paper"]:
        yield "paper", facts["paper"]
    yield "from", str(facts["plugin"])
    if "file" in facts:
        yield "file", facts["file"]
        yield "SHA-256", facts["sha256"]
    yield "scales", _scales(facts["scales"])
    if facts["variants"]:
        yield "variants", ", ".join(facts["variants"])
    yield "colour", facts["colour"]
    if "file" not in facts:
        yield "made for", f"{facts['made_for']} images ({facts['domain']})"
    at = f" (x{facts['counted_at']})" if len(facts["scales"]) > 1 else ""
    if facts["parameters"] is not None:
        yield "parameters", f"{facts['parameters']:,}{at}"
    if facts["flops_per_megapixel"] is not None:
        yield "operations", f"{facts['flops_per_megapixel'] / 1e9:,.4g} GFLOP per megapixel of output{at}"
    how = f" in {facts['precision']} on {facts['device']}" if "precision" in facts else ""
    yield "computed by", facts["computed_by"] + how
    field = facts["receptive_field"]
    yield "receptive field", "the whole image: patches are blended" if field is None else f"{field} pixels to each side"
    yield (
        "scores",
        ", ".join(f"x{scale} {db:.2f} dB" for scale, db in sorted(facts["scores"].items())) or "not measured",
    )
    if facts["licence"] or "file" in facts:
        yield "licence", facts["licence"] or "the file states none; ask where it comes from"
    for weights in facts["weights"]:
        name = " ".join([f"weights x{weights['scale']}", *([weights["variant"]] if weights["variant"] else [])])
        about = f"licence: {weights['licence']}\ntrained on: {weights['trained_on']}\nSHA-256: {weights['sha256']}"
        yield name, about
