"""What a worker does with an image, in this process."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pysr
from pysr.errors import WeightsError
from pysr.plugin import Model, ModelReader
from pysr.registry import registry
from pysr.serve.worker import Worker

SETTINGS = {
    "device": "cpu",
    "precision": "auto",
    "models_folder": None,
    "max_pixels": 10_000,
    "max_output_pixels": 30_000,
}


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image.Image:
    """An image of 30 x 20 pixels, which lies in ``tmp_path`` as the file that a job brings."""
    monkeypatch.chdir(tmp_path)  # where the worker goes too
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    image.save(tmp_path / "image", "PNG")
    return image


def done(folder: Path, settings: Any = SETTINGS, **job: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Let a worker do a job: its reports of progress, and its last message."""
    sent: list[dict[str, Any]] = []
    asked = {"task": "upscale", "model": "bicubic", "scale": 2, "strength": None, "format": None}
    Worker(settings, sent.append).work({"job": 7, "folder": str(folder), **asked, **job})
    assert all(message["job"] == 7 for message in sent)
    return sent[:-1], sent[-1]


def test_an_image_is_upscaled_like_in_python(photo: Image.Image, tmp_path: Path) -> None:
    reports, message = done(tmp_path)
    result = message["result"]
    facts = {"file": "result.png", "model": "bicubic", "scale": 2, "width": 60, "height": 40, "warnings": []}
    assert result.items() >= facts.items()
    assert reports[0] == {"job": 7, "done": 0, "total": 1}
    with Image.open(tmp_path / "result.png") as made:
        assert made.tobytes() == pysr.upscale(photo, "bicubic", 2).tobytes()


@pytest.mark.parametrize(
    ("kind", "wanted", "file"),
    [
        ("JPEG", None, "result.jpg"),
        ("WEBP", None, "result.webp"),
        ("TIFF", None, "result.png"),
        ("PNG", "tif", "result.tif"),
    ],
)
def test_the_result_has_the_format_of_the_image_or_the_one_asked_for(
    photo: Image.Image, tmp_path: Path, kind: str, wanted: str | None, file: str
) -> None:
    photo.save(tmp_path / "image", kind)
    assert done(tmp_path, format=wanted)[1]["result"]["file"] == file
    assert (tmp_path / file).is_file()


def test_what_is_lost_is_told(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "image", "GIF", save_all=True, append_images=[Image.new("RGB", photo.size)])
    (warning,) = done(tmp_path, format="jpg")[1]["result"]["warnings"]
    assert "holds several images; only the first is used" in warning


@pytest.mark.parametrize(
    ("job", "status", "reason"),
    [
        (
            {"scale": 8},
            413,
            "the result would have 38400 pixels, and 30000 are accepted; choose a smaller scale",
        ),
        ({"format": "jpg", "model": "nowhere"}, 422, "nowhere"),
        ({"task": "sample", "count": 2, "seed": 0, "temperature": 1.0}, 422, "draws nothing at random"),
    ],
)
def test_what_cannot_be_done_is_a_problem(
    photo: Image.Image, tmp_path: Path, job: dict[str, Any], status: int, reason: str
) -> None:
    problem = done(tmp_path, **job)[1]["problem"]
    assert problem["status"] == status
    assert reason in problem["detail"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:200], lambda data: b"text", lambda data: data[:60] + b"\0" * 600]
)
def test_a_damaged_image_is_a_problem_that_names_no_path(photo: Image.Image, tmp_path: Path, damage: Any) -> None:
    (tmp_path / "image").write_bytes(damage((tmp_path / "image").read_bytes()))
    problem = done(tmp_path)[1]["problem"]
    assert problem["status"] == 422
    assert "'image'" in problem["detail"]
    assert str(tmp_path) not in problem["detail"]


def test_a_large_image_is_refused_by_its_header(photo: Image.Image, tmp_path: Path) -> None:
    Image.new("1", (5000, 5000)).save(tmp_path / "image", "PNG")
    problem = done(tmp_path)[1]["problem"]
    assert problem == {
        "status": 413,
        "detail": "the image is 5000 x 5000, and 10000 pixels are accepted; send a smaller one",
    }


def test_a_bug_is_told_without_a_traceback(
    photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("pysr.upscaling.loading.load", broken)
    problem = done(tmp_path)[1]["problem"]
    assert problem == {"status": 500, "detail": "RuntimeError: oh (this is a bug; the server's log says more)"}
    assert "Traceback" in caplog.text


def test_a_cancelled_job_stops(photo: Image.Image, tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []
    worker = Worker(SETTINGS, sent.append)
    worker.cancelled.add(7)
    asked = {"model": "bicubic", "scale": 2, "strength": None, "format": None}
    worker.work({"job": 7, "folder": str(tmp_path), "task": "upscale", **asked})
    assert [message["problem"]["status"] for message in sent] == [499]
    assert not (tmp_path / "result.png").exists()


def test_model_files_are_taken_from_the_folder_alone(
    photo: Image.Image, tmp_path: Path, install: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bicubic = registry().model("bicubic")
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("4x-Mine.fake", "broken.fake", "bicubic.fake", "notes.txt"):
        (folder / name).write_text(name)

    def open_fake(path: Path) -> Model:
        if path.stem == "broken":
            raise WeightsError(f"{path} is damaged; use another copy of it")
        return replace(bicubic, scales=(4,))

    reader = ModelReader("fake", lambda path, start: path.suffix == ".fake", open_fake, "For tests", (".fake",))
    install(readers=[reader])
    worker = Worker(SETTINGS | {"models_folder": str(folder)}, lambda message: None)
    assert [model["name"] for model in worker.models() if model["scales"] == [4]] == ["4x-Mine"]
    assert "broken.fake is left out: " in caplog.text
    assert "bicubic.fake is left out: there is another model called bicubic" in caplog.text
    message = done(tmp_path, SETTINGS | {"models_folder": str(folder)}, model="4x-Mine", scale=4)[1]
    assert message["result"]["width"] == 120
    (folder / "4x-Mine.fake").unlink()
    problem = done(tmp_path, SETTINGS | {"models_folder": str(folder)}, model="4x-Mine", scale=4)[1]["problem"]
    assert str(tmp_path) not in problem["detail"]


def test_samples_come_with_their_uncertainty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pysr_pixelcnn", reason="the plugin pysr-pixelcnn is not installed")
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8), 200).save(tmp_path / "image", "PNG")
    drawing = {"task": "sample", "model": "pixelcnn-mnist-corners", "count": 3, "seed": 5, "temperature": 1.0}
    message = done(tmp_path, **drawing)[1]
    assert message["result"]["file"] == "result.json"
    shown = json.loads((tmp_path / "result.json").read_text())
    images = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in shown["samples"]]
    expected = pysr.load("pixelcnn-mnist-corners").sample(Image.new("L", (8, 8), 200), 3, seed=5)
    assert [image.tobytes() for image in images] == [image.tobytes() for image in expected]
    assert shown["uncertainty"].startswith("data:image/png;base64,")
    assert 0 < shown["largest"] <= 0.5


def test_the_models_are_described() -> None:
    described = {model["name"]: model for model in Worker(SETTINGS, print).models()}
    assert next(iter(described)) == "auto"
    assert described["bicubic"]["scales"] == [2, 3, 4, 5, 6, 7, 8]
    assert not described["bicubic"]["samples"]
    for model in described.values():
        assert model["scales"]
        assert set(model["strength_scales"]) <= set(model["scales"])


def test_only_some_models_stay_loaded(photo: Image.Image, tmp_path: Path) -> None:
    worker = Worker(SETTINGS, lambda message: None)
    asked = {"task": "upscale", "model": "nearest", "strength": None, "format": None}
    for scale in (2, 3, 4, 5, 6, 7):
        worker.work({"job": scale, "folder": str(tmp_path), **asked, "scale": scale})
    assert [key[1] for key in worker._loaded] == [4, 5, 6, 7]
