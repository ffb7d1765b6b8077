import logging
from pathlib import Path

import pytest

from pysr.cli import app


def run(*args):
    return app.main([str(arg) for arg in args])


def test_train_passes_everything_on(monkeypatch):
    asked, tuned = [], []
    monkeypatch.setattr("pysr.training.loop.train", lambda *args, **options: asked.append((args, options)))
    monkeypatch.setattr("pysr.cli.allocator.tune_allocator", lambda: tuned.append(not asked))
    arguments = (
        "vdsr --data a --data b --out run --steps 9 --seed 4 --validation set5 --weights w.safetensors "
        "--pre-upsampler srcnn --resume --scale 2,3 --recipe paper --variant 915 --device cpu "
        "-o style=a=b.jpg --option size=3"
    )
    assert run("train", *arguments.split()) == 0
    ((name, data, out), options) = asked[0]
    assert (name, data, out) == ("vdsr", [Path("a"), Path("b")], Path("run"))
    assert options.pop("progress")
    assert tuned == [True]
    assert options == {
        "steps": 9,
        "seed": 4,
        "validation": Path("set5"),
        "weights": Path("w.safetensors"),
        "pre_upsampler": "srcnn",
        "resume": True,
        "scales": (2, 3),
        "recipe": "paper",
        "variant": "915",
        "device": "cpu",
        "precision": "auto",
        "options": {"style": "a=b.jpg", "size": "3"},
    }


@pytest.mark.parametrize(("rank", "said"), [("0", True), ("1", False)])
def test_of_several_processes_the_first_speaks_for_all(rank, said, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bars = []

    def train(*_, progress, **options):
        logging.getLogger("pysr").info("3 training pictures")
        bars.append(progress.__self__.shown)

    monkeypatch.setattr("pysr.training.loop.train", train)
    assert run("train", "vdsr", "--data", "a", "--out", "run") == 0
    assert ("3 training pictures" in capsys.readouterr().err) == said
    assert bars == [said]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data", "a", "/"], "got 'vdsr' '/'; every folder needs its own option, as in --data /"),
        (["--data", "a", "--scale", "2", "3"], "got 'vdsr' '3'; several scales are separated by commas"),
        (["--data", "a", "srcnn"], "got 'vdsr' 'srcnn'; name one model"),
    ],
)
def test_a_second_model_gets_a_hint(args, message, capsys):
    assert run("train", "vdsr", "--out", "run", *args) == 2
    assert message in capsys.readouterr().err


def test_an_option_of_a_recipe_has_a_name_and_a_value(capsys):
    assert run("train", "vdsr", "--data", "a", "--out", "run", "-o", "style") == 2
    assert "'style' is not a recipe option; write NAME=VALUE" in capsys.readouterr().err
