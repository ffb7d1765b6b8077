"""``pysr evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import InputError
from .options import PATH, Settings, SeveralScales, hardware, print_json, scale, verbosity

if TYPE_CHECKING:
    from .evaluation import Evaluation


@click.command(cls=SeveralScales)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.option("--data", metavar="DIR", required=True, type=PATH, help="Folder of true images.")
@click.option(
    "-s",
    "--scale",
    "scales",
    metavar="N...",
    multiple=True,
    type=scale,
    help="Scales, such as 2 3 4; default: all that the models have in common.",
)
@click.option("--initial", metavar="NAME", help="A model that makes the first enlargement instead of bicubic.")
@click.option("--protocol", metavar="NAME", default="y-shave", show_default=True, help="How scores are computed.")
@click.option("--images", is_flag=True, help="Show the scores of every image, too.")
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=PATH,
    help="Write the scores as JSON; - prints them instead of the table.",
)
@hardware
@verbosity
@click.pass_obj
def evaluate(
    settings: Settings, /, names: tuple[str, ...], json_file: Path | None, images: bool, **options: Any
) -> None:
    """Measure models on a folder of images, side by side: PSNR in dB and SSIM.

    MODEL: a name that `pysr models` lists, or A+B: first A, then B.
    """
    from . import terminal

    settings.show_log()
    initial = options["initial"]
    options["scales"] = options["scales"] or _common_scales([*names, initial] if initial else names)
    evaluations = _evaluate(settings, names, **options)
    facts = [evaluation.as_dict() for evaluation in evaluations]
    if json_file == Path("-"):
        print_json(facts)
    else:
        terminal.print_table(terminal.evaluation_table(evaluations, images=images))
    if json_file not in (None, Path("-")):
        _write_json(facts, json_file)


def _common_scales(names: Sequence[str]) -> list[int]:
    from .chain import Chain

    offered = [(name, Chain.parse(name).scales) for name in names]
    common = set.intersection(*(set(scales) for _, scales in offered))
    if not common:
        listed = ", ".join(f"{name}: {' '.join(map(str, scales))}" for name, scales in offered)
        raise InputError(f"these models have no scale in common ({listed}); evaluate them one by one")
    return sorted(common)


def _evaluate(settings: Settings, names: Sequence[str], **options: Any) -> list[Evaluation]:
    from .allocator import tune_allocator

    tune_allocator()
    from .evaluation import evaluate
    from .terminal import Bar

    device, precision = options.pop("device") or "auto", options.pop("precision") or "auto"
    with Bar("evaluating", unit="images", shown=settings.verbosity >= 0) as bar:
        return evaluate(names, device=device, precision=precision, progress=bar.update, **options)


def _write_json(facts: Any, path: Path) -> None:
    import json

    from .files import atomic_write

    with atomic_write(path) as file:
        file.write(json.dumps(facts, indent=2).encode() + b"\n")
