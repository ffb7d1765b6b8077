"""``pysr upscale``."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .options import (
    PATH,
    PLACE,
    CliState,
    folder_options,
    output_options,
    verbosity_options,
)
from .reports import REPORTS, facts, file_name, intention
from .terminal import eprint, explain_error, print_error, print_line
from .upscale_options import UpscaleOptions, network_options

if TYPE_CHECKING:
    from ..files.output import Output
    from ..upscaling.file_jobs import FileJob, FileResult
    from ..upscaling.folder import Enlargement
    from ..upscaling.models import Models
    from ..upscaling.upscaler import Upscaler


@click.command()
@click.argument("inputs", metavar="[IN]...", nargs=-1, type=PLACE)
@click.option("-i", "--input", "more_inputs", metavar="IN", multiple=True, type=PLACE, help="Same as IN. Repeatable.")
@click.option(
    "-o",
    "--output",
    "--out",
    metavar="OUT",
    help="Output file, a folder for several inputs (out/), or - for standard output. Default: NAME_x3.EXT beside each"
    " input.",
)
@network_options(
    "Enlargement per side: 3, x3, 3x or 1.5. Default: that noted by `pysr shrink`, or the model's, which `pysr info`"
    " tells (2 for auto), or the first in --weights."
)
@click.option("-f", "--format", metavar="EXT", help="Output format: png, jpg, webp, tif, ... Default: the input's.")
@output_options
@click.option("--suffix", metavar="TEXT", help="Name outputs NAME_TEXT.EXT.")
@click.option(
    "--comparison",
    metavar="FILE",
    type=PATH,
    help="Also write an image of nearest, bicubic and the result side by side (single input only).",
)
@click.option(
    "--html",
    metavar="FILE",
    type=PATH,
    help="Also write a page for the browser that compares the input and the result (single input only).",
)
@click.option("--in-place", is_flag=True, help="Replace the inputs by the results. Asks for --yes.")
@click.option("--yes", is_flag=True, help="Confirm --in-place.")
@folder_options
@click.option(
    "--progress",
    type=click.Choice(["bar", "json", "none"]),
    default="bar",
    show_default=True,
    help="How progress is shown on standard error: a bar on a terminal, or lines of JSON for programs.",
)
@click.option("--json", is_flag=True, help="Print one line of JSON per file.")
@verbosity_options
@click.pass_obj
def upscale(state: CliState, /, **options: Any) -> int:
    """Upscale images: files, or all images in a folder.

    IN is an image file, a folder, or - for standard input. Of a folder, its own images are upscaled, and those of
    sub-folders by -r. Outputs keep the name and the format of the input unless -o, --suffix or -f say otherwise (GIF
    becomes PNG); what the format cannot hold, such as transparency in JPEG, is converted. Existing outputs are
    replaced, but only by complete files; inputs only by --in-place. Files made by `pysr shrink` get the size of their
    originals back. If a file fails, the others are still processed, and the failed ones are listed at the end.

    With -s 1.5, --width or --height the model enlarges by the next larger scale that it offers, and the result is
    resized.

    Without -m, files that lost much to compression (JPEG below quality 92, lossy WebP, AVIF) get the most exact
    model that is made for them, if one is installed for that scale; others the most exact one for clean images.
    """
    return _upscale(state, UpscaleOptions(**options))


def _upscale(state: CliState, options: UpscaleOptions) -> int:
    from .allocator import tune_allocator
    from .collector import collector_at_rest
    from .waiting import wait_passively

    state.start("INFO", as_json=options.progress == "json")  # which model is chosen, and why
    tune_allocator()
    wait_passively()
    from ..namespaces import AUTO, LOCAL
    from ..upscaling.models import Models

    with collector_at_rest():
        output = options.for_output()
        sources = _sources(options)
        enlargement = enlargement_of(options, sources, output)
        jobs = jobs_of(options, sources, output, enlargement)
        _check_comparisons(options, jobs)
        models = Models(options.model, enlargement.scale, options.for_load())
        if loads_here := not options.dry_run and options.engine == LOCAL:
            first = models(next(job for job in jobs if not job.error))
    if loads_here and options.model != AUTO and not options.weights and not state.quiet:
        _hint_at_better_model(first, jobs)
    failed = _run(state, models, jobs, output, options)
    if failed:
        names = ", ".join(file_name(result.source) for result in failed)
        rest = "; --fail-fast left the rest" if options.fail_fast else ""
        eprint(f"{len(failed)} of {len(jobs)} images failed: {names}{rest}")
    elif options.comparison:
        from ..evaluation.comparison import compare_files

        source, target = jobs[0].source, jobs[0].target
        assert isinstance(source, Path)
        assert isinstance(target, Path)
        compare_files(source, target, options.comparison, title=first.chosen_for(source).model.name)
    return 3 if failed else 0


def _sources(options: UpscaleOptions) -> list[Any]:
    """The inputs: paths, or the bytes of standard input."""
    from ..files.streams import buffered

    return [buffered(sys.stdin.buffer)] if options.reads_stream else list(options.sources)


def enlargement_of(options: UpscaleOptions, sources: Sequence[Any], output: Output) -> Enlargement:
    """How much to enlarge, found out without loading a model."""
    from ..namespaces import AUTO
    from ..upscaling.auto import auto_scale, auto_scales
    from ..upscaling.chain import Chain
    from ..upscaling.folder import Enlargement
    from ..upscaling.weights import resolve_scale

    chain = None if options.model == AUTO else Chain.parse(options.model)
    if size := output.target_size():
        trained = chain.trained_scales if chain and not options.weights else ()
        offered = auto_scales() if chain is None else trained or chain.scales
        return Enlargement(max(offered, default=1), size, offered)
    scale = int(options.scale) if options.scale else _noted_scale(options, sources)
    if chain is None:
        return Enlargement(auto_scale(scale))
    if options.weights and scale is None:
        scale = resolve_scale(options.weights, None, chain.scales)
    return Enlargement(math.prod(chain.at(scale).parts))


def jobs_of(
    options: UpscaleOptions, sources: Sequence[Any], output: Output, enlargement: Enlargement
) -> Sequence[FileJob]:
    """Which file is written for which input."""
    from ..files.formats import WRITABLE
    from ..files.remote import as_place
    from ..files.writer import format_by_name
    from ..files.zarr_store import check_target
    from ..upscaling.folder import plan_files, plan_in_place, plan_one

    if options.in_place:
        return plan_in_place(sources, enlargement, recursive=options.recursive)
    if options.writes_stream:
        if sys.stdout.isatty():
            raise click.UsageError("an image would be written to the terminal; name a file (-o), or use a pipe")
        return [plan_one(sources[0], sys.stdout.buffer, enlargement)]
    if options.output and options.reads_stream:
        jobs = [plan_one(sources[0], as_place(options.output), enlargement)]
    else:
        naming = {"format": options.format, "suffix": options.suffix}
        jobs = plan_files(sources, options.output, enlargement, **naming, recursive=options.recursive)
    names_file = options.reads_stream or options.names_file()
    if options.output and names_file:
        check_target(options.output)  # a folder is made for several results, and not for a file of which it is part
    if options.output and names_file and os.path.splitext(options.output)[1].lower() in WRITABLE:
        output.check_format(format_by_name(options.output).name)
    return jobs


def _hint_at_better_model(upscaler: Upscaler, jobs: Sequence[FileJob]) -> None:
    from ..upscaling.auto import better_model

    if better := better_model(
        upscaler.model, upscaler.scale, [job.source for job in jobs if isinstance(job.source, Path)]
    ):
        source, compression, model = better
        eprint(
            f"pysr: hint: {source} is a {compression.name}, and {upscaler.model.name} is made for clean images; "
            f"-m {model.name} also removes the traces of compression"
        )


def _noted_scale(options: UpscaleOptions, sources: Sequence[Any]) -> int | None:
    """The scale that files made by `pysr shrink` note; None if there are none."""
    from ..namespaces import AUTO
    from ..upscaling.auto import auto_scales
    from ..upscaling.chain import Chain
    from ..upscaling.folder import noted_scale

    model, scale = options.model, noted_scale(sources, recursive=options.recursive)
    offered = auto_scales() if model == AUTO else Chain.parse(model).scales
    if scale and scale not in offered:
        raise InputError(
            f"what is to be upscaled was shrunk by {scale}, and {model} offers {', '.join(map(str, sorted(offered)))};"
            " choose another model (-m), or the scale (-s)"
        )
    return scale


def _check_comparisons(options: UpscaleOptions, jobs: Sequence[FileJob]) -> None:
    from ..atomic import check_place
    from ..files import check_output
    from ..files.remote import Url

    for option, path in (("--comparison", options.comparison), ("--html", options.html)):
        if path is None:
            continue
        if isinstance(jobs[0].source, Url) or isinstance(jobs[0].target, Url):
            raise InputError(f"{option} shows files of this machine; fetch the image and its result, or leave it out")
        if len(jobs) > 1:
            raise InputError(f"{option} shows a single image, but there are {len(jobs)} inputs; leave it out")
        if path.resolve() in (Path(file_name(file)).resolve() for file in (jobs[0].source, jobs[0].target)):
            raise InputError(f"{option} {path} is the input or the output; choose another file")
        check_place(path)
    if options.comparison:
        check_output(options.comparison, (1, 1), "RGB")


def _write_page(page: Path, result: FileResult) -> None:
    """Compare the input and the result of a file on a page."""
    from ..evaluation.page import compare

    assert result.report and result.upscaler  # what has no error was upscaled
    source, target = Path(result.report.source), Path(result.report.target)
    caption = f"{result.report.model} x{result.upscaler.scale}, {result.seconds:.1f} s"
    compare({source.name: source, caption: target}).save(page)


def _run(
    state: CliState, models: Models, jobs: Sequence[FileJob], output: Output, options: UpscaleOptions
) -> list[FileResult]:
    """Upscale the files, print each result, and return those that failed. The error of a single file is raised."""
    from ..upscaling.jobs import upscale_jobs

    failed: list[FileResult] = []
    lost: list[str] = []
    course = options.for_course()
    with REPORTS[options.progress](jobs, quiet=state.quiet or options.json) as report:
        progress = report.progress if report.wants_progress and not options.dry_run else None
        for result in upscale_jobs(jobs, models, models.scale, output=output, course=course, progress=progress):
            if options.json:
                print_line(json.dumps(facts(result)))
            elif options.dry_run:
                print_line(intention(result))
            report.finished(result)
            if options.html and not result.error:
                _write_page(options.html, result)
            if result.report and result.report.warnings:
                lost.append(_with_name(file_name(result.target), "; ".join(result.report.warnings)))
            if result.error:
                failed.append(result)
                if len(jobs) == 1:
                    raise result.error
                explained = explain_error(result.error)
                prefix = _with_name(file_name(result.source), explained).removesuffix(explained)
                print_error(result.error, prefix=prefix, verbose=state.verbose)
    if lost and state.quiet and not options.json:
        others = f" (and {len(lost) - 1} more; run without -q to see them)" if len(lost) > 1 else ""
        eprint(f"pysr: warning: {lost[0]}{others}")
    return failed


def _with_name(name: str, told: str) -> str:
    """Return what is told of a file with its name before, unless it names the file itself."""
    return told if Path(name).name in told else f"{name}: {told}"
