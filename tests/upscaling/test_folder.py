from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pysr
from pysr.errors import InputError
from pysr.upscaling.folder import FileJob, FileResult, plan_files


def write(path: Path, width: int = 6, height: int = 4) -> Path:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of 6 x 4 and 8 x 4 pixels, and what is to be left out."""
    images = tmp_path / "in"
    (images / "sub").mkdir(parents=True)
    write(images / "a.png")
    write(images / "b.JPG", 8)
    write(images / "sub" / "c.png")
    (images / ".hidden.png").write_bytes(b"")
    (images / "notes.txt").write_text("not an image")
    return images


# --- planning ---


def test_no_output_is_another_input(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    photos = [tmp_path / "a.png", tmp_path / "a_big.png"]
    with pytest.raises(InputError, match=r"a_big\.png is an input"):
        plan_files(photos, tmp_path / "sub" / "..", scale=2, suffix="big")


def test_two_inputs_never_become_one_output(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png, a\.jpg would all become .*out/a\.webp"):
        plan_files([Path("a.png"), Path("a.jpg"), Path("b.jpg")], tmp_path / "out", scale=2, format="webp")


@pytest.mark.parametrize(
    ("source", "output", "format", "suffix", "target"),
    [
        ("a.png", None, None, None, "a_x3.png"),
        ("a.JPG", None, None, None, "a_x3.JPG"),
        ("a.gif", None, None, None, "a_x3.png"),
        ("a.b.png", None, "webp", None, "a.b_x3.webp"),
        ("a.png", None, ".tif", "out", "a_out.tif"),
        ("a.png", "out", None, None, "out/a.png"),
        ("a.png", "out", "jpg", "big", "out/a_big.jpg"),
        ("a.png", "b.webp", None, None, "b.webp"),
    ],
)
def test_names_of_outputs(source: str, output: str | None, format: str | None, suffix: str | None, target: str) -> None:
    jobs = plan_files([Path(source)], Path(output) if output else None, scale=3, format=format, suffix=suffix)
    assert jobs == [FileJob(Path(source), Path(target))]


# --- upscaling a folder ---


def test_a_folder_goes_into_a_folder(folder: Path, tmp_path: Path) -> None:
    upscaler, out = pysr.load("bicubic", 3), tmp_path / "v1.5" / "out"
    results = list(upscaler.upscale_folder(folder, str(out), format="png", suffix="big"))
    assert [(r.source, r.target, r.size, r.error) for r in results] == [
        (folder / "a.png", out / "a_big.png", (18, 12), None),
        (folder / "b.JPG", out / "b_big.png", (24, 12), None),
    ]
    assert sorted(out.iterdir()) == [out / "a_big.png", out / "b_big.png"]
    assert all(0 < result.seconds < 60 for result in results)
    expected = upscaler.upscale(folder / "a.png")
    assert np.array_equal(np.asarray(Image.open(out / "a_big.png")), np.asarray(expected))


def test_one_bad_file_costs_only_itself(folder: Path, tmp_path: Path) -> None:
    (folder / "a.png").write_bytes(b"not an image")
    bad, good = pysr.load("nearest", 2).upscale_folder(folder, tmp_path / "out")
    assert isinstance(bad.error, InputError)
    assert "a.png" in str(bad.error)
    assert (bad.size, good.size, good.error) == (None, (16, 8), None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.JPG"]


def test_results_come_one_by_one(folder: Path, tmp_path: Path) -> None:
    results = pysr.load("nearest", 2).upscale_folder(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert next(results).source.name == "a.png"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        ("missing", "out", {}, "no folder"),
        ("in/a.png", "out", {}, "no folder"),
        ("in/empty", "out", {}, "empty"),
        ("in", "out", {"format": "xyz"}, "cannot write the format 'xyz'"),
        ("in", "in/a.png", {}, "names a file"),
        ("in", "out.png", {}, "names a file"),
        ("in", "in", {}, "would be overwritten"),
        ("in/twins", "out", {"format": "png"}, "would all become"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(folder.parent)
    for name in ("empty", "twins"):
        (folder / name).mkdir()
    for name in ("a.png", "a.bmp"):
        write(folder / "twins" / name)
    with pytest.raises(InputError, match=message):
        pysr.load("nearest", 2).upscale_folder(source, target, **options)
    assert not Path("out").exists()


def test_progress_counts_pixels_of_all_results(folder: Path, tmp_path: Path) -> None:
    (folder / "aa.png").write_bytes(b"not an image")
    seen: list[tuple[int, int]] = []
    results = pysr.load("nearest", 2).upscale_folder(folder, tmp_path, progress=lambda *now: seen.append(now))
    names = [(result.source.name, seen[-1]) for result in results]
    assert seen[0] == (0, 96 + 128)
    assert seen == sorted(seen)
    assert names == [("a.png", (96, 224)), ("aa.png", (96, 224)), ("b.JPG", (224, 224))]


@pytest.mark.parametrize("first", [True, False])
def test_an_error_of_the_progress_callback_ends_the_work(folder: Path, tmp_path: Path, first: bool) -> None:
    def stop(done: int, total: int) -> None:
        if first or done:
            raise ZeroDivisionError("enough")

    results = pysr.load("nearest", 2).upscale_folder(folder, tmp_path / "out", progress=stop)
    with pytest.raises(ZeroDivisionError, match="enough"):
        next(results)  # it is not the error of the first file
    assert not list(tmp_path.glob("out/*"))


def test_a_result_cannot_be_changed() -> None:
    result = FileResult(Path("a"), Path("b"), (2, 2), 0.1)
    with pytest.raises(AttributeError):
        result.seconds = 0.2  # type: ignore[misc]
