"""What does the GAN add? SRResNet fine-tuned with squared error or features, with and without an adversarial loss.

    python docs/studies/adversarial.py --train T91 BSDS200 BSDS500test --data Set14 --work out/adversarial

Writes adversarial.md, adversarial.png (one photograph by each) and adversarial-plot.png beside this file. Run the
command again to resume a training that was stopped. Needs pysr-srgan, pysr-perceptual and matplotlib.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import pysr
from pysr.evaluation.comparison import Panel, draw
from pysr.evaluation.plot import write_plot
from pysr.evaluation.protocols import Evaluation
from pysr.files import read_image, write_image
from pysr.imaging import degrade
from pysr.plugin import Recipe
from pysr.registry import registry
from pysr.training import TrainingOptions, recipe, train
from pysr.upscaling.upscaler import Upscaler

HERE = Path(__file__).parent
PHOTO, DETAIL = HERE.parents[1] / "examples" / "chelsea.png", (132, 85, 213, 139)
SCALE = 4
METRICS = ("psnr", "ssim", "perceptual")
START = "srresnet"
PIXELS = {"mse": 100.0}
FEATURES = {"l1": 20.0, "perceptual:relu1_2,relu2_2,relu3_4,relu4_4,relu5_1,unit,shift8": 7.0}
ADVERSARY = {"projected": 0.3}
GRIDS = {"checkerboard:4": 100.0}  # the same for all: without it features draw grids, which hide everything else
RUNS = {
    "squared error": PIXELS | GRIDS,
    "squared error, adversary": PIXELS | ADVERSARY | GRIDS,
    "features": FEATURES | GRIDS,
    "features, adversary": FEATURES | ADVERSARY | GRIDS,
}


def short_recipe(losses: dict[str, float], steps: int) -> Recipe:
    shipped = recipe("srgan")
    assert isinstance(shipped, Recipe)
    return replace(shipped, losses=losses, steps=steps, validate_every=steps)


def trained(folders: Sequence[Path], work: Path, steps: int) -> dict[str, Path]:
    """Train by each set of losses; returns the files of the weights."""
    start = registry().model(START).weights[SCALE].file
    options = TrainingOptions(seed=1, weights=start, device="cpu", precision="bfloat16")
    return {
        name: train(
            "srgan",
            folders,
            work / f"{number}",
            recipe=short_recipe(losses, steps),
            options=options,
            resume=True,
        )
        for number, (name, losses) in enumerate(RUNS.items())
    }


def measured(files: dict[str, Path], data: Path) -> list[Evaluation]:
    (start,) = pysr.evaluate([START], data, [SCALE], metrics=METRICS)
    runs = [
        replace(pysr.evaluate([pysr.load("srgan", SCALE, weights=file)], data, metrics=METRICS)[0], model=name)
        for name, file in files.items()
    ]
    return [replace(start, model="as it began"), *runs]


def draw_comparison(files: dict[str, Path]) -> None:
    """Downscale the photograph, and draw what each makes of it."""
    pixels = torch.from_numpy(np.array(read_image(PHOTO).convert("RGB"))).permute(2, 0, 1)
    original = degrade.crop_to_multiple(pixels, SCALE)
    low = (degrade.bicubic(original.double(), SCALE).clamp(0, 255)).round().byte()
    upscalers: dict[str, Upscaler] = {"as it began": pysr.load(START, SCALE)}
    upscalers |= {name: pysr.load("srgan", SCALE, weights=file) for name, file in files.items()}
    images = {"original": original, **{name: upscaler.upscale(low) for name, upscaler in upscalers.items()}}
    panels = [Panel(name, Image.fromarray(image.permute(1, 2, 0).numpy())) for name, image in images.items()]
    write_image(draw(panels, DETAIL), HERE / "adversarial.png")


def table(evaluations: Sequence[Evaluation]) -> str:
    lines = ["| | PSNR in dB | SSIM | perceptual distance |", "|---|---|---|---|"]
    for evaluation in evaluations:
        psnr, ssim, perceptual = (evaluation.results[0].scores[name] for name in METRICS)
        lines.append(f"| {evaluation.model} | {psnr:.2f} | {ssim:.4f} | {perceptual:.4f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the study of the adversarial loss.")
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="folders of training images")
    parser.add_argument("--data", type=Path, required=True, help="Set14")
    parser.add_argument("--work", type=Path, default=Path("out/adversarial"))
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    files = trained(options.train, options.work, options.steps)
    evaluations = measured(files, options.data)
    draw_comparison(files)
    write_plot(evaluations, HERE / "adversarial-plot.png")
    text = (HERE / "adversarial.template.md").read_text()
    (HERE / "adversarial.md").write_text(text.format(steps=options.steps, table=table(evaluations)))
    print(f"wrote {HERE / 'adversarial.md'}")


if __name__ == "__main__":
    main()
