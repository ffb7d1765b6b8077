"""``pysr train``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from .options import (
    PATH,
    CliState,
    data_option,
    device_options,
    hint_for_stray,
    scales_option,
    variant_options,
    verbosity_options,
    weights_option,
)


def _single_model(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> str:
    if len(names) > 1:
        hint = hint_for_stray(*names) or "name one model"
        raise click.UsageError(f"one model is trained at a time; got {' '.join(map(repr, names))}; {hint}")
    return names[0]


def _recipe_options(ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{pair!r} is not a recipe option; write NAME=VALUE, such as -o style=painting.jpg")
        options[name] = value
    return options


@click.command()
@click.argument("name", metavar="MODEL", nargs=-1, required=True, callback=_single_model)
@data_option("Folder of training images, or .npz file of many small ones.")
@click.option(
    "--out",
    "--output",
    "out",
    metavar="DIR",
    required=True,
    type=PATH,
    help="Folder for weights, checkpoints and logs.",
)
@click.option("--recipe", metavar="NAME", help="Recipe of the model. Default: its first.")
@scales_option("Scales to train together, such as 2,3,4. Default: the recipe's.")
@variant_options
@click.option(
    "--steps", metavar="N", type=click.IntRange(min=1), help="Number of training steps. Default: the recipe's."
)
@click.option("--validation", metavar="DIR", type=PATH, help="Folder of images by which the best weights are chosen.")
@weights_option("Safetensors file to start from.")
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--resume", is_flag=True, help="Continue the training in --out, or start it if there is none.")
@click.option(
    "-o",
    "--option",
    "recipe_options",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_recipe_options,
    help="Option of the recipe, such as style=painting.jpg. Repeatable.",
)
@device_options
@verbosity_options
@click.pass_obj
def train(state: CliState, /, name: str, data: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Train a model by one of its recipes.

    \b
    DIR/best.safetensors    best weights by validation; use with pysr upscale --weights
    DIR/log.csv             losses and PSNR; as curves in DIR/tensorboard
    DIR/samples             the first validation image after each validation
    DIR/checkpoints         what --resume continues from, bit for bit

    Ctrl-C and SIGTERM save a checkpoint first. On several GPUs: torchrun --nproc-per-node N -m pysr train ...
    """
    is_main = os.environ.get("RANK", "0") == "0"  # of the processes started by torchrun, only one prints
    state.start("INFO" if is_main else "ERROR")
    from .allocator import tune_allocator

    tune_allocator()
    from ..plugin import Fit
    from ..training import TrainingOptions, recipe, train
    from .terminal import Bar

    chosen = recipe(name, options.pop("recipe"), **options.pop("recipe_options"))
    changes = {key: value for key in ("scales", "steps") if (value := options.pop(key))}
    if isinstance(chosen, Fit) and "steps" in changes:
        raise InputError(f"{name} is fitted in one go; leave --steps out")
    run = {key: options.pop(key) for key in ("validation", "resume")}
    with Bar(f"training {name}", unit="steps", shown=is_main and not state.quiet) as bar:
        train(
            name,
            list(data),
            out,
            recipe=replace(chosen, **changes),
            options=TrainingOptions(**options),
            progress=bar.update,
            **run,
        )
