import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pysr.cli import app
from pysr.plugin import Fit, Model, Recipe
from pysr.training import TrainingOptions


def run(*args: Any) -> Any:
    return app.main([str(arg) for arg in args])


def shipped(**options: Any) -> Any:
    return Recipe(
        losses={options.get("loss", "l1"): 1.0},
        optimizers=lambda network: [],
        schedule=lambda progress: 1.0,
        steps=20,
        batch=6,
        patch=12,
        scales=(2, 3, 4),
    )


def test_train_passes_everything_on(monkeypatch: pytest.MonkeyPatch, install: Callable[..., None]) -> None:
    asked, tuned = [], []
    recipes = {"shipped": shipped, "other": lambda loss, size: replace(shipped(loss=loss), batch=int(size))}
    install(Model("tiny", (2, 3, 4), lambda scale, variant: None, "", recipes=recipes))
    monkeypatch.setattr("pysr.training.train", lambda *args, **options: asked.append((args, options)))
    monkeypatch.setattr("pysr.cli.allocator.tune_allocator", lambda: tuned.append(not asked))
    arguments = (
        "tiny --data a --data b --out run --steps 9 --seed 4 --validation set5 --weights w.safetensors "
        "--pre-upsampler srcnn --resume --scale 2,3 --recipe other --variant 915 --device cpu "
        "-o loss=a=b --option size=3"
    )
    assert run("train", *arguments.split()) == 0
    ((name, data, out), options) = asked[0]
    assert (name, data, out) == ("tiny", [Path("a"), Path("b")], Path("run"))
    assert options.pop("progress")
    assert tuned == [True]
    recipe = options.pop("recipe")
    assert (recipe.name, recipe.steps, recipe.scales) == ("other", 9, (2, 3))
    assert (recipe.losses, recipe.batch) == ({"a=b": 1.0}, 3)
    assert options == {
        "validation": Path("set5"),
        "resume": True,
        "options": TrainingOptions("915", 4, "cpu", "auto", Path("w.safetensors"), "srcnn"),
    }
    assert run("train", "tiny", "--data", "a", "--out", "run") == 0
    recipe = asked[1][1]["recipe"]
    assert (recipe.name, recipe.steps, recipe.scales) == ("shipped", 20, (2, 3, 4))


def test_a_fitted_model_takes_no_steps(install: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    install(Model("fitted", (2, 3), lambda scale, variant: None, "", recipes={"only": lambda: Fit(print, (2, 3))}))
    assert run("train", "fitted", "--data", "a", "--out", "run", "--steps", "9") == 2
    assert "fitted is fitted in one go; leave --steps out" in capsys.readouterr().err
    assert run("train", "fitted", "--data", "a", "--out", "run", "--scale", "2,3") == 2
    assert "fit one at a time" in capsys.readouterr().err


@pytest.mark.parametrize(("rank", "said"), [("0", True), ("1", False)])
def test_of_several_processes_the_first_speaks_for_all(
    rank: str,
    said: bool,
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bars = []

    def train(*_: Any, progress: Any, **options: Any) -> None:
        logging.getLogger("pysr").info("3 training images")
        bars.append(progress.__self__.shown)

    install(Model("tiny", (2, 3, 4), lambda scale, variant: None, "", recipes={"shipped": shipped}))
    monkeypatch.setattr("pysr.training.train", train)
    assert run("train", "tiny", "--data", "a", "--out", "run") == 0
    assert ("3 training images" in capsys.readouterr().err) == said
    assert bars == [said]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "a", "/"], "got 'vdsr' '/'; every folder needs its own option, as in --data /"),
        (["--data", "a", "--scale", "2", "3"], "got 'vdsr' '3'; several scales are separated by commas"),
        (["--data", "a", "srcnn"], "got 'vdsr' 'srcnn'; name one model"),
    ],
)
def test_a_second_model_gets_a_hint(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "vdsr", "--out", "run", *args) == 2
    assert message in capsys.readouterr().err


def test_an_option_of_a_recipe_has_a_name_and_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "vdsr", "--data", "a", "--out", "run", "-o", "style") == 2
    assert "'style' is not a recipe option; write NAME=VALUE" in capsys.readouterr().err
