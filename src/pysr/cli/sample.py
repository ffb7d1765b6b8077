"""``pysr sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import PATH, Settings, hardware, scale, verbosity

if TYPE_CHECKING:
    from PIL import Image

    from ..evaluation.comparison import Panel


@click.command()
@click.argument("source", metavar="IN", type=PATH)
@click.option("-o", "--out", metavar="DIR", type=PATH, help="Folder for the results; default: IN_samples beside IN.")
@click.option("-m", "--model", metavar="NAME", default="pixelcnn", show_default=True, help="A model that samples.")
@click.option("-s", "--scale", metavar="N", type=scale, help="Enlargement per side; default: the model's first.")
@click.option("-n", "count", metavar="N", type=click.IntRange(min=1), default=16, show_default=True, help="How many.")
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Another seed, other samples.")
@click.option("-t", "--temperature", metavar="T", type=float, default=1.0, show_default=True,
              help="Below 1 safer samples; 0 the likeliest value of every pixel in turn.")  # fmt: skip
@click.option("--known", metavar="FILE", type=PATH, help="An image of the result's size, whose pixels are kept ...")
@click.option("--mask", metavar="FILE", type=PATH, help="... where this black and white image is white.")
@click.option("--weights", metavar="FILE", type=PATH, help="A safetensors file instead of the weights that come along.")
@hardware
@verbosity
@click.pass_obj
def sample(
    settings: Settings,
    /,
    source: Path,
    out: Path | None,
    model: str,
    scale: int | None,
    count: int,
    seed: int,
    temperature: float,
    known: Path | None,
    mask: Path | None,
    weights: Path | None,
    device: str | None,
    precision: str | None,
) -> None:
    """Draw several high-resolution images that may have become the same small one.

    \b
    OUT/NAME_01.png ...        the samples; the first is what pysr upscale makes
    OUT/NAME_uncertainty.png   where they differ: white where most
    OUT/NAME_sheet.png         the input, the samples and the uncertainty on one sheet
    """
    settings.show_log()
    from ..errors import InputError
    from ..imaging.files import read_image, write_image
    from ..upscaling.loading import load
    from .terminal import Bar

    upscaler = load(model, scale, weights=weights, device=device or "auto", precision=precision or "auto")
    if not upscaler.model.stochastic:
        raise InputError(f"{model} draws nothing at random; use pysr upscale, or a model that samples")
    image = read_image(source)
    folder = out or source.with_name(f"{source.stem}_samples")
    if image.mode == "CMYK":
        raise InputError(f"samples are written as PNG, which cannot hold the CMYK of {source}; convert it to RGB first")
    kept = (read_image(known) if known else None, _black_and_white(read_image(mask)) if mask else None)
    folder.mkdir(parents=True, exist_ok=True)
    with Bar(f"sampling {source.name}", unit="steps", shown=settings.verbosity >= 0) as bar:
        images = upscaler.sample(
            image, count, seed=seed, temperature=temperature, known=kept[0], mask=kept[1],
            progress=bar.update,
        )  # fmt: skip
    digits = max(2, len(str(count)))
    for number, drawn in enumerate(images, 1):
        write_image(drawn, folder / f"{source.stem}_{number:0{digits}}.png")
    largest, spread = _uncertainty(images)
    write_image(spread, folder / f"{source.stem}_uncertainty.png")
    sheet = _sheet(image, images, spread, largest)
    write_image(sheet, folder / f"{source.stem}_sheet.png")
    if settings.verbosity >= 0:
        click.echo(f"{count} samples with the seed {seed}, {source.stem}_sheet.png and {source.stem}_uncertainty.png "
                   f"are in {folder}")  # fmt: skip


def _black_and_white(image: Image.Image) -> Image.Image:
    from PIL.Image import Dither

    return image.convert("L").convert("1", dither=Dither.NONE)


def _uncertainty(images: list[Image.Image]) -> tuple[float, Image.Image]:
    """The largest standard deviation, in units of white, and all of them as a gray image in which it is white."""
    import numpy as np
    import torch
    from PIL import Image

    from ..evaluation.comparison import as_rgb
    from ..upscaling.sampling import sample_std

    pixels = np.stack([np.asarray(as_rgb(image)) for image in images])
    found = sample_std(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    largest = float(found.max())
    return largest, Image.fromarray((found * (255 / largest if largest else 0)).round().byte().numpy())


def _sheet(low: Image.Image, images: list[Image.Image], spread: Image.Image, largest: float) -> Image.Image:
    from PIL.Image import Resampling

    from ..evaluation.comparison import Panel, as_rgb, contact_sheet

    low, size = as_rgb(low), images[0].size
    panels: list[Panel] = [
        Panel("input", low.resize(size, Resampling.NEAREST)),
        Panel("bicubic", low.resize(size, Resampling.BICUBIC)),
        Panel(f"spread (to {largest:.2f})", spread),
        *(Panel(f"sample {number}", image) for number, image in enumerate(images, 1)),
    ]
    return contact_sheet(panels, columns=min(len(panels), 8))
