"""``pysr evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .options import PATH, Settings, SeveralValues, hardware, scale, verbosity

if TYPE_CHECKING:
    from ..upscaling.upscaler import Upscaler

STDOUT = Path("-")


@click.command(cls=SeveralValues)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--data",
    metavar="DIR...",
    required=True,
    multiple=True,
    type=PATH,
    help="Folders of true images, each a data set, such as Set5 Set14; name the models before them.",
)
@click.option(
    "-s",
    "--scale",
    "scales",
    metavar="N...",
    multiple=True,
    type=scale,
    help="Scales, such as 2 3 4; default: all that the models, and weights, have in common.",
)
@click.option("--variant", metavar="NAME", help="Which version of the only model named; default: its first.")
@click.option("--pre-upsampler", metavar="NAME", help="A model that makes the first enlargement instead of bicubic.")
@click.option(
    "--weights", metavar="FILE", type=PATH, help="A safetensors file instead of those of the only model named."
)
@click.option(
    "--metric",
    "metrics",
    metavar="NAME...",
    multiple=True,
    default=("psnr", "ssim"),
    show_default=True,
    help="What is measured, in this order; `pysr plugins` lists what is installed.",
)
@click.option("--protocol", metavar="NAME", default="y-shave", show_default=True, help="How scores are computed.")
@click.option("--images", is_flag=True, help="Show the scores of every image, too.")
@click.option("--json", metavar="FILE", type=PATH, help="Write all scores as JSON; - prints them instead of the table.")
@click.option("--markdown", metavar="FILE", type=PATH, help="Write tables in GitHub's Markdown; - prints them instead.")
@click.option(
    "--csv", metavar="FILE", type=PATH, help="Write a line per image, with the seconds it took; - prints it instead."
)
@click.option(
    "--plot",
    metavar="FILE",
    type=PATH,
    help="Draw the models by the first metric and the last, for one data set and scale: PNG, PDF or SVG.",
)
@hardware
@verbosity
@click.pass_obj
def evaluate(settings: Settings, /, names: tuple[str, ...], images: bool, plot: Path | None, **options: Any) -> None:
    """Measure models on folders of images, side by side: PSNR in dB and SSIM, or other metrics.

    MODEL: a name that `pysr models` lists, or A+B: first A, then B. Where several models are named, each is measured at
    those of the scales that it offers.
    """
    from ..evaluation import report
    from ..evaluation.plot import check_plot, write_plot
    from . import terminal
    from .allocator import tune_allocator

    settings.show_log()
    texts = {"json": report.to_json, "markdown": report.to_markdown, "csv": report.to_csv}
    files = {kind: path for kind in texts if (path := options.pop(kind))}
    _check_files(files)
    loading = {key: options.pop(key) for key in ("variant", "pre_upsampler", "weights", "device", "precision")}
    scales = options["scales"] = options["scales"] or _scales(names, loading["pre_upsampler"], loading["weights"])
    if plot:
        check_plot(plot, options["data"], scales, options["metrics"])
    loading = {key: value for key, value in loading.items() if value is not None}
    tune_allocator()
    models = _load(names, scales, loading) if loading else names
    from ..evaluation.protocols import evaluate

    with terminal.Bar("evaluating", unit="images", shown=settings.verbosity >= 0) as bar:
        evaluations = evaluate(models, progress=bar.update, **options)
    if STDOUT not in files.values():
        terminal.print_table(terminal.evaluation_table(evaluations, images=images))
    for kind, path in files.items():
        _write(texts[kind](evaluations), path)
    if plot:
        write_plot(evaluations, plot)


def _load(names: Sequence[str], scales: Sequence[int], options: Mapping[str, Any]) -> list[Upscaler]:
    """The models at those of the scales that they offer, named as they are to stand in the table."""
    from ..evaluation.protocols import offered_scales
    from ..upscaling.loading import load

    names = list(dict.fromkeys(names))
    if len(names) > 1 and ("variant" in options or "weights" in options):
        raise InputError(
            f"--variant and --weights are those of one model, and {len(names)} are named; measure one at a time"
        )
    named = {key: Path(options[key]).name for key in ("variant", "pre_upsampler", "weights") if key in options}
    upscalers = []
    for name, offered in zip(names, offered_scales(names, scales), strict=True):
        label = ", ".join([name, *(f"{key} {value}" for key, value in named.items())])
        for upscaler in (load(name, enlargement, **options) for enlargement in offered):
            upscaler.model = replace(upscaler.model, name=label)
            upscalers.append(upscaler)
    return upscalers


def _check_files(files: Mapping[str, Path]) -> None:
    """Find what is wrong with the names before the work, not after it."""
    from ..atomic import check_place

    kinds: dict[Path, str] = {}
    for kind, path in files.items():
        if path != STDOUT:
            check_place(path)
        if other := kinds.get(path.resolve()):
            raise InputError(f"--{other} and --{kind} both name {str(path)!r}; give each a file of its own")
        kinds[path.resolve()] = kind


def _scales(names: Sequence[str], pre_upsampler: str | None, weights: Path | None) -> list[int]:
    """Those that all models come trained for, or that weights, if they say so, were trained for."""
    from ..upscaling.chain import Chain, common_scales

    chains = {name: Chain.parse(name) for name in (*names, *([pre_upsampler] if pre_upsampler else []))}
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
