"""``pysr plan``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .options import PLACE, CliState, output_options, verbosity_options
from .terminal import facts_table, format_time, print_json, print_table
from .upscale import enlargement_of, jobs_of
from .upscale_options import UpscaleOptions, network_options

if TYPE_CHECKING:
    from ..upscaling.file_plan import FilePlan


@click.command()
@click.argument("image", metavar="IN", type=PLACE)
@click.option("-o", "--output", "--out", metavar="OUT", help="File to write. Default: NAME_x2.EXT beside the input.")
@network_options("Enlargement per side: 3, x3, 3x or 1.5. Default: as of `pysr upscale`.")
@click.option(
    "-f", "--format", metavar="EXT", help="Format of that file: png, jpg, webp, tif, ... Default: the input's."
)
@output_options
@click.option("--suffix", metavar="TEXT", help="Name that file NAME_TEXT.EXT.")
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_obj
def plan(state: CliState, /, image: Path, json: bool, **options: Any) -> int:
    """Tell what `pysr upscale` would do with an image, without doing it.

    Shown are sizes, patches, formats, and what the result will keep of the image's metadata and what it will lack;
    memory and time are estimates, from patches of noise that are upscaled. Nothing of IN is decoded.
    """
    state.start()
    from ..files.remote import is_url
    from ..files.zarr_store import is_store
    from ..upscaling.models import Models

    chosen = UpscaleOptions(inputs=(image,), **options)
    if is_url(image) or is_url(chosen.output):
        raise InputError("a plan is made for a file of this machine; fetch the image first, and name a file to write")
    if (image.is_dir() and not is_store(image)) or chosen.reads_stream or chosen.writes_stream:
        raise InputError(
            "a plan is made for one file, not for a folder or a pipe; name an image file, and one to write"
        )
    output = chosen.for_output()
    enlargement = enlargement_of(chosen, [image], output)
    (job,) = jobs_of(chosen, [image], output, enlargement)
    if job.error:
        raise job.error
    up = Models(chosen.model, enlargement.scale, chosen.for_load())(job)
    target = Path(str(job.target))
    makes_folder = not (target.parent.exists() or chosen.names_file())
    found = up.plan(image, image.with_name(target.name) if makes_folder else target, output=output)
    found = replace(found, target=str(target))
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
    if not plan.stages:
        yield "model", "none: the image is only made smaller"
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
    yield "time", f"about {format_time(plan.seconds)}"
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
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
