"""The script that writes docs/results.md."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.nn import Upsample

from pysr.plugin import Model
from pysr.testing import photo

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "results.py"
VDSR = "| VDSR in its paper | 37.53 / 0.9587 | 33.66 / 0.9213 | 31.35 / 0.8838 |"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the script on two sets of tiny images, Set5 and 2 images of Set14, and gives the lines of the page."""
    for name, count in (("Set14", 2), ("Set5", 5)):
        (tmp_path / "bench" / name).mkdir(parents=True)
        for i in range(count):
            pixels = (photo(33, 40, seed=i) * 255).round().astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "bench" / name / f"{i}.png")

    def run(*args: Any) -> Any:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["results.py", "--data", "bench", "--out", "page.md", *args])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return (tmp_path / "page.md").read_text().splitlines()

    return run


def models_in(lines: Any) -> Any:
    return {line.split("|")[1].strip() for line in lines if line.startswith("| ")} - {"---"}


def even(name: Any, **options: Any) -> Any:
    return Model(name, (4, 8), lambda scale, _: Upsample(scale_factor=scale), "", colour="any", **options)


def test_papers_stand_below_whole_sets_only(results: Any) -> None:
    lines = results("--models", "nearest", "bicubic")
    first, second = (i for i, line in enumerate(lines) if line in ("## Set5", "## Set14"))
    assert lines[first:second].count("| Set5 | x2 | x3 | x4 |") == lines[first:second].count(VDSR) == 1
    assert models_in(lines[second:]) == {"Set14", "nearest", "bicubic"}
    assert any(line.startswith("2 of its 14 images") for line in lines[second:])


def test_every_deterministic_photo_model_is_there(results: Any, install: Callable[..., None]) -> None:
    install(even("four"), even("face", domain="face"), even("random", stochastic=True))
    lines = results("--sets", "Set14")
    assert models_in(lines) == {"Set14", "nearest", "bicubic", "lanczos", "four"}
    assert sum(line.startswith("| four | - | - | ") for line in lines) == 1


def test_a_model_of_fewer_scales_may_stand_alone(results: Any, install: Callable[..., None]) -> None:
    install(even("four"))
    assert "| Set5 | x4 |" in results("--models", "four", "--sets", "Set5")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "nowhere"], "'nowhere' holds none of Set5, Set14"),
        (["--sets", "Set5", "Set6"], "Set6"),
        (["--models", "bicubix"], "did you mean 'bicubic'"),
        (["--out", "nowhere/page.md"], "nowhere"),
    ],
)
def test_what_is_wrong_is_one_line(results: Any, args: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        results(*args)
