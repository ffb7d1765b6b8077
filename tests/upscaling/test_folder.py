import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pysr
from pysr.errors import InputError
from pysr.files.output import TargetSize
from pysr.upscaling.file_jobs import FileJob, FileResult
from pysr.upscaling.folder import Enlargement, plan_files, plan_in_place


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


def planned(*inputs: Path, output: Any = None, **options: Any) -> dict[str, str]:
    """The names of the files to write, or what speaks against them, by those of the files to read."""
    jobs = plan_files(inputs, output, Enlargement(2), **options)
    return {job.source.name: str(job.error or job.target.name) for job in jobs}


def test_a_file_that_would_overwrite_an_input_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    photos = [write(tmp_path / name) for name in ("a.png", "a_big.png")]
    result = planned(*photos, output=tmp_path / "sub" / "..", suffix="big")
    assert result["a_big.png"] == "a_big_big.png"
    assert "a_big.png is an input and would be overwritten" in result["a.png"]


def test_two_inputs_never_become_one_output(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    names = ("a.png", "a.jpg", "b.jpg", "a_png.bmp", "other/b.jpg")
    photos = [write(tmp_path / "one" / name if "/" not in name else tmp_path / name) for name in names]
    jobs = plan_files(photos, tmp_path / "out", Enlargement(2), format="webp")
    expected = ["a_png_2.webp", "a_jpg.webp", "b_jpg.webp", "a_png.webp", "b_jpg_2.webp"]
    assert [job.target.name for job in jobs] == expected
    assert not any(job.error for job in jobs)


def test_results_beside_their_inputs_keep_apart_too(tmp_path: Path) -> None:
    photos = [write(tmp_path / name) for name in ("a.jpg", "a.png")]
    assert planned(*photos, format="png") == {"a.jpg": "a_jpg_x2.png", "a.png": "a_png_x2.png"}


def test_what_cannot_be_used_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.png")
    long = write(tmp_path / f"{'x' * 251}.png")
    for folder in ("empty", "z.png", "images"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "images" / "b.png")
    (tmp_path / "images" / "c.png").mkdir()
    paths = [tmp_path / name for name in ("a.png", long.name, "empty", "z.png", "images", "missing.png")]
    paths.append(tmp_path / ("y" * 300))
    result = planned(*paths)
    assert (result["a.png"], result["b.png"]) == ("a_x2.png", "b_x2.png")
    assert "too long" in result[long.name]
    assert "no image in it" in result["empty"]
    assert "no image in it" in result["z.png"]
    assert "is a folder" in result["c.png"]
    assert "there is no file" in result["missing.png"]
    assert "File name too long" in result["y" * 300]

    def refuse(name: Any, *_: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr("pysr.files.streams.open", refuse, raising=False)
    with pytest.raises(InputError, match=r"none of the 2 inputs can be used; the first: cannot open .*Permission"):
        planned(tmp_path / "a.png", long)


def test_a_file_that_is_given_twice_counts_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert planned(Path("b.JPG"), folder, Path("../in/a.png")) == {"b.JPG": "b_x2.JPG", "a.png": "a_x2.png"}


def test_images_that_cannot_be_read_are_named_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "c.jxl").touch()
    (folder / "d.psd").touch()
    planned(folder)
    assert [message.partition(": ")[2] for message in caplog.messages] == ["c.jxl, d.psd"]


def test_the_content_of_a_file_chooses_the_ending(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    jpeg = write(tmp_path / "a.jpg").read_bytes()
    png = write(tmp_path / "b.png").read_bytes()
    for name, data in {"c.jpg": png, "d.PNG": jpeg, "e.jfif": jpeg, "f.mpo": jpeg, "g": jpeg, "h.gif": png}.items():
        (tmp_path / name).write_bytes(data)
    expected = {
        "c.jpg": "c.png",
        "d.PNG": "d.jpg",
        "e.jfif": "e.jfif",
        "f.mpo": "f.jpg",
        "g": "g.jpg",
        "h.gif": "h.png",
    }
    assert planned(tmp_path, output=tmp_path / "out") == {"a.jpg": "a.jpg", "b.png": "b.png", **expected}
    said = "\n".join(caplog.messages)
    assert "c.jpg is a PNG file, whatever its name says; its result is called c.png" in said
    assert "d.PNG is a JPEG file" in said
    assert "e.jfif" not in said
    assert planned(tmp_path / "c.jpg", output=tmp_path / "d.jpg") == {"c.jpg": "d.jpg"}
    assert planned(tmp_path / "c.jpg", format="jpg") == {"c.jpg": "c_x2.jpg"}


@pytest.mark.parametrize("output", ["Vol.1", "out.v2/", "c.png/", "new"])
def test_outputs_that_are_folders(folder: Path, tmp_path: Path, output: str) -> None:
    inputs = [folder / "a.png"] if output.endswith("/") else [folder]
    jobs = plan_files(inputs, f"{tmp_path}/{output}", Enlargement(2))
    assert {job.target.parent for job in jobs} == {tmp_path / output}
    assert not (tmp_path / output).exists()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no folder in memory")
def test_a_folder_in_memory_is_a_place(folder: Path) -> None:
    for output, target in (("/dev/shm/new.png", "/dev/shm/new.png"), ("/dev/shm/new/", "/dev/shm/new/a.png")):
        (job,) = plan_files([folder / "a.png"], output, Enlargement(2))
        assert (job.target, job.error) == (Path(target), None)


@pytest.mark.parametrize("output", ["/dev/stdout", "/dev/null", "/dev/fd/1"])
def test_devices_are_no_outputs(folder: Path, output: str) -> None:
    with pytest.raises(InputError, match=r"is a device or a pipe.*-o -"):
        plan_files([folder / "a.png"], output, Enlargement(2))


def test_sizes_choose_the_scale_and_the_name(folder: Path) -> None:
    def jobs(size: TargetSize) -> list[tuple[int | None, str]]:
        enlargement = Enlargement(4, size, (4, 2, 3))
        return [(job.scale, str(job.error or job.target.name)) for job in plan_files([folder], None, enlargement)]

    assert jobs(TargetSize(1.5)) == [(2, "a_x1.5.png"), (2, "b_x1.5.JPG")]
    assert jobs(TargetSize(width=18)) == [(3, "a_18x12.png"), (3, "b_18x9.JPG")]
    assert jobs(TargetSize(width=5)) == [(1, "a_5x3.png"), (1, "b_5x3.JPG")]
    (_, good), (scale, bad) = reversed(jobs(TargetSize(width=26)))
    assert good == "b_26x13.JPG"
    assert scale is None
    assert "4.33 times as large" in bad


def test_a_file_whose_format_is_not_written_cannot_be_replaced(folder: Path) -> None:
    Image.new("P", (3, 3)).save(folder / "c.gif")
    a, b, gif = plan_in_place([folder], Enlargement(2))
    assert (a.target, b.target) == (a.source, b.source)
    assert "cannot be replaced" in str(gif.error)


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
def test_names_of_outputs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    output: str | None,
    format: str | None,
    suffix: str | None,
    target: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(source))
    jobs = plan_files([Path(source)], output, Enlargement(3), format=format, suffix=suffix)
    assert jobs == [FileJob(Path(source), Path(target))]


# --- upscaling a folder ---


def test_twins_both_become_files(folder: Path, tmp_path: Path) -> None:
    write(folder / "a.bmp")
    results = pysr.load("nearest", 2).upscale_folder(folder, tmp_path / "out", format="png")
    assert [(result.target.name, result.error) for result in results] == [
        ("a_bmp.png", None),
        ("a_png.png", None),
        ("b.png", None),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_bmp.png", "a_png.png", "b.png"]


def test_a_folder_is_made_for_a_result_only(folder: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG"):
        (folder / name).write_bytes((folder / name).read_bytes()[:20])
    assert all(result.error for result in pysr.load("nearest", 2).upscale_folder(folder, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


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
        ("in", "in", {}, "would be overwritten.*; choose another folder for the results, or a suffix"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "empty").mkdir()
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
