"""``pysr sample``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .options import (
    PATH,
    CliState,
    SampleOptions,
    device_options,
    scale_option,
    verbosity_options,
    weights_option,
)
from .terminal import Bar, eprint

if TYPE_CHECKING:
    from PIL import Image


@click.command()
@click.argument("source", metavar="IN", type=PATH)
@click.option(
    "-o", "--output", "--out", metavar="DIR", type=PATH, help="Output folder. Default: NAME_samples beside IN."
)
@click.option("-m", "--model", metavar="NAME", default="pixelcnn", show_default=True, help="Generative model.")
@weights_option("Safetensors file to use in place of the weights shipped with the model.")
@scale_option("Enlargement per side: 3, x3 or 3x. Default: the model's first, or the first in --weights.")
@click.option(
    "-n", "count", metavar="N", type=click.IntRange(min=1), default=16, show_default=True, help="Number of samples."
)
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Seed of the random numbers.")
@click.option(
    "-t",
    "--temperature",
    metavar="T",
    type=float,
    default=1.0,
    show_default=True,
    help="Below 1: less variety. 0: always the most likely value.",
)
@click.option("--known", metavar="FILE", type=PATH, help="Image of the output size with pixels to keep; needs --mask.")
@click.option("--mask", metavar="FILE", type=PATH, help="Black-and-white image: white where --known is kept.")
@device_options
@verbosity_options
@click.pass_obj
def sample(state: CliState, /, **options: Any) -> None:
    """Draw several plausible high-resolution versions of a small image.

    \b
    DIR/NAME_01.png ...        the samples; the first is what `pysr upscale` makes
    DIR/NAME_uncertainty.png   standard deviation of each pixel over the samples; the highest is white
    DIR/NAME_sheet.png         input, samples and uncertainty on one sheet
    """
    _sample(state, SampleOptions(**options))


def _sample(state: CliState, options: SampleOptions) -> None:
    state.start()
    from ..evaluation.samples import uncertainty_image
    from ..files import read_image, write_image
    from ..upscaling.loading import load

    upscaler = load(options.model, options.scale, **options.for_load())
    if not upscaler.model.stochastic:
        raise InputError(f"{options.model} draws nothing at random; use pysr upscale, or a model that samples")
    source, stem, folder = options.source, options.source.stem, options.folder
    image = read_image(source)
    if image.mode == "CMYK":
        raise InputError(f"samples are written as PNG, which cannot hold the CMYK of {source}; convert it to RGB first")
    known = read_image(options.known) if options.known else None
    mask = _black_and_white(read_image(options.mask)) if options.mask else None
    folder.mkdir(parents=True, exist_ok=True)
    with Bar(f"sampling {source.name}", unit="steps", shown=not state.quiet) as bar:
        samples = upscaler.sample(
            image,
            options.count,
            seed=options.seed,
            temperature=options.temperature,
            known=known,
            mask=mask,
            progress=bar.update,
        )
    digits = max(2, len(str(options.count)))
    for number, drawn in enumerate(samples, 1):
        write_image(drawn, folder / f"{stem}_{number:0{digits}}.png")
    largest, uncertainty = uncertainty_image(samples)
    write_image(uncertainty, folder / f"{stem}_uncertainty.png")
    write_image(_sheet(image, samples, uncertainty, largest), folder / f"{stem}_sheet.png")
    if not state.quiet:
        eprint(f"{folder}: {options.count} samples (seed {options.seed}), {stem}_uncertainty.png, {stem}_sheet.png")


def _black_and_white(image: Image.Image) -> Image.Image:
    from PIL.Image import Dither

    return image.convert("L").convert("1", dither=Dither.NONE)


def _sheet(low: Image.Image, samples: Sequence[Image.Image], uncertainty: Image.Image, largest: float) -> Image.Image:
    from PIL.Image import Resampling

    from ..evaluation.comparison import Panel, as_rgb, contact_sheet

    low, size = as_rgb(low), samples[0].size
    panels = [
        Panel("input", low.resize(size, Resampling.NEAREST)),
        Panel("bicubic", low.resize(size, Resampling.BICUBIC)),
        Panel(f"std (to {largest:.2f})", uncertainty),
        *(Panel(f"sample {number}", image) for number, image in enumerate(samples, 1)),
    ]
    return contact_sheet(panels, columns=min(len(panels), 8))
