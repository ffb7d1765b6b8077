"""Shrink a photograph, upscale it with every installed model, and compare the results with the original.

    python examples/demo.py [PHOTO] [--scale 4] [--models NAME...] [--detail LEFT TOP RIGHT BOTTOM] [--out out/demo]

Writes each result and comparison.png into the output folder, and prints PSNR and SSIM: computed on the luma (BT.601) of
8-bit RGB images, without ``scale`` pixels at every border. jpeg.png shows the small photograph after JPEG compression,
upscaled by bicubic, by the most exact model for clean images, and by the one that `pysr upscale` chooses.
"""

import argparse
import io
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

import pysr
from pysr.evaluation.comparison import Panel, draw
from pysr.evaluation.metrics import psnr, ssim
from pysr.files import read_image, write_image
from pysr.imaging.colour import luma
from pysr.imaging.resize import resize

PHOTO = Path(__file__).with_name("chelsea.png")
EYE = (132, 85, 213, 139)  # the detail of PHOTO to magnify: left, top, right, bottom
BASELINES = ("nearest", "bicubic")  # shown first
GENERATIVE = ("pixelcnn",)  # shown last: made for faces, it draws details that no other photograph has
JPEG_QUALITY = 50  # of many images on the web


@dataclass(frozen=True)
class Result:
    """The result of one model: an image and its scores, or an error."""

    name: str
    image: Image.Image | None = None
    psnr: float = 0.0
    ssim: float = 0.0
    seconds: float = 0.0
    error: str = ""


def planes(image: Image.Image) -> torch.Tensor:
    """An RGB image as (3, H, W) float64 in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).double() / 255


def cropped(image: Image.Image, scale: int) -> Image.Image:
    """The image as RGB, cropped so that its sides are multiples of the scale."""
    return image.convert("RGB").crop((0, 0, image.width // scale * scale, image.height // scale * scale))


def shrunk(image: Image.Image, scale: int) -> Image.Image:
    """The image shrunk by MATLAB's bicubic, rounded to 8 bits."""
    low = resize(planes(image), Fraction(1, scale)).clamp(0, 1) * 255
    return Image.fromarray(low.round().byte().permute(1, 2, 0).numpy())


def model_names(scale: int) -> list[str]:
    """The deterministic models for photographs that come with weights for the scale, and the generative one."""
    models = [m for m in pysr.models() if scale in m.trained_scales]
    names = [m.name for m in models if m.domain == "photo" and not m.stochastic and m.name not in BASELINES]
    generative = [name for m in models for name in GENERATIVE if name in (m.name, *m.aliases)]
    return [*BASELINES, *names, *generative]


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """The image after JPEG compression, opened from the file, so that its compression can be told."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def jpeg_panels(low: Image.Image, original: Image.Image, scale: int) -> list[Panel]:
    """The small photograph as a JPEG file, upscaled by bicubic, for clean images, and as chosen."""
    jpeg = compressed(low, JPEG_QUALITY)
    chosen = pysr.load("auto", scale)
    best = chosen.chosen_for(low).model.name
    mended = chosen.chosen_for(jpeg).model.name
    results = [upscaled(name, jpeg, original, scale) for name in dict.fromkeys(("bicubic", best, mended))]
    panels = [Panel("original", original)]
    panels += [Panel(r.name, r.image, r.psnr, r.ssim) for r in results if r.image]
    return panels


def upscaled(name: str, low: Image.Image, original: Image.Image, scale: int) -> Result:
    try:
        upscaler = pysr.load(name, scale)
        started = time.perf_counter()
        image = upscaler.upscale(low)
        seconds = time.perf_counter() - started
    except Exception as error:  # it is shown in the table, and the other models still run
        return Result(name, error=str(error) or type(error).__name__)
    output, target = luma(planes(image)), luma(planes(original))
    return Result(name, image, psnr(output, target, shave=scale), ssim(output, target, shave=scale), seconds)


def table(results: list[Result], title: str) -> Table:
    scores = Table("model", title=title, title_justify="left")
    for heading in ("PSNR (dB)", "SSIM", "seconds"):
        scores.add_column(heading, justify="right")
    if any(result.error for result in results):
        scores.add_column("error", overflow="fold")
    for result in results:
        if result.image:
            scores.add_row(result.name, f"{result.psnr:.2f}", f"{result.ssim:.4f}", f"{result.seconds:.2f}")
        else:
            scores.add_row(result.name, "", "", "", result.error, style="red")
    return scores


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare every installed model on one photograph.")
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="default: all models for photographs")
    parser.add_argument("--detail", nargs=4, type=int, help="the part to magnify: left, top, right, bottom in pixels")
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    options = parser.parse_args()

    original = cropped(read_image(options.photo), options.scale)
    low = shrunk(original, options.scale)
    names = options.models or model_names(options.scale)
    results = []
    for name in names:
        print(f"upscaling by {name}", flush=True)
        results.append(upscaled(name, low, original, options.scale))
    detail = tuple(options.detail or (EYE if options.photo == PHOTO else ())) or "auto"

    options.out.mkdir(parents=True, exist_ok=True)
    panels = [Panel("original", original)]
    for result in results:
        if result.image:
            write_image(result.image, options.out / f"{result.name}.png")
            panels.append(Panel(result.name, result.image, result.psnr, result.ssim))
    write_image(draw(panels, detail), options.out / "comparison.png")

    write_image(draw(jpeg_panels(low, original, options.scale), detail), options.out / "jpeg.png")

    Console().print(table(results, f"{options.photo.name}, x{options.scale}"))
    print(f"The comparison is {options.out / 'comparison.png'}; {options.out / 'jpeg.png'} starts from a JPEG file")
    return 1 if any(result.error for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
