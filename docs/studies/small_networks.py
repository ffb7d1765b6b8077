"""Small networks: does a better pre-upsampler help, is a chain better than one network, what do VDSR's ideas add?

    python docs/studies/small_networks.py --train T91 BSDS200 BSDS500test --data Set5 --work out/study

Trains seven small VDSRs (20 layers of 32 channels) for equally many steps, measures them and the installed models, and
writes small_networks.md and small_networks.png beside this file. Run the command again to resume a training that was
stopped. Needs pysr-srcnn, pysr-vdsr, pysr-anchored and matplotlib.
"""

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

import pysr
from pysr import Tiling, Upscaler
from pysr.evaluation.protocols import build_metrics, measure
from pysr.files import image_files
from pysr.files.datasets import read_planes
from pysr.plugin import Model
from pysr.training import TrainingOptions, recipe, train
from pysr.upscaling.loading import bicubic_stage, make_stage
from pysr.upscaling.weights import load_weights
from pysr_vdsr.network import VDSR
from pysr_vdsr.plugin import pysr_models

HERE = Path(__file__).parent
SCALES = (2, 3, 4)
WIDTH = 32
HARDWARE = torch.device("cpu"), torch.float32


class Plain(VDSR):
    """VDSR without the sum: the last layer gives the image itself."""

    def forward(self, enlarged: Tensor) -> Tensor:
        output: Tensor = self.residual(enlarged)
        return output


@dataclass(frozen=True)
class Trained:
    """One training of the study. scales: trained in one network. pre_upsampler: replaces bicubic."""

    network: Callable[[], nn.Module]
    scales: tuple[int, ...] = SCALES
    pre_upsampler: str | None = None


TRAININGS = {
    "residual, all scales": Trained(lambda: VDSR(20, WIDTH)),
    "plain, all scales": Trained(lambda: Plain(20, WIDTH)),
    "after SRCNN, all scales": Trained(lambda: VDSR(20, WIDTH), pre_upsampler="srcnn"),
    "residual, x2 only": Trained(lambda: VDSR(20, WIDTH), (2,)),
    "residual, x3 only": Trained(lambda: VDSR(20, WIDTH), (3,)),
    "residual, x4 only": Trained(lambda: VDSR(20, WIDTH), (4,)),
    "16 layers, x2 only": Trained(lambda: VDSR(16, WIDTH), (2,)),
}


def model_of(trained: Trained) -> Model:
    (model,) = pysr_models()
    return replace(model, network=lambda scale, variant: trained.network())


def macs(depth: int, width: int) -> int:
    """Multiplications per output pixel of a VDSR."""
    return 9 * width * (2 + (depth - 2) * width)


def stages(name: str, folder: Path, scale: int, pre_upsampler: str | None = None) -> list[object]:
    trained = TRAININGS[name]
    network = trained.network()
    load_weights(network, folder / "last.safetensors")
    return [
        make_stage(model_of(trained), scale, network, HARDWARE, pre_upsampler=pre_upsampler or trained.pre_upsampler)
    ]


def score(parts: Sequence[object], scale: int, data: Path) -> float:
    """Mean PSNR in dB of a chain of stages."""
    about = replace(parts[0].model, scales=(scale,))  # type: ignore[attr-defined]
    upscaler = Upscaler(about, scale, tuple(parts), Tiling(), alpha=bicubic_stage(scale))
    metrics = build_metrics(["psnr"])
    return fmean(measure(upscaler, path.stem, read_planes(path), metrics).psnr for path in image_files(data))


def installed(data: Path) -> dict[str, dict[int, float]]:
    """PSNR of the shipped weights, alone, in chains, and with other starts."""
    found: dict[str, dict[int, float]] = {}
    for names, scales, pre_upsampler in (
        (["bicubic", "srcnn", "aplus", "vdsr"], SCALES, None),
        (["vdsr"], SCALES, "srcnn"),
        (["vdsr"], SCALES, "aplus"),
        (["srcnn+srcnn", "aplus+aplus", "srcnn+vdsr", "vdsr+srcnn", "vdsr+vdsr"], (4,), None),
    ):
        options = {"precision": "float32", "pre_upsampler": pre_upsampler}
        for name in names:
            scored = pysr.evaluate([pysr.load(name, scale, **options) for scale in scales], data, metrics=["psnr"])
            label = f"{name}, pre_upsampler {pre_upsampler}" if pre_upsampler else name
            found[label] = {result.scale: result.psnr for evaluation in scored for result in evaluation.results}
    return found


def short_trainings(folders: Sequence[Path], data: Path, work: Path, steps: int) -> dict[str, dict[int, float]]:
    found = {}
    for number, (name, trained) in enumerate(TRAININGS.items()):
        out = work / f"{number}"
        short = replace(recipe("vdsr"), steps=steps, validate_every=max(steps // 6, 1), scales=trained.scales)
        options = TrainingOptions(seed=1, device="cpu", pre_upsampler=trained.pre_upsampler)
        train(model_of(trained), folders, out, recipe=short, validation=data, options=options, resume=True)
        found[name] = {s: score(stages(name, out, s), s, data) for s in trained.scales}
        print(name, found[name], flush=True)
    half = stages("16 layers, x2 only", work / "6", 2)
    found["16 layers, x2 and x2 again"] = {4: score(half * 2, 4, data)}
    found["residual, SRCNN's result put in front"] = {
        s: score(stages("residual, all scales", work / "0", s, "srcnn"), s, data) for s in SCALES
    }
    return found


def curves(work: Path) -> dict[str, list[tuple[int, float]]]:
    """PSNR at the largest scale by step."""
    found = {}
    for number, (name, trained) in enumerate(TRAININGS.items()):
        with (work / f"{number}" / "log.csv").open(newline="") as file:
            key = f"psnr_x{trained.scales[-1]}"
            found[name] = [(int(row["step"]), float(row[key])) for row in csv.DictReader(file)]
    return found


def draw(lines: dict[str, list[tuple[int, float]]], target: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name, points in lines.items():
        if TRAININGS[name].scales[-1] == SCALES[-1]:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="step", ylabel="PSNR in dB, Set5 x4", title="Small VDSRs at equal steps")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(target, dpi=110)


def table(scores: dict[str, dict[int, float]], costs: dict[str, int] | None = None) -> str:
    head = ["", *(f"x{scale}" for scale in SCALES), *(["thousand multiplications per pixel"] if costs else [])]
    lines = [head, ["---"] * len(head)]
    for name, found in scores.items():
        cells = [f"{found[scale]:.3f}" if scale in found else "" for scale in SCALES]
        lines.append([name, *cells, *([f"{costs[name] / 1000:.0f}" if costs[name] else "-"] if costs else [])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(facts: dict[str, dict[str, dict[int, float]]], steps: int) -> str:
    short, shipped = facts["short"], facts["shipped"]

    def only(*names: str) -> dict[str, dict[int, float]]:
        return {name: {**short, **shipped}[name] for name in names}

    srcnn, vdsr = 57_184, macs(20, 64)
    chains = {
        "srcnn": srcnn,
        "srcnn+srcnn": srcnn + srcnn // 4,
        "aplus": 0,  # no convolutional network: its cost is not counted in multiplications
        "aplus+aplus": 0,
        "vdsr": vdsr,
        "srcnn+vdsr": vdsr + srcnn // 4,
        "vdsr+srcnn": srcnn + vdsr // 4,
        "vdsr+vdsr": vdsr + vdsr // 4,
    }
    at_four = {name: {4: shipped[name][4]} for name in chains}
    return (
        (HERE / "small_networks.template.md")
        .read_text()
        .format(
            steps=steps,
            start=table(
                only("bicubic", "srcnn", "aplus", "vdsr", "vdsr, pre_upsampler srcnn", "vdsr, pre_upsampler aplus")
            ),
            retrained=table(
                only("residual, all scales", "residual, SRCNN's result put in front", "after SRCNN, all scales")
            ),
            chains=table(at_four, chains),
            equal=table(
                only("residual, x4 only", "16 layers, x2 and x2 again"),
                {"residual, x4 only": macs(20, WIDTH), "16 layers, x2 and x2 again": macs(16, WIDTH) * 5 // 4},
            ),
            plain=table(only("residual, all scales", "plain, all scales")),
            scales=table(only("residual, all scales", "residual, x2 only", "residual, x3 only", "residual, x4 only")),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the study of small networks.")
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="folders of training images")
    parser.add_argument("--data", type=Path, required=True, help="Set5")
    parser.add_argument("--work", type=Path, default=Path("out/study"))
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    facts = {
        "short": short_trainings(options.train, options.data, options.work, options.steps),
        "shipped": installed(options.data),
    }
    (options.work / "scores.json").write_text(json.dumps(facts, indent=2))
    draw(curves(options.work), HERE / "small_networks.png")
    (HERE / "small_networks.md").write_text(page(facts, options.steps))
    print(f"wrote {HERE / 'small_networks.md'}")


if __name__ == "__main__":
    main()
