"""``pysr compare``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import InputError
from .options import PATH, CliState, verbosity_options
from .terminal import eprint


@click.command()
@click.argument("images", metavar="IMAGE IMAGE...", nargs=-1, required=True, type=PATH)
@click.option("--html", "page", metavar="FILE", required=True, type=PATH, help="The page to write.")
@click.option(
    "--truth", metavar="FILE", type=PATH, help="What the images should look like; PSNR and SSIM are measured."
)
@click.option(
    "--caption",
    "captions",
    metavar="TEXT",
    multiple=True,
    help="What is written under an image, such as its model and time; once for each image. Default: the files' names.",
)
@verbosity_options
@click.pass_obj
def compare(
    state: CliState, /, images: tuple[Path, ...], page: Path, truth: Path | None, captions: tuple[str, ...]
) -> None:
    """Compare images of one scene on a page for the browser.

    \b
    pysr compare bicubic.png vdsr.png --truth photo.png --html page.html

    The page holds everything that it needs, so that it can be sent as one file: a slider, flicker, differences, zoom
    and a magnifier. It holds the image files as they are, with all that is noted in them, such as where a photograph
    was taken.
    """
    state.show_log()
    from ..evaluation.page import compare as compare_images

    if captions and (len(captions) != len(images) or len(set(captions)) < len(captions)):
        raise InputError(
            f"there are {len(captions)} captions for {len(images)} images; give each image one of its own, in order"
        )
    if page.resolve() in [image.resolve() for image in (*images, *([truth] if truth else []))]:
        raise InputError(f"--html {page} is one of the images; choose another file")
    compare_images(dict(zip(captions, images, strict=True)) if captions else images, truth=truth).save(page)
    if not state.quiet:
        eprint(f"{page}: open it in a browser")
