"""Bandwidth: is a photograph that is sent small and enlarged by the receiver better than one that is compressed more?

    python docs/studies/bandwidth.py --data BSD100 --limit 20 --work out/bandwidth

Compresses each image by JPEG, WebP and AVIF; shrinks it by 2 and 4 as `pysr shrink` does, and restores it by the
installed models; compares all with the original; and writes bandwidth.md and bandwidth.png beside this file. Run again,
it measures only what is new: other images, or a model that has been installed since. Needs pysr-srgan, pysr-perceptual
and matplotlib.
"""

import argparse
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import pysr
from pysr import Upscaler
from pysr.evaluation.metrics import psnr, ssim
from pysr.evaluation.protocols import build_metrics
from pysr.files import image_encoder, image_files, read_image
from pysr.files.shrink import shrink
from pysr.imaging.colour import luma

HERE = Path(__file__).parent
MODELS = ("bicubic", "srresnet", "photo")  # those that are installed
LOW = 0.3  # bits per pixel below which sending small is meant to help
PLAIN = {
    "JPEG": ({"format": "JPEG", "optimize": True, "progressive": True}, (1, 3, 5, 8, 12, 18, 26, 40, 60, 80)),
    "WebP": ({"format": "WEBP", "method": 6}, (1, 5, 12, 25, 45, 65, 80)),
    "AVIF": ({"format": "AVIF"}, (1, 5, 12, 20, 30, 40, 55, 70)),
}
SHRUNK = {  # title: scale, ending of the file, qualities
    "x2": (2, ".webp", (10, 30, 50, 70, 85, 95)),
    "x2 AVIF": (2, ".avif", (10, 25, 40, 55, 70)),
    "x4": (4, ".webp", (10, 30, 50, 70, 85, 95)),
}
MEASURES = {  # title, whether more is better
    "psnr": ("PSNR of luma (dB)", True),
    "ssim": ("SSIM of luma", True),
    "perceptual": ("perceptual distance", False),
}
Distance = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Point:
    """One quality of one method: means over the images. bits: per pixel of the original."""

    bits: float
    psnr: float
    ssim: float
    perceptual: float


def planes(image: Image.Image) -> Tensor:
    """An image as (3, H, W) float64 in [0, 1]."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).double() / 255


def measured(length: int, output: Image.Image, truth: Tensor, distance: Distance) -> list[float]:
    """Bits per pixel and the scores of an image, over its whole area."""
    result = planes(output)
    bits = 8 * length / (truth.shape[1] * truth.shape[2])
    return [bits, psnr(luma(result), luma(truth)), ssim(luma(result), luma(truth)), distance(result, truth)]


def plainly(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    for codec, (options, qualities) in PLAIN.items():
        for quality in qualities:
            file = io.BytesIO()
            image.save(file, **options, quality=quality)
            yield f"{codec}:{quality}", file.getvalue()


def upscalers() -> dict[tuple[str, int], Upscaler]:
    installed = {model.name: model for model in pysr.models()}
    return {
        (name, scale): pysr.load(name, scale, device="cpu")
        for name in MODELS
        for scale in sorted({scale for scale, _, _ in SHRUNK.values()})
        if name in installed and scale in installed[name].trained_scales
    }


def measure_image(path: Path, models: dict[tuple[str, int], Upscaler], known: dict[str, list[float]]) -> None:
    """Add what is missing to the scores of an image, by "method:quality"."""
    image = read_image(path).convert("RGB")
    truth = planes(image)
    (distance,) = build_metrics(["perceptual"]).values()
    for key, data in plainly(image):
        if key not in known:
            known[key] = measured(len(data), Image.open(io.BytesIO(data)), truth, distance)
    for title, (scale, ending, qualities) in SHRUNK.items():
        encode = image_encoder(shrink(image, scale), f"small{ending}")
        names = [name for name, at in models if at == scale]
        for quality in qualities:
            keys = {name: f"{title} + {name}:{quality}" for name in names}
            if known.keys() >= set(keys.values()):
                continue
            file = io.BytesIO()
            encode(file, quality)
            small = Image.open(file).convert("RGB")
            for name in names:
                restored = models[name, scale].upscale(small).crop((0, 0, *image.size))
                known[keys[name]] = measured(len(file.getvalue()), restored, truth, distance)


def measure(paths: Sequence[Path], work: Path) -> dict[str, list[Point]]:
    """The curve of every method: its points by rising quality."""
    work.mkdir(parents=True, exist_ok=True)
    models = upscalers()
    weights = "".join(file.sha256 for (_, scale), up in models.items() if (file := up.model.weights_for(scale)))
    scores = []
    for number, path in enumerate(paths, 1):
        mark = zlib.crc32(path.read_bytes() + weights.encode())  # scores of other weights are not taken up again
        file = work / f"{path.stem}-{mark:08x}.json"
        known: dict[str, list[float]] = json.loads(file.read_text()) if file.exists() else {}
        measure_image(path, models, known)
        file.write_text(json.dumps(known))
        scores.append(known)
        print(f"{number}/{len(paths)} {path.name}", flush=True)
    curves: dict[str, list[Point]] = {}
    for key in scores[0]:
        if all(key in known for known in scores):
            means = [fmean(values) for values in zip(*(known[key] for known in scores), strict=True)]
            curves.setdefault(key.rpartition(":")[0], []).append(Point(*means))
    order = [*PLAIN, *(f"{title} + {name}" for title in SHRUNK for name in MODELS)]
    return {method: sorted(curves[method], key=lambda point: point.bits) for method in order if method in curves}


def bits_at(curve: Sequence[Point], measure: str, value: float) -> float | None:
    """Bits per pixel at which a curve has a value, its logarithm interpolated; None beyond the curve."""
    for low, high in pairwise(curve):
        a, b = getattr(low, measure), getattr(high, measure)
        if min(a, b) <= value <= max(a, b) and a != b:
            part = (value - a) / (b - a)
            return math.exp((1 - part) * math.log(low.bits) + part * math.log(high.bits))
    return None


def saving(curve: Sequence[Point], other: Sequence[Point], measure: str, bits: float) -> str:
    """How much less a curve takes at ``bits`` than another one of the same value, in per cent; "" beyond the curves."""
    value = value_at(curve, measure, bits)
    needed = None if value is None else bits_at(other, measure, value)
    return "" if needed is None else f"{100 * (1 - bits / needed):.0f} %"


def value_at(curve: Sequence[Point], measure: str, bits: float) -> float | None:
    for low, high in pairwise(curve):
        if low.bits <= bits <= high.bits:
            part = math.log(bits / low.bits) / math.log(high.bits / low.bits)
            return float((1 - part) * getattr(low, measure) + part * getattr(high, measure))
    return None


def draw(curves: dict[str, list[Point]], target: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(14, 5), layout="constrained")
    colours = {"JPEG": "black", "WebP": "tab:brown", "AVIF": "tab:gray"}
    colours |= {"bicubic": "tab:blue", "srresnet": "tab:green", "photo": "tab:red"}
    for ax, (measure, (label, _)) in zip(axes, MEASURES.items(), strict=True):
        for method, points in curves.items():
            title, _, name = method.rpartition(" + ")
            line = {"": "-", "x2": "--", "x2 AVIF": "-.", "x4": ":"}[title]
            values = [getattr(point, measure) for point in points]
            ax.plot([point.bits for point in points], values, line, color=colours[name], marker=".", label=method)
        ax.axvline(LOW, color="lightgray")
        ax.set(xlabel="bits per pixel of the original", title=label, xscale="log", xlim=(0.03, 1.2))
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(target, dpi=90)


def rows(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines))


def savings_table(curves: dict[str, list[Point]], measure: str, rates: Sequence[float]) -> str:
    others = [method for method in curves if method != "JPEG"]
    lines = [[method, *(saving(curves[method], curves["JPEG"], measure, rate) for rate in rates)] for method in others]
    return rows(["", *(f"{rate:g}" for rate in rates)], lines)


def values_table(curves: dict[str, list[Point]], rates: Sequence[float]) -> str:
    lines = []
    for method, points in curves.items():
        cells = []
        for rate in rates:
            found = [value_at(points, measure, rate) for measure in MEASURES]
            cells.append("" if None in found else "{:.2f} / {:.3f} / {:.3f}".format(*found))
        lines.append([method, *cells])
    return rows(["", *(f"{rate:g}" for rate in rates)], lines)


def page(curves: dict[str, list[Point]], images: str, command: str) -> str:
    rates = (0.06, 0.1, 0.15, 0.2, 0.3)
    text = (HERE / "bandwidth.template.md").read_text()
    return text.format(
        command=command,
        images=images,
        models=", ".join(f"`{name}`" for name in MODELS if any(method.endswith(f" + {name}") for method in curves)),
        values=values_table(curves, rates),
        perceptual=savings_table(curves, "perceptual", rates),
        psnr=savings_table(curves, "psnr", rates),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the study of bandwidth.")
    parser.add_argument("--data", type=Path, required=True, help="BSD100")
    parser.add_argument("--limit", type=int, help="use this many images, evenly spaced; default: all")
    parser.add_argument("--work", type=Path, default=Path("out/bandwidth"))
    options = parser.parse_args()
    paths = image_files(options.data)
    images = f"the {len(paths)} images of {options.data.name}"
    if options.limit:
        paths = paths[:: max(1, len(paths) // options.limit)][: options.limit]
        images = f"{len(paths)} of {images}, evenly spaced"
    curves = measure(paths, options.work)
    (options.work / "curves.json").write_text(json.dumps({k: [vars(p) for p in v] for k, v in curves.items()}))
    draw(curves, HERE / "bandwidth.png")
    limit = f" --limit {options.limit}" if options.limit else ""
    (HERE / "bandwidth.md").write_text(page(curves, images, f"--data {options.data.name}{limit}"))
    print(f"wrote {HERE / 'bandwidth.md'}")


if __name__ == "__main__":
    main()
