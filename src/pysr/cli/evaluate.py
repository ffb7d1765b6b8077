"""``pysr evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .options import PATH, Settings, SeveralValues, hardware, scale, verbosity

if TYPE_CHECKING:
    from ..evaluation.protocols import Evaluation

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
    help="Draw the models by the first metric and the last: one data set and scale.",
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
    from . import terminal

    settings.show_log()
    texts = {"json": report.to_json, "markdown": report.to_markdown, "csv": report.to_csv}
    files = {kind: path for kind in texts if (path := options.pop(kind))}
    _check_files(files)
    pre_upsampler = options["pre_upsampler"]
    options["scales"] = options["scales"] or _scales(
        [*names, pre_upsampler] if pre_upsampler else names, options["weights"]
    )
    if plot:
        _check_plot(plot, options)
    evaluations = _evaluate(settings, names, **options)
    if STDOUT not in files.values():
        terminal.print_table(terminal.evaluation_table(evaluations, images=images))
    for kind, path in files.items():
        _write(texts[kind](evaluations), path)
    if plot:
        from ..evaluation.plot import plot as draw
        from ..imaging.files import write_image

        write_image(draw(evaluations), plot)


def _check_plot(path: Path, options: Mapping[str, Any]) -> None:
    from ..evaluation.plot import check_plottable
    from ..imaging.files import check_output

    check_output(path, (1, 1), "RGB")
    check_plottable(options["data"], options["scales"], options["metrics"])


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


def _scales(names: Sequence[str], weights: Path | None) -> list[int]:
    """Those that all models come trained for, or that weights, if they say so, were trained for."""
    from ..upscaling.chain import Chain

    chains = {name: Chain.parse(name) for name in names}
    offered = [(name, (not weights and chain.trained_scales) or chain.scales) for name, chain in chains.items()]
    if weights:
        from ..upscaling.weights import trained_scales

        trained = trained_scales(weights)
        offered += [(weights.name, trained)] if trained else []
    common = set.intersection(*(set(scales) for _, scales in offered))
    if not common:
        listed = ", ".join(f"{name}: {' '.join(map(str, scales))}" for name, scales in offered)
        raise InputError(f"these models have no scale in common ({listed}); choose some with --scale")
    return sorted(common)


def _evaluate(settings: Settings, names: Sequence[str], **options: Any) -> list[Evaluation]:
    from .allocator import tune_allocator

    tune_allocator()
    from ..evaluation.protocols import evaluate
    from .terminal import Bar

    device, precision = options.pop("device") or "auto", options.pop("precision") or "auto"
    with Bar("evaluating", unit="images", shown=settings.verbosity >= 0) as bar:
        return evaluate(names, device=device, precision=precision, progress=bar.update, **options)


def _write(text: str, path: Path) -> None:
    from ..atomic import atomic_write

    content = text.encode("utf-8", "surrogateescape")  # a file name may hold any bytes
    if path == STDOUT:
        click.echo(content, nl=False)
    else:
        with atomic_write(path) as file:
            file.write(content)
