"""``pysr upscale``: formats, sizes, pipes, replacing, and what other programs read of the progress."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from image_samples import encoded, make_image
from PIL import Image

from pysr.cli import app, reports
from pysr.upscaling.file_jobs import FileJob


def run(*args: Any) -> Any:
    return app.main([str(arg) for arg in args])


def facts(path: Path) -> tuple[str | None, str, tuple[int, int]]:
    with Image.open(path) as image:
        return image.format, image.mode, image.size


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test: what contradicts itself is refused before."""
    monkeypatch.setattr("pysr.upscaling.loading.load", None)


def test_the_format_that_is_asked_for(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_image("RGBA").save(photo)
    assert run("upscale", photo, "-m", "nearest", "-f", "jpg", "--background", "#ff0000") == 0
    assert facts(photo.with_name("photo_x2.jpg")) == ("JPEG", "RGB", (24, 16))
    assert "pysr: warning: " in capsys.readouterr().err
    assert run("upscale", photo, "-m", "nearest", "-f", "jpg", "--json", "-q") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    (warning,) = json.loads(captured.out)["warnings"]
    assert "JPEG has no transparency; it is laid over white" in warning


def test_even_quiet_tells_of_losses_in_one_line(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_image("RGBA").save(photo)
    make_image("RGBA").save(photo.with_name("b.png"))
    out = photo.parent / "a.jpg"
    assert run("upscale", photo, "-m", "nearest", "-o", out, "-q") == 0
    line = capsys.readouterr().err
    assert line.startswith(f"pysr: warning: {out}: ")
    assert line.endswith("JPEG has no transparency; it is laid over white\n")
    assert run("upscale", photo, photo.with_name("b.png"), "-m", "nearest", "-f", "jpg", "-q") == 0
    assert capsys.readouterr().err.endswith(" (and 1 more; run without -q to see them)\n")


def test_quality_and_compression(photo: Path) -> None:
    sizes = []
    for arguments in (["--quality", "20"], [], ["--quality", "100"]):
        assert run("upscale", photo, "-m", "nearest", "-f", "jpg", *arguments) == 0
        sizes.append(photo.with_name("photo_x2.jpg").stat().st_size)
    assert sizes == sorted(sizes)
    for compression in ("none", "LZW"):
        assert run("upscale", photo, "-m", "nearest", "-f", "tif", "--compression", compression) == 0
    assert run("upscale", photo, "-m", "nearest", "-f", "png", "--compression", "9") == 0
    assert run("upscale", photo, "-m", "nearest", "-f", "webp", "--lossless") == 0
    with Image.open(photo.with_name("photo_x2.webp")) as image:
        assert image.resize((30, 20), Image.Resampling.NEAREST).tobytes() == Image.open(photo).tobytes()


@pytest.mark.parametrize(
    ("arguments", "name", "size"),
    [
        (["-s", "1.5"], "photo_x1.5.png", (45, 30)),
        (["-s", "x2.0"], "photo_x2.png", (60, 40)),
        (["--width", "100"], "photo_100x67.png", (100, 67)),
        (["--height", "50", "--suffix", "big"], "photo_big.png", (75, 50)),
        (["--width", "70", "--height", "50", "--fit", "fill"], "photo_70x50.png", (70, 50)),
        (["--width", "15"], "photo_15x10.png", (15, 10)),
    ],
)
def test_sizes(photo: Path, arguments: list[str], name: str, size: tuple[int, int]) -> None:
    assert run("upscale", photo, "-m", "bicubic", *arguments, "-q") == 0
    assert facts(photo.with_name(name))[2] == size


def test_each_file_gets_the_scale_that_it_needs(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for width in (20, 40, 60, 100):
        make_image("RGB", width, width).save(photo.with_name(f"{width}.png"))
    photo.unlink()
    assert run("upscale", photo.parent, "-m", "auto", "--width", "60", "-o", photo.parent / "out", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    lines.sort(key=lambda line: int(Path(line["input"]).stem))
    assert [Path(line["input"]).stem for line in lines] == ["20", "40", "60", "100"]
    assert [line["scale"] for line in lines][:2] == [3, 2]
    assert {(line["width"], line["height"]) for line in lines} == {(60, 60)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "2", "--width", "100"], "only one of them"),
        (["--fit", "fill"], "takes a --width and a --height"),
        (["--fit", "fill", "--width", "5"], "takes a --width and a --height"),
        (["--fit", "fill", "--width", "5", "--height", "5", "--html", "page.html"], "may change the proportions"),
        (["--quality", "5", "--lossless"], "only one of them"),
        (["--quality", "5", "-f", "png"], "PNG loses nothing"),
        (["--quality", "5", "-o", "big.png"], "PNG loses nothing"),
        (["--lossless", "-o", "big.jpg"], "JPEG cannot be written without losses"),
        (["--compression", "lzw", "-o", "big.png"], "compression can be 0, 1, 2"),
        (["--background", "blurple"], "give the name of a colour"),
        (["--in-place"], "add --yes"),
        (["--in-place", "--yes", "-o", "out"], "contradicts --output"),
        (["--in-place", "--yes", "-f", "png"], "contradicts --format"),
        (["--width", "1000"], "the largest scale here is 8"),
        (["-s", "16"], "for 16, use the chain nearest+nearest"),
        (["-o", "/dev/stdout"], "-o -"),
        (["-o", "photo.png/"], "is not a folder"),
        (["other.png", "-o", "-"], "a pipe (-) holds a single image"),
        (["-", "-o", "out.png"], "a pipe (-) holds a single image"),
        (["-o", "-", "--json"], "--json and the image"),
        (["-o", "-", "--suffix", "x"], "--suffix needs files with names"),
    ],
)
@pytest.mark.usefixtures("no_model")
def test_what_contradicts_itself_is_refused_before_a_model_is_loaded(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(photo.parent)
    assert run("upscale", "photo.png", "-m", "nearest", *arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.usefixtures("no_model")
def test_missing_weights_of_a_scale_name_a_chain(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("upscale", photo, "-m", "vdsr", "-s", "8") == 2
    assert "use the chain vdsr+vdsr+vdsr" in capsys.readouterr().err
    assert run("upscale", photo, "-s", "16") == 2
    assert "use a chain such as " in capsys.readouterr().err


class Standard:
    """Standard input or output with bytes beneath it."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("arguments", [["-"], ["-", "-o", "-"], ["photo.png", "-o", "-"]])
def test_pipes(photo: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.chdir(photo.parent)
    given, taken = Standard(photo.read_bytes()), Standard()
    monkeypatch.setattr(sys, "stdin", given)
    monkeypatch.setattr(sys, "stdout", taken)
    assert run("upscale", *arguments, "-m", "nearest", "-s", "3") == 0
    with Image.open(taken.buffer) as image:
        assert (image.format, image.size) == ("PNG", (90, 60))
    assert os.listdir() == ["photo.png"]


def test_a_pipe_into_a_file_and_another_format(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Standard(photo.read_bytes()))
    assert run("upscale", "-", "-o", photo.with_name("b.jpg"), "-m", "nearest", "--width", "45") == 0
    assert facts(photo.with_name("b.jpg")) == ("JPEG", "RGB", (45, 30))
    taken = Standard()
    monkeypatch.setattr(sys, "stdin", Standard(photo.read_bytes()))
    monkeypatch.setattr(sys, "stdout", taken)
    assert run("upscale", "-", "-f", "webp") == 0
    with Image.open(taken.buffer) as image:
        assert (image.format, image.size) == ("WEBP", (60, 40))


def test_an_image_is_not_written_to_a_terminal(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Standard())
    monkeypatch.setattr(Standard, "isatty", lambda self: True)
    assert run("upscale", photo, "-o", "-") == 2


def test_in_place_replaces_what_it_reads(photo: Path) -> None:
    photo.with_name("b.jpg").write_bytes(encoded(make_image(), "JPEG"))
    photo.with_name("c.gif").write_bytes(encoded(make_image("P"), "GIF"))
    assert run("upscale", photo.parent, "-m", "nearest", "--in-place", "--yes") == 3
    assert facts(photo) == ("PNG", "RGB", (60, 40))
    assert facts(photo.with_name("b.jpg")) == ("JPEG", "RGB", (24, 16))
    assert facts(photo.with_name("c.gif"))[2] == (12, 8)
    assert len(os.listdir(photo.parent)) == 3


def test_the_time_of_change_is_kept(photo: Path) -> None:
    os.utime(photo, ns=(10**18, 10**18 + 123))
    assert run("upscale", photo, "-m", "nearest", "--keep-time") == 0
    assert photo.with_name("photo_x2.png").stat().st_mtime_ns == 10**18 + 123


def test_files_that_cannot_be_used_cost_themselves_alone(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long, empty, out = photo.with_name("x" * 251 + ".png"), photo.parent / "empty", photo.parent / "out"
    long.write_bytes(photo.read_bytes())
    empty.mkdir()
    assert run("upscale", photo, long, empty, photo, "-m", "nearest", "--suffix", "x2", "-o", out) == 3
    assert os.listdir(out) == ["photo_x2.png"]
    err = capsys.readouterr().err
    assert "2 of 3 images failed" in err


def test_what_is_left_out_of_a_folder_is_named(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("d.jxl", "e.psd"):
        photo.with_name(name).touch()
    assert run("upscale", photo.parent, "-m", "nearest", "-o", photo.parent / "out") == 0
    err = capsys.readouterr().err
    assert err.count("d.jxl, e.psd") == 1


def test_progress_as_json(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo.with_name("bad.png").write_bytes(photo.read_bytes()[:20])
    make_image("RGBA").save(photo.with_name("z.png"))
    out = photo.parent / "out"
    arguments = ["upscale", photo.parent, "-m", "bicubic", "-o", out, "-f", "jpg", "--progress", "json"]
    assert run(*arguments, "--workers", "1") == 3
    *lines, failed = capsys.readouterr().err.splitlines()
    assert failed.startswith("1 of 3 images failed")
    events = [json.loads(line) for line in lines if not line.startswith("pysr: error")]
    kinds = [(event["event"], Path(event.get("file", "")).name) for event in events if event["event"] != "progress"]
    assert kinds == [
        ("start", "bad.png"),
        ("end", "bad.png"),
        ("start", "photo.png"),
        ("end", "photo.png"),
        ("start", "z.png"),
        ("log", ""),
        ("end", "z.png"),
    ]
    assert "error" in events[[event["event"] for event in events].index("end")]
    progress = [event for event in events if event["event"] == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == 4 * (30 * 20 + 12 * 8)
    assert all(event.keys() == {"event", "file", "done", "total", "eta"} for event in progress)
    assert progress[-1]["eta"] == 0
    start = next(event for event in events if event["event"] == "start")
    assert (start["output"], start["number"], start["of"]) == (str(out / "bad.jpg"), 1, 3)


def test_a_frame_of_an_animation(photo: Path) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    moving = photo.with_name("moving.gif")
    frames[0].save(moving, save_all=True, append_images=frames[1:], duration=50)
    assert run("upscale", moving, "-m", "nearest", "--frame", "1") == 0
    with Image.open(photo.with_name("moving_x2.png")) as image:
        assert (getattr(image, "n_frames", 1), image.convert("RGB").getpixel((5, 5))) == (1, (0, 255, 0))
    assert run("upscale", moving, "-m", "nearest") == 0
    with Image.open(photo.with_name("moving_x2.png")) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert run("upscale", moving, "-m", "nearest", "--frame", "3") == 2
    for ending in (".gif", ".apng", ".webp"):
        result = photo.with_name(f"out{ending}")
        assert run("upscale", moving, "-m", "nearest", "-o", result) == 0
        with Image.open(result) as image:
            assert getattr(image, "n_frames", 1) == 3


@pytest.mark.parametrize("ending", ["gif", "apng"])
def test_animations_keep_a_format_that_only_they_are_written_in(
    photo: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime")]
    moving = [photo.with_name(name) for name in ("one.gif", "two.gif")]
    for file in moving:
        frames[0].save(file, save_all=True, append_images=frames[1:], duration=50)
    out = photo.with_name("out")
    assert run("upscale", *moving, photo, "-m", "nearest", "-f", ending, "-o", out) == 3
    assert "the image is none; write .png" in capsys.readouterr().err
    assert sorted(file.name for file in out.iterdir()) == [f"one.{ending}", f"two.{ending}"]
    with Image.open(out / f"two.{ending}") as image:
        assert (image.size, getattr(image, "n_frames", 1)) == ((12, 8), 2)
    assert run("upscale", *moving, "-m", "nearest", "-f", ending, "--quality", "30") == 2
    assert "has no quality to choose" in capsys.readouterr().err


def test_one_image_is_no_animation(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("upscale", photo, "-m", "nearest", "-o", photo.with_name("out.gif")) == 2
    assert "the image is none; write .png" in capsys.readouterr().err


def test_without_a_terminal_long_work_is_told_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("pysr.cli.terminal.time.perf_counter", lambda: clock[0])
    jobs = [FileJob(Path("big/a.jpg"), Path("a.png")), FileJob(Path("big/b.jpg"), Path("b.png"))]
    with reports.REPORTS["bar"](jobs, quiet=False) as report:
        assert report.wants_progress
        for second in range(100):
            clock[0] = float(second)
            report.progress(jobs[0], second * 10, 1000)
        clock[0] = 1000.0
        report.progress(jobs[0], 1000, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "pysr: 1/2 a.jpg: 5% done, about 2 minutes to go"
    assert [line.split(": ")[2].split("%")[0] for line in lines] == ["5", "15", "35", "75"]
    assert not reports.REPORTS["bar"](jobs, quiet=True).wants_progress


def test_short_work_is_told_without_a_line_of_progress(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("upscale", photo, "-m", "nearest") == 0
    assert len(capsys.readouterr().err.splitlines()) == 1
