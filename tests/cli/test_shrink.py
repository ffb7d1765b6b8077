"""``pysr shrink``, and ``pysr upscale`` of what it wrote."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pysr.cli import app
from pysr.files import read_image, write_image
from pysr.files.original import noted_original


def run(*args: object) -> int:
    return app.main([str(arg) for arg in args])


@pytest.fixture
def odd(photo: Path) -> Path:
    """An image of 29 x 19 pixels, which neither 2 nor 4 divides."""
    with Image.open(photo) as image:
        image.crop((0, 0, 29, 19)).save(photo)
    return photo


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("ending", ["webp", "jpg", "avif", "png"])
def test_the_receiver_gets_exactly_the_size_back(odd: Path, scale: int, ending: str) -> None:
    small, large = odd.with_name(f"small.{ending}"), odd.with_name("large.png")
    assert run("shrink", odd, "-o", small, "-s", scale) == 0
    assert read_image(small).size == (-(-29 // scale), -(-19 // scale))
    assert run("upscale", small, "-o", large, "-m", "nearest") == 0
    restored = read_image(large)
    assert restored.size == (29, 19)
    assert restored.crop((0, 0, scale, scale)).getcolors() is not None  # a block of one colour: nothing has moved
    assert len(restored.crop((0, 0, scale, scale)).getcolors() or []) == 1
    assert noted_original(restored.info.get("xmp", b"")) is None


def test_the_noted_scale_holds_without_a_model(odd: Path, install: Callable[..., None]) -> None:
    install()
    assert run("shrink", odd, "-o", odd.with_name("small.webp"), "-s", 4) == 0
    assert run("upscale", odd.with_name("small.webp"), "-o", odd.with_name("large.png")) == 0
    assert read_image(odd.with_name("large.png")).size == (29, 19)


def test_one_line_says_what_was_done(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("shrink", odd, "--quality", 50) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{odd.with_name('photo_small.webp')}  29 x 19 -> 15 x 10 pixels, " in said
    assert "at quality 50" in said
    assert run("shrink", odd, "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_bytes_are_a_limit(odd: Path) -> None:
    assert run("shrink", odd, "-o", odd.with_name("a.webp"), "--bytes", 400) == 0
    assert odd.with_name("a.webp").stat().st_size <= 400


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--quality", 50, "--bytes", 500], "give only one of them"),
        (["-o", "a.png", "--quality", 50], "loses nothing"),
        (["-s", 8], "can be 2, 3, 4"),
        (["--bytes", 10], "even at the lowest quality"),
        (["--quality", 101], "101"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    odd: Path, args: list[object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("shrink", odd, *args) == 2
    said = capsys.readouterr().err
    assert said.startswith("pysr: error: ")
    assert said.count("\n") == 1
    assert words in said
    assert [path.name for path in odd.parent.iterdir()] == ["photo.png"]


def test_another_scale_is_obeyed_and_said(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = odd.with_name("small.webp"), odd.with_name("large.png")
    run("shrink", odd, "-o", small, "-s", 2)
    assert run("upscale", small, "-o", large, "-m", "nearest", "-s", 4) == 0
    assert read_image(large).size == (60, 40)
    assert "shrunk by 2; it is enlarged by 4, to 60 x 40" in capsys.readouterr().err


def test_a_file_of_another_size_is_enlarged_and_it_is_said(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, large = odd.with_name("small.png"), odd.with_name("large.png")
    run("shrink", odd, "-o", small, "-s", 4)
    write_image(read_image(small).crop((0, 0, 5, 5)), small)
    assert run("upscale", small, "-o", large, "-m", "nearest") == 0
    assert read_image(large).size == (20, 20)
    assert "but has 5 x 5 pixels" in capsys.readouterr().err


def test_models_must_offer_the_scale_that_is_noted(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = odd.with_name("small.webp")
    run("shrink", odd, "-o", small, "-s", 2)
    assert run("upscale", small, "-m", "nearest:3") == 2
    assert "was shrunk by 2, and nearest:3 offers 3; choose another model (-m), or the scale" in capsys.readouterr().err


def test_a_folder_is_restored_file_by_file(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, large = odd.parent / "small", odd.parent / "large"
    folder.mkdir()
    run("shrink", odd, "-o", folder / "a.webp", "-s", 4)
    shutil.copy(odd, folder / "plain.png")
    (folder / "bad.png").touch()
    assert run("upscale", folder, "-o", large, "-m", "nearest") == 3
    assert read_image(large / "a.webp").size == (29, 19)
    assert read_image(large / "plain.png").size == (29 * 4, 19 * 4)
    run("shrink", odd, "-o", folder / "b.webp", "-s", 2)
    capsys.readouterr()
    assert run("upscale", folder, "-o", large, "-m", "nearest") == 2
    assert "a.webp was shrunk by 4, and " in capsys.readouterr().err
