"""The images of old-photographs.md.

    python docs/old_photographs.py inputs --originals site-packages/skimage/data
    python docs/old_photographs.py comparisons

The first command makes photographs as people have them of three good ones that are free of rights and come with
scikit-image (pip install scikit-image): web.jpg, phone.jpg and print.jpg in the folder old-photographs beside this
file, where they are already. The second enlarges them four times by bicubic, srresnet and photo, and draws what comes
out side by side. Needs pysr-srgan and pysr-photo.
"""

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import pysr
from pysr.evaluation.comparison import Panel, draw
from pysr.files import read_image, write_image
from pysr.files.output import Output

HERE = Path(__file__).with_name("old-photographs")
MODELS = ("bicubic", "srresnet", "photo")
SCALE = 4


def halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image, quality: int) -> bytes:
    """The bytes of a JPEG file with half the colour resolution, as cameras and web pages have it."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def web(image: Image.Image) -> bytes:
    """Made small for a page, and compressed hard."""
    return as_jpeg(halved(image), 30)


def phone(image: Image.Image) -> bytes:
    """Noise of a small sensor, more of it in the dark; then sharpened and compressed, as early phones did."""
    random = np.random.default_rng(2005)
    light = (np.asarray(halved(image)) / 255) ** 2.2
    light = random.poisson(light * 400) / 400 + random.normal(0, 0.004, light.shape)  # 400 photons at white
    noisy = Image.fromarray((light.clip(0, 1) ** (1 / 2.2) * 255).round().astype(np.uint8))
    return as_jpeg(noisy.filter(ImageFilter.UnsharpMask(1.5, 80, 0)), 55)


def aged_print(image: Image.Image) -> bytes:
    """A print out of focus and faded to sepia, with grain, dust and scratches, as a scanner sees it."""
    random = np.random.default_rng(1950)
    soft = np.asarray(halved(image.convert("L").filter(ImageFilter.GaussianBlur(1.6))), np.float64)
    grain = random.normal(128, 40, soft.shape).clip(0, 255).astype(np.uint8)
    grain = np.asarray(Image.fromarray(grain).filter(ImageFilter.GaussianBlur(0.6)), np.float64) - 128
    gray = 45 + soft * 0.72 + grain * 0.3
    sepia = gray[..., None] * [1.06, 0.97, 0.80]
    scan = Image.fromarray(sepia.clip(0, 255).round().astype(np.uint8))
    drawing = ImageDraw.Draw(scan)
    width, height = scan.size
    for x in random.integers(0, width, 3):
        drawing.line([(int(x), 0), (int(x) + int(random.integers(-20, 20)), height)], fill=(238, 228, 200))
    for x, y in zip(random.integers(0, width, 40), random.integers(0, height, 40), strict=True):
        drawing.point([(int(x), int(y)), (int(x) + 1, int(y))], fill=(240, 230, 205))
    return as_jpeg(scan, 75)


@dataclass(frozen=True)
class Example:
    """One photograph of the page. detail: the part of the result to magnify: left, top, right, bottom."""

    original: str
    make: Callable[[Image.Image], bytes]
    detail: tuple[int, int, int, int]


EXAMPLES = {
    "web": Example("coffee.png", web, (560, 60, 860, 260)),
    "phone": Example("astronaut.png", phone, (360, 150, 600, 310)),
    "print": Example("camera.png", aged_print, (320, 120, 620, 320)),
}


def make_inputs(originals: Path) -> None:
    HERE.mkdir(exist_ok=True)
    for name, example in EXAMPLES.items():
        (HERE / f"{name}.jpg").write_bytes(example.make(read_image(originals / example.original).convert("RGB")))


def draw_comparisons() -> None:
    upscalers = {name: pysr.load(name, SCALE) for name in MODELS}
    for name, example in EXAMPLES.items():
        image = read_image(HERE / f"{name}.jpg")
        size = image.width * SCALE, image.height * SCALE
        panels = [Panel("as it is", image.resize(size, Image.Resampling.NEAREST))]
        panels += [Panel(model, upscaler.upscale(image)) for model, upscaler in upscalers.items()]
        write_image(draw(panels, example.detail), HERE / f"{name}-enlarged.jpg", output=Output(quality=85))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the images of old-photographs.md.")
    commands = parser.add_subparsers(dest="command", required=True)
    inputs = commands.add_parser("inputs", help="make web.jpg, phone.jpg and print.jpg")
    inputs.add_argument("--originals", type=Path, required=True, help="the folder skimage/data of scikit-image")
    commands.add_parser("comparisons", help="enlarge them and draw the results")
    options = parser.parse_args()
    if options.command == "inputs":
        make_inputs(options.originals)
    else:
        draw_comparisons()


if __name__ == "__main__":
    main()
