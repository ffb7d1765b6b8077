"""Networks of a few parameters and how to train them, for several test files."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import pysr.training
from pysr.plugin import Model, Recipe
from pysr.training import TrainingOptions, train

Install = Callable[..., None]


class Sharpen(nn.Module):
    """The enlarged image plus one convolution of it."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, enlarged: Tensor) -> Tensor:
        output: Tensor = enlarged + self.conv(enlarged)
        return output


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))

    def forward(self, enlarged: Tensor) -> Tensor:
        output: Tensor = enlarged + self.body(enlarged)
        return output


def recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "losses": {"l1": 1.0},
        "optimizers": lambda network: [torch.optim.Adam(network.parameters(), 0.01)],
        "schedule": lambda progress: 1.0,
        "steps": 20,
        "batch": 6,
        "patch": 12,
        "scales": (2, 3),
        "validate_every": 5,
    }
    return Recipe(**(values | changes))


def tiny(network: Callable[[], nn.Module] = Sharpen, about: dict[str, Any] | None = None, **changes: Any) -> Model:
    values: dict[str, Any] = {"colour": "luma", "preprocess": ("luma", "bicubic"), "receptive_field": 1} | (about or {})
    values["recipes"] = {"shipped": lambda: recipe(**changes)}
    return Model("tiny", (2, 3), lambda scale, variant: network(), "for tests", **values)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        found = list(csv.DictReader(file, restkey="too many", restval="too few"))
    assert all("too many" not in row and "too few" not in row.values() for row in found)
    return found


def losses(out: Path) -> list[float]:
    return [float(row["loss"]) for row in rows(out)]


def run(
    pictures: Path,
    out: Path,
    *,
    model: str | Model = "tiny",
    recipe: str | None = None,
    recipe_options: Mapping[str, str] | None = None,
    **given: Any,
) -> Path:
    """Train on the CPU in float32. given: fields of TrainingOptions, values of the recipe, and arguments of `train`."""
    options: dict[str, Any] = {"device": "cpu", "precision": "float32"}
    options |= {item.name: given.pop(item.name) for item in fields(TrainingOptions) if item.name in given}
    arguments = {name: given.pop(name) for name in ("validation", "resume", "progress") if name in given}
    chosen = replace(pysr.training.recipe(model, recipe, **(recipe_options or {})), **given)
    return train(model, [pictures], out, recipe=chosen, options=TrainingOptions(**options), **arguments)
