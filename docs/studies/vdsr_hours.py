"""PSNR of VDSR against the hours of its training: draws vdsr_hours.png from vdsr_hours.csv. Needs matplotlib.

    python docs/studies/vdsr_hours.py

The rows "from scratch" are the log of a training by the recipe with seed 1 and ``ema_decay=0.98``, validated on Set5
(hours of processor time, one core); the others are the files of the stages that docs/training.md lists.
"""

import csv
from pathlib import Path

import matplotlib as mpl

HERE = Path(__file__).parent
PAPER = {"x2": 37.53, "x3": 33.66, "x4": 31.35}


def main() -> None:
    mpl.use("Agg")
    from matplotlib import pyplot

    with (HERE / "vdsr_hours.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, all_axes = pyplot.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
    for axes, (scale, paper) in zip(all_axes, PAPER.items(), strict=True):
        for stage, style in (("from scratch", "-"), ("stages", "o--")):
            points = [(float(row["hours"]), float(row[scale])) for row in rows if row["stage"] == stage]
            axes.plot(*zip(*points, strict=True), style, label=stage)
        axes.axhline(paper, color="gray", linestyle=":", label="the paper")
        axes.set(xscale="log", title=scale, xlabel="hours of one core", ylim=(paper - 2, paper + 0.1))
    all_axes[0].set_ylabel("PSNR on Set5, dB")
    all_axes[0].legend(loc="lower right")
    figure.savefig(HERE / "vdsr_hours.png", dpi=90)


if __name__ == "__main__":
    main()
