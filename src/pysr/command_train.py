"""``pysr train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import PATH, Settings, verbosity


@click.command()
@click.argument("name", metavar="MODEL")
@click.option(
    "--data",
    metavar="DIR",
    required=True,
    multiple=True,
    type=PATH,
    help="Folder of images to learn from; may be given several times.",
)
@click.option("--out", metavar="DIR", required=True, type=PATH, help="Folder for the weights and the log.")
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="Default: as the recipe says.")
@click.option("--validation", metavar="DIR", type=PATH, help="Folder of images that decide which weights are the best.")
@click.option("--initial", metavar="FILE", type=PATH, help="Weights to start from.")
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Of everything random.")
@verbosity
@click.pass_obj
def train(settings: Settings, /, name: str, data: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Train a model by its recipe."""
    settings.show_log("INFO")
    from .terminal import Bar
    from .training import train

    with Bar(f"training {name}", unit="steps", shown=settings.verbosity >= 0) as bar:
        train(name, list(data), out, progress=bar.update, **options)
