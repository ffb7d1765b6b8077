"""``pysr shrink``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import PATH, CliState, parse_scale, verbosity_options
from .terminal import eprint

if TYPE_CHECKING:
    from ..files.shrink import Shrunk


@click.command()
@click.argument("source", metavar="IN", type=PATH)
@click.option(
    "-o",
    "--output",
    "--out",
    metavar="OUT",
    type=PATH,
    help="Output file: .webp, .jpg, .avif or .png. Default: NAME_small.webp beside IN.",
)
@click.option(
    "-s",
    "--scale",
    metavar="N",
    type=parse_scale,
    default="2",
    show_default=True,
    help="Reduction per side: 2, 3 or 4.",
)
@click.option("--quality", metavar="Q", type=click.IntRange(1, 100), help="Quality of the compression. Default: 80.")
@click.option(
    "--bytes",
    "max_bytes",
    metavar="N",
    type=click.IntRange(min=1),
    help="Choose the best quality whose file has at most N bytes.",
)
@verbosity_options
@click.pass_obj
def shrink(
    state: CliState,
    /,
    source: Path,
    output: Path | None,
    scale: int,
    quality: int | None,
    max_bytes: int | None,
) -> None:
    """Make an image small for sending; the receiver restores its size.

    \b
    pysr shrink photo.png -o small.webp -s 2 --bytes 20000     before sending
    pysr upscale small.webp -o photo.png                       after receiving

    The image is reduced as the models learnt it. Colour profile, EXIF and XMP are kept, and the original's size is
    noted in the XMP.
    """
    state.show_log()
    from ..files.shrink import shrink_file

    target = output or source.with_name(f"{source.stem}_small.webp")
    result = shrink_file(source, target, scale, quality=quality, max_bytes=max_bytes)
    if not state.quiet:
        eprint(f"{source} -> {target}  {_summary(result)}")


def _summary(result: Shrunk) -> str:
    (width, height), (small_width, small_height) = result.original, result.size
    quality = f" at quality {result.quality}" if result.quality else ""
    rate = 8 * result.bytes / (width * height)
    return (
        f"{width} x {height} -> {small_width} x {small_height} pixels, {result.bytes} bytes{quality},"
        f" {rate:.2g} bits per pixel of the original"
    )
