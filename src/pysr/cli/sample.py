"""``pysr sample``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
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

    from ..plugin import Model

_LARGEST = 64  # pixels of a side of what still may be a small face
_log = logging.getLogger(__name__)


@click.command()
@click.argument("sources", metavar="IN...", type=PATH, nargs=-1, required=True)
@click.option(
    "-o", "--output", "--out", metavar="DIR", type=PATH, help="Output folder. Default: NAME_samples beside each IN."
)
@click.option("-m", "--model", metavar="NAME", default="pixelcnn", show_default=True, help="Generative model.")
@weights_option("Safetensors file to use in place of the weights shipped with the model.")
@scale_option("Enlargement per side: 3, x3 or 3x. Default: the model's (see `pysr info`), or the first in --weights.")
@click.option(
    "-n",
    "count",
    metavar="N",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Number of samples of each image.",
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
@click.option(
    "--known", metavar="FILE", type=PATH, help="Output-sized image with pixels to keep; needs --mask, and one IN."
)
@click.option("--mask", metavar="FILE", type=PATH, help="Black-and-white image: white where --known is kept.")
@device_options
@verbosity_options
@click.pass_obj
def sample(state: CliState, /, **options: Any) -> None:
    """Draw several plausible high-resolution versions of small images.

    Several images, of any sizes, are drawn together, which is faster; each comes out as it would alone.

    \b
    DIR/NAME_01.png ...        the samples; the first is what `pysr upscale` makes
    DIR/NAME_uncertainty.png   standard deviation of each pixel over the samples; the highest is white
    DIR/NAME_sheet.png         input, samples and uncertainty on one sheet
    """
    _sample(state, SampleOptions(**options))


def _sample(state: CliState, options: SampleOptions) -> None:
    state.start()
    from ..files import read_image
    from ..upscaling.loading import load

    upscaler = load(options.model, options.scale, **options.for_load())
    if not upscaler.model.stochastic:
        raise InputError(f"{options.model} draws nothing at random; use pysr upscale, or a model that samples")
    _check_names(options)
    images = [_read(source) for source in options.sources]
    for source, image in zip(options.sources, images, strict=True):
        _warn_of_size(source, image, upscaler.model)
    folders = [options.folder(source) for source in options.sources]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    what = options.sources[0].name if len(images) == 1 else f"{len(images)} images"
    drawing: dict[str, Any] = {"seed": options.seed, "temperature": options.temperature}
    with Bar(f"sampling {what}", unit="steps", shown=not state.quiet) as bar:
        if options.known or options.mask:
            known = read_image(options.known) if options.known else None
            mask = _black_and_white(read_image(options.mask)) if options.mask else None
            samples = upscaler.sample(images[0], options.count, known=known, mask=mask, progress=bar.update, **drawing)
            results = [samples]
        else:
            results = upscaler.sample_each(images, options.count, progress=bar.update, **drawing)
    for source, folder, image, samples in zip(options.sources, folders, images, results, strict=True):
        _write(source.stem, folder, image, samples)
        if not state.quiet:
            sheets = f"{source.stem}_uncertainty.png, {source.stem}_sheet.png"
            eprint(f"{folder}: {options.count} samples (seed {options.seed}), {sheets}")


def _check_names(options: SampleOptions) -> None:
    """Refuse several images where one is meant, and results that would overwrite one another."""
    if len(options.sources) > 1 and (options.known or options.mask):
        raise InputError(f"--known and --mask belong to one image, but {len(options.sources)} are given; give one IN")
    taken: dict[Path, Path] = {}
    for source in options.sources:
        other = taken.setdefault(options.folder(source) / source.stem, source)
        if other is not source:
            raise InputError(
                f"the samples of {source} would overwrite those of {other}; draw them in two calls, with two --output"
            )


def _read(source: Path) -> Image.Image:
    from ..files import read_image

    image = read_image(source)
    if image.mode == "CMYK":
        raise InputError(f"samples are written as PNG, which cannot hold the CMYK of {source}; convert it to RGB first")
    return image


def _write(stem: str, folder: Path, image: Image.Image, samples: Sequence[Image.Image]) -> None:
    from ..evaluation.samples import uncertainty_image
    from ..files import write_image

    digits = max(2, len(str(len(samples))))
    for number, drawn in enumerate(samples, 1):
        write_image(drawn, folder / f"{stem}_{number:0{digits}}.png")
    largest, uncertainty = uncertainty_image(samples)
    write_image(uncertainty, folder / f"{stem}_uncertainty.png")
    write_image(_sheet(image, samples, uncertainty, largest), folder / f"{stem}_sheet.png")


def _warn_of_size(source: Path, image: Image.Image, model: Model) -> None:
    """Say so if an image is a photograph rather than what a model of small faces or digits draws."""
    if model.domain in ("face", "digit") and max(image.size) > _LARGEST:
        _log.warning(
            "%s has %d x %d pixels, and %s is made for a %s of a few: it takes long and invents what it draws",
            *(source, *image.size, model.name, model.domain),
        )


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
