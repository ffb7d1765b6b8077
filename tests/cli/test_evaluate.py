import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from pysr.cli import app
from pysr.evaluation.protocols import Evaluation, ImageResult, ScaleResult
from pysr.plugin import Model, Weights
from pysr.registry import registry
from pysr.upscaling.weights import save_weights


def run(*args: Any) -> Any:
    return app.main([str(arg) for arg in args])


def test_gray_files_are_named_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.linear_gradient("L").resize((40, 40)).save(tmp_path / "gray.png")
    assert run("evaluate", "bicubic", "--data", tmp_path, "--scale", "2") == 0
    assert "gray.png: gray, so compared in the full range: 1.32 dB less PSNR" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--scale", "2", "3"], "'3' is not a model; several scales are separated by commas, as in --scale 2,3"),
        (
            ["--metric", "psnr", "ssim"],
            "'ssim' is not a model; several metrics are separated by commas, as in --metric",
        ),
        (["--data", ".", "/"], "'/' is not a model; every folder needs its own option, as in --data /"),
        (["--data", ".", "Set99"], "there is no model called 'Set99'"),
        (
            ["--degradation", "photo-mild", "photo-strong"],
            "'photo-strong' is not a model; a degradation needs its option",
        ),
        (["--degradation", "photo-midl"], "there is no degradation called 'photo-midl'; did you mean 'photo-mild'?"),
        (["--metric", "psnr,sssim"], "there is no metric called 'sssim'; did you mean 'ssim'?"),
        (["--scale", "2,3.5"], "'3.5' is not a scale"),
        (["--scale", "2,"], "'' is not a scale"),
    ],
)
def test_values_that_belong_to_an_option_get_a_hint(
    photo: Any, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    assert run("evaluate", "bicubic", "--data", photo.parent, *args) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_evaluate_side_by_side(photo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    written = photo.with_name("scores.json")
    code = run(
        "evaluate", "nearest", "bicubic", "--data", photo.parent, "--scale", "2,x3", "--json", written, "--images"
    )
    assert code == 0
    table = capsys.readouterr().out
    assert "nearest" in table
    assert photo.parent.name in table
    assert "x3 photo" in table
    facts = json.loads(written.read_text())
    assert [model["model"] for model in facts] == ["nearest", "bicubic"]
    assert [result["scale"] for result in facts[0]["results"]] == [2, 3]
    for model in facts:
        assert list(model) == ["model", "data", "protocol", "degradation", "results"]
        for result in model["results"]:
            assert list(result) == ["scale", "psnr", "ssim", "seconds", "images"]
            assert [list(image) for image in result["images"]] == [["name", "psnr", "ssim", "seconds"]]
            assert f"{result['psnr']:.3f} / {result['ssim']:.4f}" in table


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `load` and `evaluate` of the library are asked for, in place of doing it."""
    asked = []

    def load(name: Any, scale: Any, **options: Any) -> Any:
        model = Model(name, (scale,), lambda scale, variant: None, "")
        return SimpleNamespace(model=model, scale=scale, options=options)

    def evaluate(models: Any, data: Any, scales: Any, **options: Any) -> Any:
        names = [model if isinstance(model, str) else model.model.name for model in models]
        loaded = [(model.scale, model.options) for model in models if not isinstance(model, str)]
        asked.append((names, list(data), list(scales), options["protocol"], loaded))
        scores = dict.fromkeys(options["metrics"], 30.0)
        results = tuple(ScaleResult(scale, scores, 1.0, (ImageResult("x", scores, 1.0),)) for scale in scales)
        metrics = tuple(map(registry().metric, options["metrics"]))
        return [Evaluation(name, folder.name, "y-shave", metrics, results) for folder in data for name in names]

    monkeypatch.setattr("pysr.upscaling.loading.load", load)
    monkeypatch.setattr("pysr.evaluation.protocols.evaluate", evaluate)
    return asked


FORMATS = {"--json": '"psnr": 30.0', "--markdown": "| nearest | 30.00 / 30.0000 |", "--csv": "a,nearest,2,x,30.0000,"}


@pytest.mark.parametrize("option", FORMATS)
def test_evaluate_prints_nothing_but_the_format_asked_for(
    evaluated: Any, tmp_path: Path, capsysbinary: Any, option: Any
) -> None:
    command = ("evaluate", "nearest", "--data", "a", "--scale", "2", option)
    assert run(*command, "-") == 0
    printed = capsysbinary.readouterr().out
    assert FORMATS[option] in printed.decode()
    assert b"PSNR in dB / SSIM   " not in printed
    assert run(*command, tmp_path / "file") == 0
    assert b"PSNR in dB / SSIM   " in capsysbinary.readouterr().out
    assert (tmp_path / "file").read_bytes() == printed


def test_evaluate_takes_the_scales_that_all_models_have(evaluated: Any) -> None:
    assert run("evaluate", "nearest", "bicubic", "--data", ".") == 0
    assert evaluated == [(["nearest", "bicubic"], [Path(".")], [2, 3, 4, 5, 6, 7, 8], "y-shave", [])]


def test_evaluate_loads_models_by_the_options_of_loading(evaluated: Any) -> None:
    hardware = {"device": "cpu", "precision": "float32"}
    arguments = "nearest bicubic --data . --scale 2,3 --device cpu --precision float32"
    assert run("evaluate", *arguments.split()) == 0
    ((names, _, scales, _, loaded),) = evaluated
    assert (names, scales) == (["nearest", "nearest", "bicubic", "bicubic"], [2, 3])
    assert loaded == [(2, hardware), (3, hardware)] * 2


def test_evaluate_takes_several_metrics(evaluated: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "--metric", "ssim,psnr", "nearest", "--data", ".", "--scale", "2") == 0
    assert evaluated[0][0] == ["nearest"]
    assert "SSIM / PSNR in dB   " in capsys.readouterr().out
    assert run("evaluate", "nearest", "--data", ".", "--metric", "ssim", "--metric", "psnr", "-s", "2") == 0
    assert evaluated[0] == evaluated[1]


def test_evaluate_takes_several_data_sets(evaluated: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "nearest", "--data", "a/Set5", "--data", "Set14", "--scale", "2", "--data", "b") == 0
    assert evaluated[0][1] == [Path("a/Set5"), Path("Set14"), Path("b")]
    words = capsys.readouterr().out.split()
    assert [word for word in words if word in ("Set5", "Set14", "b", "x2")] == ["Set5", "x2", "Set14", "x2", "b", "x2"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--csv", "missing/scores.csv"], "there is no folder"),
        (["--markdown", "."], "not a file"),
        (["--json", "-", "--csv", "-"], "--json and --csv both name '-'"),
        (["--markdown", "a", "--csv", "./a"], "--markdown and --csv both name 'a'"),
    ],
)
def test_a_wrong_file_name_is_found_before_the_work(
    evaluated: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", "nearest", "--data", ".", "--scale", "2", *args) == 2
    assert message in capsys.readouterr().err
    assert evaluated == []


def test_a_variant_and_weights_are_passed_on_with_their_scales(
    evaluated: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.safetensors"
    for noted in ({"pysr.scales": "3 4"}, {}):
        save_weights({"a": torch.zeros(1)}, file, noted)
        run("evaluate", "bicubic", "--data", ".", "--variant", "a", "--weights", file, "--json", "-")
    assert [scales for _, _, scales, *_ in evaluated] == [[3, 4], [2, 3, 4, 5, 6, 7, 8]]
    assert evaluated[0][0] == ["bicubic, variant a, weights w.safetensors"] * 2
    assert evaluated[0][-1] == [(scale, {"variant": "a", "weights": file}) for scale in (3, 4)]
    assert run("evaluate", "bicubic", "nearest", "--data", ".", "--weights", file, "--scale", "3") == 2
    assert "--weights and --strength need a single model, and 2 are named" in capsys.readouterr().err
    run("evaluate", "bicubic", "--data", ".", "--strength", "0", "--scale", "2", "--json", "-")
    assert evaluated[-1][0] == ["bicubic, strength 0.0"]


def test_scales_without_weights_are_left_out_unless_named(
    evaluated: Any, install: Callable[..., None], tmp_path: Path
) -> None:
    weights = Weights(tmp_path / "w.safetensors", "", "", "")
    recipes = {"only": lambda: None}
    install(
        Model(
            "half", (3, 2, 4), lambda scale, variant: None, "", weights={3: weights, (4, "a"): weights}, recipes=recipes
        ),
        Model("none", (3, 2), lambda scale, variant: None, "", recipes=recipes),
    )
    for arguments in (["half"], ["nearest", "half"], ["half", "--scale", "2"], ["none"], ["half+nearest"]):
        assert run("evaluate", *arguments, "--data", ".") == 0
    assert [scales for _, _, scales, *_ in evaluated] == [[3, 4], [3, 4], [2], [2, 3], [9, 16]]


def test_weights_for_no_scale_of_the_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_weights({"a": torch.zeros(1)}, tmp_path / "w.safetensors", {"pysr.scales": "11"})
    assert run("evaluate", "bicubic", "--data", tmp_path, "--weights", tmp_path / "w.safetensors") == 2
    assert "no scale in common (bicubic: 2 3 4 5 6 7 8, w.safetensors: 11)" in capsys.readouterr().err


def test_the_scales_of_chains_and_of_the_initial_count(evaluated: Any, install: Callable[..., None]) -> None:
    install(Model("few", (3, 2, 4), lambda scale, variant: None, ""))
    assert run("evaluate", "nearest", "few+bicubic", "--data", ".") == 0
    assert run("evaluate", "nearest", "bicubic", "--pre-upsampler", "few", "--data", ".") == 0
    assert run("evaluate", "few+bicubic", "--pre-upsampler", "few", "--data", ".", "--scale", "9") == 0
    assert [(names, scales) for names, _, scales, *_ in evaluated] == [
        (["nearest", "few+bicubic"], [4]),
        ([f"{name}, pre_upsampler few" for name in ("nearest", "bicubic") for _ in range(3)], [2, 3, 4]),
        (["few+bicubic, pre_upsampler few"], [9]),
    ]
