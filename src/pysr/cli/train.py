"""``pysr train``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .options import PATH, Settings, SeveralValues, hardware, scale, verbosity


def _named(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise click.UsageError(f"{pair!r} is no option of a recipe; write NAME=VALUE, such as -o style=picture.jpg")
    return name, value


@click.command(cls=SeveralValues)
@click.argument("name", metavar="MODEL")
@click.option(
    "--data",
    metavar="DIR...",
    required=True,
    multiple=True,
    type=PATH,
    help="Folders of images to learn from, or .npz files of small ones; name the model before them.",
)
@click.option("--out", metavar="DIR", required=True, type=PATH, help="Folder for weights, checkpoints and logs.")
@click.option("--recipe", metavar="NAME", help="Which of the model's recipes; default: its first.")
@click.option(
    "-s",
    "--scale",
    "scales",
    metavar="N...",
    multiple=True,
    type=scale,
    help="Scales to train together, such as 2 3 4; default: as the recipe says.",
)
@click.option("--variant", metavar="NAME", help="Which version of the model; default: its first.")
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="Default: as the recipe says.")
@click.option("--validation", metavar="DIR", type=PATH, help="Images that decide which weights are the best.")
@click.option("--weights", metavar="FILE", type=PATH, help="A safetensors file to start from.")
@click.option("--pre-upsampler", metavar="NAME", help="A model whose result the network gets instead of bicubic.")
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--resume", is_flag=True, help="Go on with the training in --out; begin it if there is none.")
@click.option(
    "-o",
    "--option",
    "pairs",
    metavar="NAME=VALUE",
    multiple=True,
    help="What the recipe asks for, such as style=picture.jpg; may be given several times.",
)
@hardware
@verbosity
@click.pass_obj
def train(settings: Settings, /, name: str, data: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Train a model by one of its recipes.

    \b
    OUT/best.safetensors    the weights with the best validation; for pysr upscale --weights
    OUT/log.csv             losses and PSNR; OUT/tensorboard has the same as curves
    OUT/samples             the first validation image after each validation
    OUT/checkpoints         what --resume goes on from, to the same bits

    Ctrl-C and SIGTERM write a checkpoint first. On several GPUs: torchrun --nproc-per-node N -m pysr train ...
    """
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started, one speaks for all
    settings.show_log("INFO" if first else "ERROR")
    recipe_options = dict(map(_named, options.pop("pairs")))
    from .allocator import tune_allocator

    tune_allocator()
    from ..errors import InputError
    from ..plugin import Fit
    from ..training import TrainingOptions, recipe, train
    from .terminal import Bar

    chosen = recipe(name, options.pop("recipe"), **recipe_options)
    changes = {key: value for key in ("scales", "steps") if (value := options.pop(key))}
    if isinstance(chosen, Fit) and "steps" in changes:
        raise InputError(f"{name} is fitted in one go; leave --steps out")
    training = {key: options.pop(key) for key in ("validation", "resume")}
    options["device"], options["precision"] = options["device"] or "auto", options["precision"] or "auto"
    with Bar(f"training {name}", unit="steps", shown=first and settings.verbosity >= 0) as bar:
        train(
            name,
            list(data),
            out,
            recipe=replace(chosen, **changes),
            options=TrainingOptions(**options),
            progress=bar.update,
            **training,
        )
