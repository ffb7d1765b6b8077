"""``pysr upscale``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .options import (
    PATH,
    CliState,
    UpscaleOptions,
    backend_options,
    device_options,
    parse_memory,
    scale_option,
    strength_option,
    tta_option,
    variant_options,
    verbosity_options,
    weights_option,
)
from .terminal import Bar, eprint, explain_error, print_error

if TYPE_CHECKING:
    from ..upscaling.folder import FileJob, FileResult
    from ..upscaling.upscaler import Upscaler


@click.command()
@click.argument("inputs", metavar="[IN]...", nargs=-1, type=PATH)
@click.option("-i", "--input", "more_inputs", metavar="IN", multiple=True, type=PATH, help="Same as IN. Repeatable.")
@click.option(
    "-o",
    "--output",
    "--out",
    metavar="OUT",
    type=PATH,
    help="Output file, or a folder for several inputs. Default: NAME_x3.EXT beside each input.",
)
@click.option(
    "-m",
    "--model",
    "-n",
    "--model-name",
    "model",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Model; see `pysr models`. auto: chosen for each file by how it was compressed. A+B: apply A, then B.",
)
@variant_options
@weights_option("Safetensors file to use in place of the weights shipped with the model.")
@strength_option
@scale_option(
    "Enlargement per side: 3, x3 or 3x. Default: that noted by `pysr shrink`, or the model's first (2 for auto), or the"
    " first in --weights."
)
@click.option(
    "-t",
    "--tile",
    "--patch",
    "patch",
    metavar="PIXELS",
    type=click.IntRange(min=0),
    default=0,
    help="Side of the square patches processed one by one, in input pixels. 0 (default): as memory allows.",
)
@click.option("-g", "--gpu-id", metavar="N", type=click.IntRange(min=0), help="Same as --device cuda:N.")
@device_options
@backend_options
@click.option("--fp32", is_flag=True, help="Same as --precision float32.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "exact", "blend", "mean"]),
    default="auto",
    show_default=True,
    help="How patches are joined. auto: exact if the model allows it, else blend.",
)
@click.option("--max-memory", metavar="SIZE", type=parse_memory, help="Memory limit for one network call, such as 4G.")
@click.option("--match-histogram", is_flag=True, help="Match each colour channel's histogram to the input's.")
@tta_option
@click.option("-f", "--format", metavar="EXT", help="Output format: png, jpg, webp, tif, ... Default: the input's.")
@click.option("--suffix", metavar="TEXT", help="Name outputs NAME_TEXT.EXT.")
@click.option(
    "--comparison",
    metavar="FILE",
    type=PATH,
    help="Also write an image of nearest, bicubic and the result side by side (single input only).",
)
@click.option("--json", is_flag=True, help="Print one line of JSON per file.")
@verbosity_options
@click.pass_obj
def upscale(state: CliState, /, **options: Any) -> int:
    """Upscale images: files, or all images in a folder.

    IN is an image file or a folder; sub-folders are ignored. Outputs keep the name and the format of the input
    unless -o, --suffix or -f say otherwise (GIF becomes PNG). Existing outputs are replaced, but only by complete
    files, and inputs are never overwritten. Files made by `pysr shrink` get the size of their originals back. If a
    file fails, the others are still processed, and the failed ones are listed at the end.

    Without -m, files that lost much to compression (JPEG below quality 92, lossy WebP, AVIF) get the most exact
    model that is made for them, if one is installed for that scale; others the most exact one for clean images.
    """
    return _upscale(state, UpscaleOptions(**options))


def _upscale(state: CliState, options: UpscaleOptions) -> int:
    from .allocator import tune_allocator
    from .waiting import wait_passively

    state.show_log("INFO")  # which model is chosen, and why
    tune_allocator()
    wait_passively()
    from ..registry import AUTO
    from ..upscaling.folder import plan_files
    from ..upscaling.loading import load

    inputs = options.inputs + options.more_inputs
    upscaler = load(options.model, options.scale or _noted_scale(options.model, inputs), **options.for_load())
    jobs = plan_files(inputs, options.output, scale=upscaler.scale, format=options.format, suffix=options.suffix)
    if options.comparison:
        _check_comparison(options.comparison, jobs)
    if options.model != AUTO and not options.weights and not state.quiet:
        _hint_at_better_model(upscaler, jobs)
    failed = _run(state, upscaler, jobs, as_json=options.json)
    if failed:
        eprint(f"{len(failed)} of {len(jobs)} images failed: {', '.join(str(result.source) for result in failed)}")
    elif options.comparison:
        from ..evaluation.comparison import compare_files

        source, target = jobs[0].source, jobs[0].target
        compare_files(source, target, options.comparison, title=upscaler.chosen_for(source).model.name)
    return 3 if failed else 0


def _hint_at_better_model(upscaler: Upscaler, jobs: Sequence[FileJob]) -> None:
    from ..upscaling.auto import better_model

    if better := better_model(upscaler.model, upscaler.scale, [job.source for job in jobs]):
        source, compression, model = better
        eprint(
            f"pysr: hint: {source} is a {compression.name}, and {upscaler.model.name} is made for clean images; "
            f"-m {model.name} also removes the traces of compression"
        )


def _noted_scale(model: str, inputs: Sequence[Path]) -> int | None:
    """The scale that files made by `pysr shrink` note; None if there are none."""
    from ..registry import AUTO
    from ..upscaling.auto import auto_scales
    from ..upscaling.chain import Chain
    from ..upscaling.folder import noted_scale

    scale = noted_scale(inputs)
    offered = auto_scales() if model == AUTO else Chain.parse(model).scales
    if scale and scale not in offered:
        raise InputError(
            f"what is to be upscaled was shrunk by {scale}, and {model} offers {', '.join(map(str, offered))};"
            " choose another model (-m), or the scale (-s)"
        )
    return scale


def _check_comparison(path: Path, jobs: Sequence[FileJob]) -> None:
    from ..files import check_output

    if len(jobs) > 1:
        raise InputError(f"--comparison shows a single image, but there are {len(jobs)} inputs; leave it out")
    if path.resolve() in (jobs[0].source.resolve(), jobs[0].target.resolve()):
        raise InputError(f"--comparison {path} is the input or the output; choose another file")
    check_output(path, (1, 1), "RGB")


def _run(state: CliState, upscaler: Upscaler, jobs: Sequence[FileJob], *, as_json: bool) -> list[FileResult]:
    """Upscale the files, print each result, and return those that failed. The error of a single file is raised."""
    results: list[FileResult] = []
    with Bar("starting", unit="MP", shown=not state.quiet) as bar:

        def show(done: int, total: int) -> None:
            number, name = len(results) + 1, jobs[len(results)].source.name
            bar.update(done / 1e6, total / 1e6, f"{number}/{len(jobs)} {name}" if len(jobs) > 1 else name)

        for result in upscaler.upscale_files(jobs, progress=show if bar.shown else None):
            results.append(result)
            if as_json:
                print(json.dumps(_facts(result)), flush=True)
            elif result.size and not state.quiet:
                eprint(_summary(result, result.size))
            if result.error:
                if len(jobs) == 1:
                    raise result.error
                text = "" if result.source.name in explain_error(result.error) else f"{result.source}: "
                print_error(result.error, prefix=text, verbose=state.verbose)
    return [result for result in results if result.error]


def _summary(result: FileResult, size: tuple[int, int]) -> str:
    width, height = size
    rate = width * height / 1e6 / result.seconds
    return f"{result.source} -> {result.target}  {width} x {height} pixels in {result.seconds:.1f} s, {rate:.3g} MP/s"


def _facts(result: FileResult) -> dict[str, Any]:
    facts: dict[str, Any] = {"input": str(result.source), "output": str(result.target)}
    if result.error:
        return facts | {"error": explain_error(result.error)}
    upscaler, (width, height) = result.upscaler, result.size or (0, 0)
    assert upscaler is not None  # what was upscaled was upscaled by something
    return facts | {
        "model": upscaler.model.name,
        "scale": upscaler.scale,
        "device": str(upscaler.device),
        "precision": upscaler.precision,
        "width": width,
        "height": height,
        "seconds": round(result.seconds, 3),
    }
