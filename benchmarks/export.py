"""Every deterministic model exported as ONNX, loaded from the file, and compared with torch: prints a table.

    python benchmarks/export.py [--models vdsr srcnn]

Each scale with weights, and each variant. Three photographs of unequal sizes go through the whole of pysr, in float32,
by the model and by its file; "difference" is the largest one of any pixel, of values from 0 to 1.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import pysr
from pysr.evaluation.report import markdown_row
from pysr.plugin import Model
from pysr.testing import photo

SIZES = ((24, 40), (61, 47), (100, 131))  # (height, width) in pixels


def measure(model: Model, scale: int, variant: str | None) -> tuple[str, ...]:
    """One row: the model, the largest difference at each size, and the size of the file."""
    upscaler = pysr.load(model.name, scale, variant=variant, device="cpu", precision="float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        pysr.export(upscaler, path)
        loaded = pysr.load(path)
        images = [photo(*sides) for sides in SIZES]
        found = [float(np.abs(loaded.upscale(image) - upscaler.upscale(image)).max()) for image in images]
        size = path.stat().st_size / 1e6
    name = f"{model.name} {variant} x{scale}" if variant else f"{model.name} x{scale}"
    return name, *(f"{difference:.1e}" for difference in found), f"{size:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", help="by default all")
    names = parser.parse_args().models
    models = [model for model in pysr.models() if not model.stochastic and (not names or model.name in names)]
    rows = []
    for model in models:
        for scale in model.trained_scales:
            for variant in model.variants or (None,):
                rows.append(measure(model, scale, variant))
                print(*rows[-1], flush=True)
    heading = ("model", *(f"{width} x {height}" for height, width in SIZES), "MB")
    print("".join(map(markdown_row, [heading, ["---"] * len(heading), *rows])))


if __name__ == "__main__":
    main()
