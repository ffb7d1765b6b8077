"""The study of ambiguity: three heads on a digit that belongs in one of two corners (the paper's figure 6).

    python -m pysr_pixelcnn.corners --data MNIST --out DIR

MNIST: the folder with t10k-images-idx3-ubyte.gz. Writes table.json, the fractions of test digits for which a head
lights exactly one corner, both or none, and corners.png, which shows some. A corner is lit if its mean exceeds 20 % of
the digit's. All heads use the same conditioning network: squared error, cross-entropy of single pixels, and PixelCNN.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr.plugin import Model, load_weights
from pysr.training import Panel, contact_sheet, train

from .counter import counter
from .digits import SIDE, Head, place, read_digits
from .plugin import HEADS

NAMES = ("pixelcnn", "cross_entropy", "l2")
LIT = 0.2  # of the digit's mean
SHOWN = 7  # digits in the image
BATCH = 50  # digits at a time, for memory

Table = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare three heads on a digit that may be in either corner.")
    parser.add_argument("--data", type=Path, required=True, help="folder of MNIST's idx files")
    parser.add_argument("--out", type=Path, required=True, help="folder for table.json and corners.png")
    parser.add_argument("--count", type=int, default=1000, help="test digits (default: 1000)")
    parser.add_argument("--retrain", action="store_true", help="train the heads first, into OUT: hours on a CPU")
    parser.add_argument("--seed", type=int, default=0, help="seed of all samples (default: 0)")
    options = parser.parse_args()
    if options.count < 1:
        parser.error(f"--count is {options.count}; give 1 or more")
    try:
        digits = read_digits(options.data, "t10k")[: options.count]
        trained = {name: retrained(name, options.data, options.out) for name in NAMES} if options.retrain else {}
        outputs = {name: upscaled(name, digits, options.seed, trained.get(name)) for name in NAMES}
    except pysr.PysrError as error:
        sys.exit(f"corners: error: {error}")
    table = {name: fractions(output, digits) for name, output in outputs.items()}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.json").write_text(json.dumps(table, indent=2), encoding="utf-8")
    truths = place(digits, torch.Generator().manual_seed(options.seed))
    sheet(digits, outputs, truths).save(options.out / "corners.png")
    print(as_text(table), f"\n{len(digits)} digits; wrote {options.out / 'table.json'} and corners.png")


def retrained(name: str, data: Path, out: Path) -> Path:
    """Train a head, or resume its training; returns the file of its weights."""
    from .train import head_recipe

    model: str | Model = "pixelcnn-mnist-corners"
    if name != "pixelcnn":
        outputs, losses = (1, {"mse": 100.0}) if name == "l2" else (256, {})
        recipes = {"shipped": lambda: head_recipe(losses)}
        model = Model(name, (2,), lambda scale, variant: Head(outputs), "", colour="luma", recipes=recipes)
    return train(model, [data], out / name, resume=True, progress=counter(f"{name}: steps"))


def upscaled(head: str, digits: Tensor, seed: int, weights: Path | None = None) -> Tensor:
    """The output of a head.

    Args:
        head: One of `NAMES`.
        digits: (N, 1, 28, 28) in [0, 1].
        seed: Seed of the samples.
        weights: Weights instead of the shipped ones.

    Returns:
        (N, 1, 56, 56) in [0, 1].
    """
    progress = counter(f"{head}: digits")
    if head == "pixelcnn":
        upscaler, images = pysr.load("pixelcnn-mnist-corners", weights=weights), []
        for number, digit in enumerate(digits):  # each with its own seed: image ids start at 0 in every call
            images.append(upscaler.upscale(digit, seed=seed * len(digits) + number))
            progress(number + 1, len(digits))
        return torch.stack(images)
    network = load_head(head, weights)
    generator, outputs = torch.Generator().manual_seed(seed), []
    for first in range(0, len(digits), BATCH):
        output = network(digits[first : first + BATCH])
        outputs.append(output.clamp(0, 1) if head == "l2" else sample_independently(output, generator))
        progress(first + len(output), len(digits))
    return torch.cat(outputs)


def load_head(name: str, weights: Path | None) -> nn.Module:
    """The head "l2" or "cross_entropy" with its weights."""
    network = Head(1 if name == "l2" else 256).eval().requires_grad_(False)
    load_weights(network, weights or HEADS[name])
    return network


def sample_independently(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Sample each pixel on its own from (N, 256, H, W) logits: (N, 1, H, W) in [0, 1]."""
    count, levels, height, width = logits.shape
    probabilities = logits.softmax(1).permute(0, 2, 3, 1).reshape(-1, levels)
    return torch.multinomial(probabilities, 1, generator=generator).view(count, 1, height, width) / 255


def lit(outputs: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether the top left and the bottom right corner is lit, (N,) bool each, in (N, 1, 56, 56) outputs."""
    threshold = LIT * digits.mean((1, 2, 3))
    top, bottom = outputs[..., :SIDE, :SIDE], outputs[..., SIDE:, SIDE:]
    return top.mean((1, 2, 3)) > threshold, bottom.mean((1, 2, 3)) > threshold


def fractions(outputs: Tensor, digits: Tensor) -> dict[str, float]:
    """Return the fractions of outputs with one corner lit, both or none; top_left: share of it among those with one."""
    top, bottom = lit(outputs, digits)
    one = top ^ bottom
    count = len(digits)
    return {
        "one": int(one.sum()) / count,
        "both": int((top & bottom).sum()) / count,
        "none": int((~top & ~bottom).sum()) / count,
        "top_left": int((one & top).sum()) / max(int(one.sum()), 1),
    }


def sheet(digits: Tensor, outputs: Mapping[str, Tensor], truths: Tensor) -> Image.Image:
    """Draw a row for each of the first digits: input, the three results, and one of the two equally likely truths."""
    panels = []
    for number in range(min(SHOWN, len(digits))):
        canvas = torch.zeros(1, 2 * SIDE, 2 * SIDE)
        canvas[:, SIDE // 2 : SIDE // 2 + SIDE, SIDE // 2 : SIDE // 2 + SIDE] = digits[number]
        columns = {
            "input": canvas,
            "squared error": outputs["l2"][number],
            "cross-entropy": outputs["cross_entropy"][number],
            "PixelCNN": outputs["pixelcnn"][number],
            "one of two truths": truths[number],
        }
        panels += [Panel(title, gray(planes)) for title, planes in columns.items()]
    return contact_sheet(panels, columns=5)


def gray(planes: Tensor) -> Image.Image:
    """(1, H, W) in [0, 1] as an 8-bit image."""
    return Image.fromarray((planes[0] * 255).round().byte().numpy())


def as_text(table: Table) -> str:
    """The table for a terminal."""
    lines = [f"{'':15}{'one':>8}{'both':>8}{'none':>8}   top left of one"]
    for name, row in table.items():
        cells = "".join(f"{row[key]:8.1%}" for key in ("one", "both", "none"))
        lines.append(f"{name:15}{cells}   {row['top_left']:.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
