"""``pysr export``: a file, and one line about it."""

from pathlib import Path

import pytest

from pysr.cli import app

pytest.importorskip("onnxscript")


def test_it_writes_the_file_and_says_how_exact_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert app.main(["export", "nearest", "-s", "3"]) == 0
    assert (tmp_path / "nearest_x3.onnx").stat().st_size > 1000
    assert capsys.readouterr().err.startswith("nearest_x3.onnx: 0.0")


def test_a_model_that_draws_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pysr_pixelcnn", reason="the plugin pysr-pixelcnn is not installed")
    assert app.main(["export", "pixelcnn-mnist-corners"]) == 2
    assert "at random" in capsys.readouterr().err
