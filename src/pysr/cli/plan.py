"""``pysr plan``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from .options import (
    PATH,
    CliState,
    device_options,
    models_folder_option,
    parse_enlargement,
    parse_memory,
    scale_option,
    tta_option,
    verbosity_options,
    weights_option,
)
from .terminal import facts_table, print_json, print_table

if TYPE_CHECKING:
    from ..upscaling.file_plan import FilePlan


@click.command()
@click.argument("image", metavar="IN", type=PATH)
@click.option("-o", "--output", metavar="OUT", type=PATH, help="File to write. Default: NAME_x2.EXT beside the input.")
@click.option(
    "-f", "--format", metavar="EXT", help="Format of that file: png, jpg, webp, tif, ... Default: the input's."
)
@click.option(
    "-m",
    "--model",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Model (see `pysr models`) or model file. auto: chosen by the image's compression. A+B: A, then B.",
)
@models_folder_option
@weights_option("Safetensors file to use in place of the weights shipped with the model.")
@scale_option("Enlargement per side: 3, x3, 3x or 1.5. Default: the model's first (2 for auto).", parse_enlargement)
@click.option(
    "-t",
    "--tile",
    "patch",
    metavar="PIXELS",
    type=click.IntRange(min=0),
    default=0,
    help="Side of the square patches, in input pixels. 0 (default): as memory allows.",
)
@click.option(
    "--mode",
    type=click.Choice(["auto", "exact", "blend", "mean"]),
    default="auto",
    show_default=True,
    help="How patches are joined. auto: exact if the model allows it, else blend.",
)
@device_options
@click.option("--max-memory", metavar="SIZE", type=parse_memory, help="Memory limit, such as 4G.")
@tta_option
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_obj
def plan(
    state: CliState,
    /,
    image: Path,
    output: Path | None,
    format: str | None,
    model: str,
    weights: Path | None,
    scale: int | Fraction | None,
    patch: int,
    mode: Literal["auto", "exact", "blend", "mean"],
    device: str,
    precision: str,
    max_memory: int | None,
    ensemble: bool,
    json: bool,
) -> int:
    """Tell what `pysr upscale` would do with an image, without doing it.

    Shown are sizes, patches, formats, and what the result will keep of the image's metadata and what it will lack;
    memory and time are estimates, from patches of noise that are upscaled. Nothing of IN is decoded.
    """
    from ..files.output import Output
    from ..upscaling.loading import load
    from ..upscaling.tiling import Tiling

    state.show_log()
    tiling = Tiling(patch or "auto", mode, max_memory=max_memory)
    whole = None if scale is None else math.ceil(scale)
    options: dict[str, Any] = {
        "weights": weights,
        "device": device,
        "precision": precision,
        "tiling": tiling,
        "ensemble": ensemble,
    }
    up = load(model, whole, **options)
    ending = f".{format.lstrip('.')}" if format else image.suffix
    target = output or image.with_name(f"{image.stem}_x{up.scale}{ending}")
    found = up.plan(image, target, output=Output(size=scale if isinstance(scale, Fraction) else None))
    if json:
        print_json(found.as_dict())
    else:
        print_table(facts_table(dict(_lines(found))))
    return 2 if found.problem else 0


def _lines(plan: FilePlan) -> Iterator[tuple[str, str]]:
    """What is shown, and how."""
    yield "image", f"{plan.source}: {plan.format}, {_size(plan.size)}, {plan.mode}"
    yield (
        "result",
        f"{plan.target}: {plan.target_format}, {_size(plan.target_size)}, {plan.target_mode},"
        f" {_bytes(plan.target_bytes)} of pixels",
    )
    if plan.problem:
        yield "problem", plan.problem
    for stage in plan.stages:
        if not stage.patches:
            yield stage.model, "interpolated, without patches"
            continue
        halo = "the whole patch" if stage.halo is None else f"a halo of {stage.halo}"
        patches = f"{stage.patches} patches of {_size(stage.patch)}" if stage.patches > 1 else "one patch"
        yield stage.model, f"{patches}, {stage.mode}, {halo}"
    yield "computed", f"on {plan.device} in {plan.precision}"
    yield "image in memory", _in_memory(plan)
    yield "memory", f"about {_bytes(plan.memory)}"
    yield "time", f"about {_time(plan.seconds)}"
    if plan.kept:
        yield "kept", ", ".join(plan.kept)
    for note in plan.changed:
        yield f"changed: {note.what}", note.reason
    for note in plan.dropped:
        yield f"lost: {note.what}", note.reason


def _in_memory(plan: FilePlan) -> str:
    if not plan.by_rows:
        return f"as a whole: {plan.whole_because}"
    return f"as a whole: {plan.held_because}; the result row by row" if plan.held_because else "row by row"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 1):.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} seconds" if seconds < 10 else f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
