"""`pysr info`, and model files on the command line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pysr.cli.app import main
from pysr.plugin import Model, ModelReader, Weights
from pysr.testing import photo
from pysr.upscaling import facts as facts_module
from pysr.upscaling import openvino_network


def network(scale: int, variant: str | None) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))


@pytest.fixture
def folder(tmp_path: Path, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model file and one that no reader takes; a plugin has a model with weights."""
    monkeypatch.setattr(openvino_network, "find_spec", lambda name: None)
    monkeypatch.setattr(facts_module, "choose_device", lambda device: torch.device("cpu"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.fake").write_text("model")
    (tmp_path / "models" / "damaged.fake").write_text("")
    weights = Weights(Path("x.safetensors"), "12ab", "CC BY-NC 4.0", "DIV2K")
    shelf = Model("shelf", (2, 3), network, "From a shelf", weights={2: weights}, scores={2: 31.5}, receptive_field=1)

    def opened(path: Path) -> Model:
        return Model("x", (4,), network, "From a file", licence="MIT", receptive_field=1)

    install(shelf, readers=[ModelReader("fake", lambda path, start: start == b"model", opened, "", (".fake",))])
    return tmp_path / "models"


def facts(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["info", *arguments, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_known_about_an_installed_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, "shelf")
    assert (found["plugin"], found["scores"], found["counted_at"]) == ("fake", {"2": 31.5}, 2)
    assert found["parameters"] == 3 * 12 * 9 + 12
    assert found["flops_per_megapixel"] == 2 * 3 * 12 * 9 / 4 * 1e6
    assert found["weights"] == [
        {"scale": 2, "variant": None, "sha256": "12ab", "licence": "CC BY-NC 4.0", "trained_on": "DIV2K"}
    ]
    assert facts(capsys, "shelf", "-s", "3")["parameters"] == 3 * 27 * 9 + 27
    assert (found["computed_by"], found["device"]) == ("torch", "cpu")
    assert main(["info", "shelf"]) == 0
    shown = capsys.readouterr().out
    for text in (
        f"torch in {found['precision']} on cpu",
        "From a shelf",
        "x2 31.50 dB",
        "336 (x2)",
        "1 pixels to each side",
        "CC BY-NC 4.0",
        "12ab",
    ):
        assert text in shown


def test_a_pre_upsampled_network_is_counted_at_output_size(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install(Model("late", (2,), lambda scale, variant: nn.Conv2d(3, 3, 1), "", preprocess=("bicubic",)))
    assert facts(capsys, "late")["flops_per_megapixel"] == 2 * 3 * 3 * 1e6


def test_what_is_known_about_a_model_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, "mine", "--models", str(folder))
    assert (found["name"], found["licence"], found["file"]) == ("mine", "MIT", str(folder / "mine.fake"))
    assert found["sha256"] == "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    assert "PYSR_MODELS" not in os.environ


def test_scales_are_listed_rising_with_the_default(
    folder: Path, install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = Weights(Path("x.safetensors"), "12ab", "CC0", "DIV2K")
    scales = (4, 2, 8, 3)
    install(Model("falling", scales, network, "", weights=dict.fromkeys((4, 3), weights), receptive_field=1))
    assert main(["info", "falling"]) == 0
    assert "x2 x3 x4 x8 (x4 by default)" in capsys.readouterr().out
    assert main(["models"]) == 0
    assert re.search(r"x3 x4 .*\n *\(x2 x8: no weights\)", capsys.readouterr().out)
    assert main(["models", "--json"]) == 0
    (falling,) = (found for found in json.loads(capsys.readouterr().out) if found["name"] == "falling")
    assert (falling["scales"], falling["trained_scales"]) == ([4, 2, 8, 3], [4, 3])
    assert main(["info", "falling", "-s", "5"]) == 2
    assert "falling has no scale 5; it has 2, 3, 4, 8" in capsys.readouterr().err


def test_a_licence_that_no_model_has_is_answered_by_those_there_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--licence", "gpl"]) == 0
    told = capsys.readouterr().err
    assert "no model's weights have a licence with 'gpl' in it; there are" in told
    assert "CC BY-NC 4.0" in told
    assert main(["models", "--licence", "by-nc"]) == 0
    assert not capsys.readouterr().err


def test_models_are_listed_with_files_and_filtered_by_licence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--models", str(folder)]
    assert main(["models", *place]) == 0
    shown = capsys.readouterr().out
    assert "mine.fake" in shown and "no installed plugin" in shown
    assert main(["models", *place, "--licence", "mit"]) == 0
    listed, errors = capsys.readouterr()
    assert "mine" in listed and "shelf" not in listed and "damaged.fake is no model file" in errors
    assert main(["models", "--licence", "by-nc", "--json"]) == 0
    assert [model["name"] for model in json.loads(capsys.readouterr().out)] == ["shelf"]


def test_an_image_is_upscaled_by_a_file_of_a_folder(folder: Path, tmp_path: Path) -> None:
    Image.fromarray((photo(8, 9) * 255).astype(np.uint8)).save(tmp_path / "a.png")
    assert main(["upscale", str(tmp_path / "a.png"), "-m", "mine", "--models", str(folder), "-q"]) == 0
    with Image.open(tmp_path / "a_x4.png") as made:
        assert made.size == (36, 32)


def test_an_unknown_file_is_an_error_of_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folder / "damaged.fake")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["model.dat", "vsdr"])
def test_what_is_no_model_is_refused_without_torch(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.dat").write_bytes(b"GGUF and so on")
    code = f"import sys; from pysr.cli.app import main; print(main(['info', {name!r}]), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n", done.stderr
