import base64
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from PIL import Image, PngImagePlugin
from torch.nn import Upsample

from pysr import Tiling
from pysr.cli import app
from pysr.errors import InputError, OutOfMemoryError
from pysr.plugin import Model


def run(*args: Any) -> Any:
    return app.main([str(arg) for arg in args])


def size(path: Any) -> Any:
    with Image.open(path) as image:
        return image.size


def test_one_file(photo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    target = photo.with_name("big.jpg")
    assert run("upscale", photo, "-o", target, "-m", "bicubic", "-s", "3") == 0
    assert size(target) == (90, 60)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "90 x 60 pixels" in captured.err


@pytest.mark.parametrize("given", ["3", "x3", "3x", "X3"])
def test_without_output_the_result_lies_beside_the_input(photo: Any, given: str) -> None:
    assert run("upscale", "-i", photo, "-n", "nearest", "-s", given, "-q") == 0
    assert size(photo.with_name("photo_x3.png")) == (90, 60)


def test_without_scale_it_is_the_models_first(photo: Any) -> None:
    assert run("upscale", photo, "-m", "nearest") == 0
    assert size(photo.with_name("photo_x2.png")) == (60, 40)


@pytest.mark.parametrize(("model", "scale", "side"), [("nearest+bicubic", 4, 4), ("nearest:2+bicubic:3", None, 6)])
def test_models_in_a_row(
    photo: Any, capsys: pytest.CaptureFixture[str], model: str, scale: int | None, side: int
) -> None:
    assert run("upscale", photo, "-m", model, *(["-s", scale] if scale else []), "--json") == 0
    assert size(photo.with_name(f"photo_x{side}.png")) == (30 * side, 20 * side)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["model"], facts["scale"]) == (f"nearest:2+bicubic:{side // 2}", side)


def test_a_folder_goes_into_a_folder(photo: Any) -> None:
    Image.open(photo).save(photo.with_name("other.JPG"))
    photo.with_name("notes.txt").write_text("not an image")
    photo.with_name(".hidden.png").write_bytes(b"not an image")
    out = photo.parent / "new" / "out"
    assert run("upscale", photo.parent, "-o", out, "-m", "nearest", "-s", "2", "-f", "png") == 0
    assert sorted(path.name for path in out.iterdir()) == ["other.png", "photo.png"]


def test_existing_outputs_are_replaced(photo: Any) -> None:
    target = photo.with_name("photo_x2.png")
    target.write_bytes(b"old")
    assert run("upscale", photo, "-m", "nearest") == 0
    assert size(target) == (60, 40)


def test_one_bad_file_costs_only_itself(photo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    photo.with_name("a-bad.png").write_bytes(photo.read_bytes()[:200])
    out = photo.parent / "out"
    assert run("upscale", photo.parent, "-o", out, "-m", "nearest") == 3
    assert [path.name for path in out.iterdir()] == ["photo.png"]
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("pysr: error: ") and "a-bad.png" in line for line in lines)
    assert lines[-1].startswith("1 of 2 images failed: ")
    assert lines[-1].endswith("a-bad.png")


def test_json_has_a_line_per_file(photo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    photo.with_name("a-bad.png").write_bytes(b"")
    assert (
        run(
            "upscale", photo.parent, "-o", photo.parent / "out", "-m", "nearest", "-s", "4", "--json", "--device", "cpu"
        )
        == 3
    )
    bad, good = sorted(map(json.loads, capsys.readouterr().out.splitlines()), key=len)
    assert "a-bad.png" in bad["error"]
    assert (good["input"], good["width"], good["height"]) == (str(photo), 120, 80)
    assert (good["model"], good["scale"], good["device"]) == ("nearest", 4, "cpu")
    assert (good["kept"], good["changed"], good["dropped"]) == ([], [], [])


def test_json_names_what_is_lost(photo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a dog")
    Image.open(photo).save(photo, pnginfo=info)
    assert run("upscale", photo, "-m", "nearest", "-f", "jpg", "--json", "--tag", "-q") == 0
    captured = capsys.readouterr()
    (facts,) = map(json.loads, captured.out.splitlines())
    assert facts["dropped"] == [{"what": 'PNG text "parameters"', "reason": "JPEG has no place for it"}]
    assert len(facts["warnings"]) == 1
    assert captured.err == ""
    with Image.open(facts["output"]) as image:
        assert image.getexif()[305].startswith("pysr ")
    assert run("upscale", photo, "-m", "nearest", "-f", "jpg", "--json", "--strip", "all") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["dropped"] == []
    assert facts["changed"] == [{"what": 'PNG text "parameters"', "reason": "taken out, as asked"}]


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "avif", "tif", "bmp", "ppm"])
def test_results_beyond_pillows_limit_are_reported(
    photo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    Image.open(photo).save(photo.with_name("another.png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # it warns above that and raises above twice that
    code = run("upscale", photo.parent, "-o", photo.parent / "out", "-m", "nearest", "-s", "3", "-f", form, "--json")
    assert code == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(fact["width"], fact["height"]) for fact in facts] == [(90, 60)] * 2


def test_a_page_compares_the_input_and_the_result(photo: Path) -> None:
    page = photo.with_name("page.html")
    assert run("upscale", photo, "-m", "lanczos", "-s", "2", "--html", page) == 0
    html = page.read_text()
    titles = re.search(r"<title>photo.png \| lanczos x2, \d+\.\d s</title>", html)
    assert titles
    for file in (photo, photo.with_name("photo_x2.png")):
        assert base64.b64encode(file.read_bytes()).decode() in html
    assert run("upscale", photo, "-m", "lanczos", "--width", "45", "--html", page) == 0


def test_comparison(photo: Any) -> None:
    target = photo.with_name("comparison.png")
    assert run("upscale", photo, "-m", "lanczos", "--comparison", target) == 0
    assert size(target)[0] > 1000


def test_quiet_says_nothing(photo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("upscale", photo, "-m", "nearest", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_quiet_tells_what_is_lost_and_names_the_file_once(photo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(photo) as image:
        image.save(photo.with_name("said.gif"), comment=b"hello")
    assert run("upscale", photo.with_name("said.gif"), "-m", "nearest", "-q") == 0
    error = capsys.readouterr().err
    assert error.count("said_x2.png") == 1
    assert "comment" in error


def test_options_reach_load(photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(*args: Any, **options: Any) -> None:
        asked.append((args, options))
        raise InputError("enough")

    monkeypatch.setattr("pysr.upscaling.loading.load", load)
    arguments = ["upscale", photo, "-m", "vdsr", "-s", "3"]
    run(*arguments)
    run(
        *arguments,
        "-t",
        "64",
        "-g",
        "1",
        "--fp32",
        "--mode",
        "blend",
        "--max-memory",
        "4G",
        "--match-histogram",
        "--tta",
    )
    run(*arguments, "--patch", "0", "--device", "cpu", "--precision", "bfloat16")
    run(*arguments[:2], "-s", "3", "--variant", "thin", "--pre-upsampler", "lanczos", "--weights", "my.safetensors")
    run(*arguments, "--strength", "0.5")
    defaults = {
        "device": "auto",
        "precision": "auto",
        "backend": "auto",
        "calibration": None,
        "tiling": Tiling(),
        "match_histogram": False,
        "ensemble": False,
    }
    defaults |= {"variant": None, "pre_upsampler": None, "weights": None, "strength": None}
    assert [args for args, _ in asked] == [("vdsr", 3)] * 3 + [("auto", 3), ("vdsr", 3)]
    assert [options for _, options in asked] == [
        defaults,
        defaults
        | {
            "device": "cuda:1",
            "precision": "float32",
            "tiling": Tiling(64, "blend", max_memory=4 * 2**30),
            "match_histogram": True,
            "ensemble": True,
        },
        defaults | {"device": "cpu", "precision": "bfloat16"},
        defaults | {"variant": "thin", "pre_upsampler": "lanczos", "weights": Path("my.safetensors")},
        defaults | {"strength": 0.5},
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-m", "nearest"], "nothing to upscale"),
        (["photo.png", "-m", "nearest", "-s", "0.5"], "'0.5' is not a scale"),
        (["photo.png", "-m", "nearest", "-s", "0"], "give a number from 1 on, such as 2, x3 or 1.5"),
        (["photo.png", "-m", "nearest", "-s", "99"], "99"),
        (["photo.png", "-m", "naerest"], "nearest"),
        (["photo.png", "-m", "nearest+lanczos", "-s", "6"], "name the parts, as in nearest:2+lanczos:2"),
        (["photo.png", "-m", "nearest", "--pre-upsampler", "bicubic"], "nearest cannot take the pre-upsampler bicubic"),
        (["missing.png", "-m", "nearest"], "missing.png"),
        (["empty", "-m", "nearest"], "empty"),
        (["photo.png", "-m", "nearest", "-g", "0", "--device", "cpu"], "only one of them"),
        (["photo.png", "-m", "nearest", "--fp32", "--precision", "float16"], "only one of them"),
        (["photo.png", "-m", "nearest", "--max-memory", "lots"], "4G"),
        (["photo.png", "-m", "nearest", "-f", "xyz"], ".png"),
        (["photo.png", "-m", "nearest", "-o", "big.xyz"], "big.xyz"),
        (["photo.png", "b.png", "-m", "nearest", "-o", "big.png"], "give a folder"),
        (["b.png", "c.png", "-m", "nearest"], "none of the 2 inputs can be used; the first: there is no file 'b.png'"),
        (["photo.png", "-m", "nearest", "-o", "big.png", "-f", "jpg"], "leave out format and suffix"),
        (["photo.png", "b.png", "-m", "nearest", "-o", "out", "--comparison", "c.png"], "shows a single image"),
        (["photo.png", "-m", "nearest", "--comparison", "photo.png"], "--comparison"),
        (["photo.png", "b.png", "-m", "nearest", "-o", "out", "--html", "c.html"], "--html shows a single image"),
        (["photo.png", "-m", "nearest", "--html", "photo.png"], "--html photo.png is the input or the output"),
        (["photo.png", "-m", "nearest", "--html", "none/c.html"], "there is no folder"),
        (["photo.png", "-m", "nearest", "-o", "none/big.png"], "for 'none/big.png'; create it first"),
        (["photo.png", "-m", "nearest", "-o", "/proc/new.png"], "/proc/new.png would lie in /proc"),
        (["photo.png", "-m", "nearest", "-o", "/sys/out"], "/sys/out would lie in /sys"),
        (["photo.png", "-m", "nearest", "-o", "/dev/null"], "is a device or a pipe"),
    ],
)
def test_wrong_usage_is_one_sentence(
    photo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("empty").mkdir()
    assert run("upscale", *args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pysr: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def links(photo: Any) -> Any:
    photo.with_name("soft.png").symlink_to(photo)
    os.link(photo, photo.with_name("hard.png"))
    return ["photo.png", "soft.png", "hard.png", "../" + photo.parent.name + "/photo.png"]


def test_an_input_is_never_overwritten(
    photo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photo.parent)
    before = photo.read_bytes()
    for target in links(photo):
        assert run("upscale", "photo.png", "-m", "nearest", "-o", target) == 2
    for link in ("soft.png", "hard.png"):
        Path(link).unlink()
    assert run("upscale", ".", "-m", "nearest", "-o", ".") == 2
    assert run("upscale", "photo.png", "-m", "nearest", "--suffix", "") == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert photo.read_bytes() == before
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


@pytest.fixture
def fails_with(photo: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a command that upscales a photo and makes upscaling raise an error."""

    def prepare(error: Any) -> Any:
        monkeypatch.setattr("pysr.upscaling.upscaler.Upscaler.upscale_file", Mock(side_effect=error))
        return "upscale", photo, "-m", "nearest"

    return prepare


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("it has no pixels"), 2, "it has no pixels"),
        (OutOfMemoryError("even 16 x 16 did not fit"), 4, "even 16 x 16 did not fit"),
        (OSError(28, "No space left on device", "big.png"), 4, "No space left on device: 'big.png'"),
        (MemoryError(), 4, "memory"),
        (ZeroDivisionError("division by zero"), 1, "this is a bug; please report it"),
    ],
)
def test_errors_are_one_line_and_a_code(
    fails_with: Any, capsys: pytest.CaptureFixture[str], error: Any, code: int, message: str
) -> None:
    command = fails_with(error)
    assert run(*command) == code
    err = capsys.readouterr().err
    assert err.startswith("pysr: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert run(*command, "-v") == code
    assert "Traceback" in capsys.readouterr().err


def repeating(name: str, **fields: Any) -> Model:
    """A model that repeats pixels."""
    return Model(
        name, (2,), lambda scale, _: Upsample(scale_factor=scale), "", colour="any", receptive_field=0, **fields
    )


@pytest.fixture
def mixed(photo: Path, install: Callable[..., None]) -> Path:
    """A folder of a PNG file and two of JPEG, and a model each for clean and for compressed images."""
    install(repeating("sharp", scores={2: 50.0}), repeating("mending", made_for="compressed"))
    with Image.open(photo) as image:
        for quality in (20, 60):
            image.save(photo.with_name(f"quality-{quality}.jpg"), quality=quality)
    return photo.parent


def test_without_a_model_each_file_gets_the_right_one(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("upscale", mixed, "-o", mixed / "out", "--json", "--workers", "1") == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["model"] for line in captured.out.splitlines()] == ["sharp", "mending", "mending"]
    first, second = captured.err.splitlines()
    assert first.startswith("pysr: sharp is chosen for ")
    assert second.startswith("pysr: mending is chosen for ")
    assert "quality-20.jpg (JPEG of quality 20) because " in second
    assert run("upscale", mixed, "-o", mixed / "out", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_a_named_model_stays_and_a_better_one_is_hinted_at_once(
    mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("upscale", mixed, "-o", mixed / "out", "-m", "sharp", "--json") == 0
    captured = capsys.readouterr()
    assert {json.loads(line)["model"] for line in captured.out.splitlines()} == {"sharp"}
    assert captured.err.count("\n") == 1
    assert "quality-20.jpg is a JPEG of quality 20, and sharp is made for clean images; -m mending also" in captured.err
    for arguments in (["-m", "mending"], ["-m", "sharp", "-q"]):
        assert run("upscale", mixed, "-o", mixed / "out", *arguments) == 0
        assert "hint" not in capsys.readouterr().err


@pytest.mark.usefixtures("mixed")
def test_the_comparison_names_the_chosen_model(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr("pysr.evaluation.comparison.compare_files", lambda *paths, title: titles.append(title))
    assert run("upscale", photo, "--comparison", photo.with_name("comparison.png"), "-q") == 0
    assert titles == ["sharp"]
