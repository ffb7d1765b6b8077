"""``pysr evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError, UnknownNameError
from .options import (
    PATH,
    CliState,
    backend_options,
    data_option,
    device_options,
    hint_for_stray,
    models_folder_option,
    scales_option,
    split_values,
    strength_option,
    tta_option,
    variant_options,
    verbosity_options,
    weights_option,
)

if TYPE_CHECKING:
    from ..upscaling.chain import Chain
    from ..upscaling.upscaler import Upscaler

STDOUT = Path("-")


@click.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@data_option("Folder of high-resolution images; each is a data set of its own.")
@scales_option("Scales, such as 2,3,4. Default: all that the models (and --weights) have in common.")
@models_folder_option
@variant_options
@weights_option("Safetensors file to use in place of the weights shipped with the model.")
@click.option(
    "--metric",
    "metrics",
    metavar="NAME[,NAME...]",
    multiple=True,
    default=["psnr,ssim"],
    show_default=True,
    callback=split_values(),
    help="Metrics, in this order; see `pysr plugins`.",
)
@click.option("--protocol", metavar="NAME", default="y-shave", show_default=True, help="Evaluation protocol.")
@click.option(
    "--degradation",
    metavar="NAME",
    help="What the inputs went through, such as photo-medium; see `pysr plugins`. Default: bicubic reduction alone.",
)
@click.option("--images", is_flag=True, help="Also show the scores of each image.")
@click.option("--json", metavar="FILE", type=PATH, help="Write all scores as JSON; - prints them instead of the table.")
@click.option("--markdown", metavar="FILE", type=PATH, help="Write Markdown tables; - prints them instead.")
@click.option("--csv", metavar="FILE", type=PATH, help="Write one line per image, with its time; - prints it instead.")
@click.option(
    "--plot",
    metavar="FILE",
    type=PATH,
    help="Plot the models by the first and the last metric (single data set and scale): PNG, PDF or SVG.",
)
@strength_option
@tta_option
@device_options
@backend_options
@verbosity_options
@click.pass_obj
def evaluate(state: CliState, /, names: tuple[str, ...], images: bool, plot: Path | None, **options: Any) -> None:
    """Compare models on folders of images: PSNR in dB and SSIM, or other metrics.

    MODEL is a name from `pysr models`, a model file, or A+B to apply A, then B. Each model is measured at those of the
    given scales that it offers. --variant, --weights and --strength need a single MODEL.
    """
    from ..evaluation import report
    from ..evaluation.plot import check_plot, write_plot
    from . import terminal
    from .allocator import tune_allocator
    from .waiting import wait_passively

    state.start("INFO")
    texts = {"json": report.to_json, "markdown": report.to_markdown, "csv": report.to_csv}
    files = {kind: path for kind in texts if (path := options.pop(kind))}
    _check_files(files)
    chains = {name: _parse(name) for name in names}
    keys = ["variant", "pre_upsampler", "weights", "strength", "device", "precision", "calibration", "backend"]
    loading = {key: options.pop(key) for key in (*keys, "ensemble")}
    loading = {key: value for key, value in loading.items() if value not in (None, "auto") and value is not False}
    if not options["scales"]:
        options["scales"] = _common_scales(chains, loading.get("pre_upsampler"), loading.get("weights"))
    if plot:
        check_plot(plot, options["data"], options["scales"], options["metrics"])
    tune_allocator()
    wait_passively()
    models = _load(list(chains), options["scales"], loading) if loading else list(chains)
    from ..evaluation.protocols import evaluate

    with terminal.Bar("evaluating", unit="images", shown=not state.quiet) as bar:
        evaluations = evaluate(models, progress=bar.update, **options)
    if STDOUT not in files.values():
        terminal.print_table(terminal.evaluation_table(evaluations, images=images))
    for kind, path in files.items():
        _write(texts[kind](evaluations), path)
    if plot:
        write_plot(evaluations, plot)


def _parse(name: str) -> Chain:
    """Parse the models of one argument; a misplaced option value is reported with a hint."""
    from ..upscaling.chain import Chain

    try:
        return Chain.parse(name)
    except (InputError, UnknownNameError) as error:
        if hint := hint_for_stray(name):
            raise click.UsageError(f"{name!r} is not a model; {hint}") from error
        raise


def _load(names: Sequence[str], scales: Sequence[int], options: Mapping[str, Any]) -> list[Upscaler]:
    """Load the models at the given scales that they offer, named as in the table."""
    from ..evaluation.protocols import offered_scales
    from ..upscaling.loading import load

    if len(names) > 1 and options.keys() & {"variant", "weights", "strength"}:
        raise InputError(
            f"--variant, --weights and --strength need a single model, and {len(names)} are named; leave them out"
        )
    named = {key: options[key] for key in ("variant", "pre_upsampler", "strength") if key in options}
    if "weights" in options:
        named["weights"] = options["weights"].name
    suffix = ["ensemble"] if options.get("ensemble") else []
    upscalers = []
    for name, offered in zip(names, offered_scales(names, scales), strict=True):
        label = ", ".join([name, *(f"{key} {value}" for key, value in named.items()), *suffix])
        for upscaler in (load(name, scale, **options) for scale in offered):
            upscaler.model = replace(upscaler.model, name=label)
            upscalers.append(upscaler)
    return upscalers


def _check_files(files: Mapping[str, Path]) -> None:
    """Check the output files before the work starts."""
    from ..atomic import check_place

    kinds: dict[Path, str] = {}
    for kind, path in files.items():
        if path != STDOUT:
            check_place(path)
        if other := kinds.get(path.resolve()):
            raise InputError(f"--{other} and --{kind} both name {str(path)!r}; give each a file of its own")
        kinds[path.resolve()] = kind


def _common_scales(chains: Mapping[str, Chain], pre_upsampler: str | None, weights: Path | None) -> list[int]:
    """Return the scales that all models have weights for; with ``weights``, those noted in that file, if any."""
    from ..upscaling.chain import common_scales

    if pre_upsampler:
        chains = {**chains, pre_upsampler: _parse(pre_upsampler)}
    offers = {name: (not weights and chain.trained_scales) or chain.scales for name, chain in chains.items()}
    if weights:
        from ..upscaling.weights import trained_scales

        if trained := trained_scales(weights):
            offers[weights.name] = trained
    return common_scales(offers)


def _write(text: str, path: Path) -> None:
    from ..atomic import atomic_write

    content = text.encode("utf-8", "surrogateescape")  # a file name may hold any bytes
    if path == STDOUT:
        click.echo(content, nl=False)
    else:
        with atomic_write(path) as file:
            file.write(content)
