"""``pysr upscale``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .options import PATH, Settings, UpscaleOptions, hardware, memory, scale, verbosity

if TYPE_CHECKING:
    from .batch import Job


@click.command()
@click.argument("inputs", metavar="[IN]...", nargs=-1, type=PATH)
@click.option(
    "-i", "--input", "more_inputs", metavar="IN", multiple=True, type=PATH, help="Another way to name an input."
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=PATH,
    help="File to make, or folder for several; default: beside the input as NAME_x3.EXT.",
)
@click.option(
    "-m",
    "--model",
    "-n",
    "--model-name",
    "model",
    metavar="NAME",
    default="vdsr",
    show_default=True,
    help="Which model; `pysr models` lists them. A+B: first A, then B.",
)
@click.option("--variant", metavar="NAME", help="Which version of the model; default: its first.")
@click.option("--pre-upsampler", metavar="NAME", help="A model that makes the first enlargement instead of bicubic.")
@click.option("--weights", metavar="FILE", type=PATH, help="A safetensors file instead of the weights that come along.")
@click.option(
    "-s", "--scale", metavar="N", type=scale, help="Enlargement per side: 3, x3 or 3x; default: the model's first."
)
@click.option(
    "-t",
    "--tile",
    "--patch",
    "patch",
    metavar="PIXELS",
    type=click.IntRange(min=0),
    default=0,
    help="Patch side in pixels of the input; 0 (the default) chooses by memory.",
)
@click.option("-g", "--gpu-id", metavar="N", type=click.IntRange(min=0), help="The same as --device cuda:N.")
@hardware
@click.option("--fp32", is_flag=True, help="The same as --precision float32.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "exact", "blend", "mean"]),
    default="auto",
    help="How patches are joined; auto is exact wherever the model allows it.",
)
@click.option("--max-memory", metavar="SIZE", type=memory, help="Memory for one network call, such as 4G.")
@click.option("--match-histogram", is_flag=True, help="Give the result the tones of the input, colour by colour.")
@click.option("-f", "--format", metavar="EXT", help="png, jpg, webp, tif, ...; default: the input's.")
@click.option("--suffix", metavar="TEXT", help="Name outputs NAME_TEXT.EXT.")
@click.option(
    "--comparison",
    metavar="FILE",
    type=PATH,
    help="Also draw nearest, bicubic and the result side by side (one input only).",
)
@click.option("--json", is_flag=True, help="Print one JSON line per file.")
@verbosity
@click.pass_obj
def upscale(settings: Settings, /, **options: Any) -> int:
    """Enlarge an image, several, or every image in a folder.

    IN: image files and folders (without their sub-folders). Outputs keep the input's format unless -f says
    otherwise (GIF becomes PNG) and its name; beside the input, and with --suffix, NAME_SUFFIX. An existing
    output is replaced when the new one is complete; an input is never overwritten. A file that cannot be used
    costs only itself and is listed at the end.
    """
    return _upscale(settings, UpscaleOptions(**options))


def _upscale(settings: Settings, options: UpscaleOptions) -> int:
    from ..upscaling.chain import Chain
    from . import batch
    from .allocator import tune_allocator

    settings.show_log()
    enlargement = math.prod(Chain.parse(options.model).at(_scale(options)).parts)
    inputs = options.inputs + options.more_inputs
    jobs = batch.plan(inputs, options.output, scale=enlargement, extension=options.format, suffix=options.suffix)
    if options.comparison:
        _check_comparison(options.comparison, jobs)
    tune_allocator()
    from ..upscaling.loading import load

    upscaler = load(options.model, enlargement, **options.for_load())
    quiet = settings.verbosity < 0
    failed = batch.run(upscaler, jobs, batch.Report(options.json, quiet, settings.verbosity > 0))
    if failed:
        click.echo(f"{len(failed)} of {len(jobs)} images failed: {', '.join(str(j.source) for j in failed)}", err=True)
    elif options.comparison:
        from ..evaluation.comparison import compare_files

        compare_files(jobs[0].source, jobs[0].target, options.comparison, title=upscaler.model.name)
    return 3 if failed else 0


def _scale(options: UpscaleOptions) -> int | None:
    """As asked for, or else as the weights' file says; None for the model's own first."""
    if options.scale is not None or options.weights is None:
        return options.scale
    from ..upscaling.chain import Chain
    from ..upscaling.loading import resolve_scale

    return resolve_scale(options.weights, None, Chain.parse(options.model).scales)


def _check_comparison(path: Path, jobs: Sequence[Job]) -> None:
    from ..imaging.files import check_output

    if len(jobs) > 1:
        raise InputError(f"--comparison draws one image, and {len(jobs)} are to be upscaled; leave it out")
    if path.resolve() in (jobs[0].source.resolve(), jobs[0].target.resolve()):
        raise InputError(f"--comparison {path} is the input or the output; choose another file")
    check_output(path, (1, 1), "RGB")
