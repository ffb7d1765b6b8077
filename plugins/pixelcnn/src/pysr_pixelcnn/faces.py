"""Measure the model of faces: bits per sub-pixel, and how well downscaled samples match their input.

    python -m pysr_pixelcnn.faces --data faces.npz [--count 400]

faces.npz: an array ``val`` of (N, 32, 32, 3) uint8.
"""

import argparse
import math
import sys
from pathlib import Path

import torch

import pysr
from pysr.plugin import load_weights
from pysr.training import bicubic_downscale, read_array

from .counter import counter
from .network import build_faces, cross_entropies
from .plugin import FACES

SCALE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure pixelcnn-faces.")
    parser.add_argument("--data", type=Path, required=True, help=".npz file with an array val of (N, 32, 32, 3) uint8")
    parser.add_argument("--count", type=int, default=400, help="faces (default: 400)")
    options = parser.parse_args()
    if options.count < 1:
        parser.error(f"--count is {options.count}; give 1 or more")
    try:
        facts = measured(options.data, options.count)
    except pysr.PysrError as error:
        sys.exit(f"faces: error: {error}")
    print("\n".join(f"{name:54}{value:.4f}" for name, value in facts.items()))


@torch.inference_mode()
def measured(data: Path, count: int) -> dict[str, float]:
    """Measure the model on the first faces of a file.

    Args:
        data: An .npz file with an array ``val`` of (N, 32, 32, 3) uint8.
        count: Number of faces.

    Returns:
        Means over the faces, by the name of the measure.
    """
    high = torch.from_numpy(read_array(data, "val")[:count]).permute(0, 3, 1, 2).float() / 255
    low = (bicubic_downscale(high, SCALE).clamp(0, 1) * 255).round() / 255
    network = build_faces(SCALE).eval()
    load_weights(network, FACES)
    upscaler = pysr.load("pixelcnn-faces")
    bits, alone, consistency = [], [], []
    progress = counter("measured faces")
    for number, (small, large) in enumerate(zip(low, high, strict=True)):
        bits.append(upscaler.bits_per_dim(small, large))
        alone.append(float(cross_entropies(network, small[None], large[None])["conditioning"]) / math.log(2))
        sample = upscaler.upscale(small, seed=number)
        consistency.append(float((bicubic_downscale(sample[None], SCALE) - small).square().mean()))
        progress(number + 1, len(high))
    return {
        "bits per sub-pixel": sum(bits) / len(high),
        "bits per sub-pixel by the conditioning network alone": sum(alone) / len(high),
        "consistency: mean squared error of downscaled samples": sum(consistency) / len(high),
    }


if __name__ == "__main__":
    main()
