"""The examples do what they say. Those that need packages of the extra examples are skipped without them."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pysr
from pysr.files import read_image
from pysr.testing import photo

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SMALL = [path for path in sorted(EXAMPLES.iterdir()) if path.suffix in (".py", ".ipynb") and path.stem != "demo"]
REASON = "needs the extra examples (make examples)"


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a Python program as a user does, and wait for it."""
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(
        command, cwd=EXAMPLES, env=environment, check=False, capture_output=True, text=True, timeout=600
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with two images and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray((photo(20, 30) * 255).astype("uint8")).save(folder / name)
    (folder / "c.png").write_text("not an image")
    return folder


def size(file: Any) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: size(path) for path in sorted(folder.iterdir())}


def test_every_example_is_short_and_says_first_what_it_shows() -> None:
    assert len(SMALL) == 6
    page = (EXAMPLES / "README.md").read_text()
    for path in SMALL:
        text = path.read_text()
        assert len(text.splitlines()) <= 80, path.name
        if path.suffix == ".py":
            assert ast.get_docstring(ast.parse(text)).startswith("What this shows: ")
        else:
            assert text.index("What this shows: ") < text.index('"code"')
        assert f"`{path.name}`" in page, f"examples/README.md does not name {path.name}"


def test_the_packages_of_the_examples_are_an_extra_of_their_own() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {re.split(r"[\[><=]", line)[0] for line in extras["examples"]}
    assert {"av", "fastapi", "ipykernel", "nbclient", "PySide6-Essentials"} <= named


def test_threads_share_an_upscaler_and_a_broken_file_costs_only_itself(images: Path, tmp_path: Path) -> None:
    done = run("thread_pool.py", images, tmp_path / "out", "--model", "bicubic", "--threads", 3)
    assert done.returncode == 3, done.stderr
    assert sizes(tmp_path / "out") == {"a.png": (60, 40), "b.png": (60, 40)}
    assert "c.png" in done.stderr
    assert "Traceback" not in done.stderr


def test_forked_workers_give_the_bits_of_one_process(images: Path, tmp_path: Path) -> None:
    done = run("worker_pool.py", *sorted(images.iterdir()), "--out", tmp_path / "out", "--model", "bicubic")
    assert done.returncode == 3, done.stderr
    assert "c.png: failed: " in done.stdout
    expected = np.asarray(pysr.load("bicubic", 2).upscale(images / "a.png"))
    for name in ("a.png", "b.png"):
        assert np.array_equal(np.asarray(read_image(tmp_path / "out" / name)), expected)


def test_the_service_answers_with_images_and_reasons(images: Path) -> None:
    pytest.importorskip("fastapi", reason=REASON)
    pytest.importorskip("uvicorn", reason=REASON)
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, cwd=EXAMPLES, env=environment, stderr=subprocess.PIPE, text=True) as service:
        try:
            port = next(found[1] for line in service.stderr if (found := re.search(r"http://127.0.0.1:(\d+)", line)))

            def ask(query: str, body: bytes) -> tuple[int, Any]:
                connection = HTTPConnection("127.0.0.1", int(port), timeout=300)
                connection.request("POST", f"/upscale?{query}", body)
                response = connection.getresponse()
                answer = response.read()
                connection.close()
                is_image = response.getheader("content-type") == "image/png"
                return response.status, size(io.BytesIO(answer)) if is_image else json.loads(answer)["detail"]

            good, huge = (images / "a.png").read_bytes(), io.BytesIO()
            Image.new("1", (5000, 5000)).save(huge, "PNG")
            assert ask("model=bicubic&scale=3", good) == (200, (90, 60))
            assert ask("model=bicubic", huge.getvalue())[0] == 413
            for query, body in (("model=bicubic", b"not an image"), ("model=/etc/passwd", good), ("scale=100", good)):
                status, why = ask(query, body)
                assert status == 422
                assert why
        finally:
            service.terminate()


def test_the_notebook_runs_and_shows_its_comparison() -> None:
    pytest.importorskip("nbclient", reason=REASON)
    pytest.importorskip("ipykernel", reason=REASON)
    script = """
import json, sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read("notebook.ipynb", as_version=4)
NotebookClient(notebook, timeout=600).execute()
json.dump([cell.outputs for cell in notebook.cells if cell.cell_type == "code"], sys.stdout)
"""
    done = run("-c", script)
    assert done.returncode == 0, done.stderr[-2000:]
    small, comparison, arrays = (outputs[-1]["data"] for outputs in json.loads(done.stdout))
    assert "image/png" in small
    assert "PSNR" in comparison["text/html"]
    assert arrays["text/plain"] == "((180, 240, 3), dtype('uint8'))"


def test_a_video_keeps_its_frames_times_and_sound(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason=REASON)
    with av.open(tmp_path / "small.mp4", "w") as movie:
        images, sound = movie.add_stream("libx264", rate=25), movie.add_stream("aac", rate=44100)
        images.width, images.height, images.pix_fmt = 64, 48, "yuv420p"
        for level in (20, 90, 160):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            movie.mux(images.encode(frame))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 44100, 0
        movie.mux(sound.encode(silence))
        movie.mux(images.encode())
        movie.mux(sound.encode())
    done = run("video.py", tmp_path / "small.mp4", tmp_path / "large.mp4", "--model", "bicubic")
    assert done.returncode == 0, done.stderr

    def seen(name: str) -> tuple[list[Any], int]:
        with av.open(tmp_path / name) as movie:
            frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in movie.decode(video=0)]
        with av.open(tmp_path / name) as movie:
            return frames, len(list(movie.decode(audio=0)))

    (before, sounds), (after, kept) = seen("small.mp4"), seen("large.mp4")
    assert kept == sounds > 0
    assert [time for time, _ in after] == [time for time, _ in before]
    for (_, small), (_, large) in zip(before, after, strict=True):
        assert large.shape == (96, 128, 3)
        assert abs(large.mean() - small.mean()) < 3


def test_the_window_shows_progress_results_and_reasons_and_can_cancel() -> None:
    pytest.importorskip("PySide6", reason=REASON)
    script = """
from PySide6.QtWidgets import QApplication
from qt_window import Window, Work

app = QApplication([])

def shown(path, cancel=False):
    window = Window(Work(path, "bicubic", 2))
    window.show()
    window.work.finished.connect(app.quit)
    window.work.start()
    if cancel:
        window.cancel.click()
    app.exec()
    return window

done = shown("chelsea.png")
assert done.result.size == (902, 600) and done.label.pixmap().width() == 902
assert done.bar.value() == done.bar.maximum() > 0 and not done.cancel.isEnabled()
cancelled = shown("chelsea.png", cancel=True)
assert cancelled.result is None and cancelled.label.text() == "cancelled"
assert "nothing.png" in shown("nothing.png").label.text()
"""
    done = run("-c", script)
    assert done.returncode == 0, done.stderr[-2000:]
