"""Networks of a few parameters and how to train them, for several test files."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pysr.plugin import Model, Recipe
from pysr.training.loop import train

Install = Callable[..., None]


class Sharpen(nn.Module):
    """The enlarged image plus one convolution of it."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, enlarged: Tensor) -> Tensor:
        return enlarged + self.conv(enlarged)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))

    def forward(self, enlarged: Tensor) -> Tensor:
        return enlarged + self.body(enlarged)


def recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "losses": {"l1": 1.0},
        "optimizers": lambda network: [torch.optim.Adam(network.parameters(), 0.01)],
        "schedule": lambda done: 1.0,
        "steps": 20,
        "batch": 6,
        "patch": 12,
        "scales": (2, 3),
        "validate_every": 5,
    }
    return Recipe(**(values | changes))


def tiny(network: Callable[[], nn.Module] = Sharpen, about: dict[str, Any] | None = None, **changes: Any) -> Model:
    values = {"colour": "luma", "preprocess": ("luma", "bicubic"), "receptive_field": 1} | (about or {})
    values["recipes"] = {"shipped": lambda: recipe(**changes)}
    return Model("tiny", (2, 3), lambda scale, variant: network(), "for tests", **values)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        found = list(csv.DictReader(file, restkey="too many", restval="too few"))
    assert all("too many" not in row and "too few" not in row.values() for row in found)
    return found


def losses(out: Path) -> list[float]:
    return [float(row["loss"]) for row in rows(out)]


def run(pictures: Path, out: Path, **options: Any) -> Path:
    return train("tiny", [pictures], out, device="cpu", **({"precision": "float32"} | options))
