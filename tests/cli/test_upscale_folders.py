"""``pysr upscale`` of many files: trees, several workers, runs that go on, and what contradicts itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pysr.cli import app


def run(*args: Any) -> Any:
    return app.main([str(arg) for arg in args])


@pytest.fixture
def tree(photo: Path) -> Path:
    """A folder with two images and one in a sub-folder."""
    with Image.open(photo) as image:
        for name in ("2.png", "10.png", "sub/3.png"):
            target = photo.parent / "in" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            image.save(target)
    return photo.parent / "in"


def made(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def test_a_tree_is_mirrored(tree: Path) -> None:
    out = tree.parent / "out"
    assert run("upscale", tree, "-m", "nearest", "-o", out, "-r", "--workers", "3", "-q") == 0
    assert made(out) == ["10.png", "2.png", "sub/3.png"]
    assert run("upscale", tree, "-m", "nearest", "-r", "-q") == 0
    assert (tree / "sub" / "3_x2.png").is_file()


def test_a_run_goes_on(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tree.parent / "out"
    (tree / "bad.png").write_bytes(b"")
    command = ["upscale", tree, "-m", "nearest", "-o", out, "--resume"]
    assert run(*command) == 3
    assert made(out) == ["10.png", "2.png", "pysr-manifest.jsonl"]
    capsys.readouterr()
    assert run(*command) == 3
    captured = capsys.readouterr()
    assert captured.err.count("is skipped: it is done already, as the manifest says") == 2
    assert captured.err.endswith("1 of 3 images failed: " + str(tree / "bad.png") + "\n")
    assert run(*command, "--json", "--progress", "json") == 3
    captured = capsys.readouterr()
    assert sorted("skipped" in json.loads(line) for line in captured.out.splitlines()) == [False, True, True]
    (tree / "bad.png").unlink()
    assert run(*command, "-q") == 0
    assert run(*command, "-q", "--quality", "80", "-f", "jpg") == 0
    assert {path.suffix for path in out.iterdir()} == {".png", ".jpg", ".jsonl"}


def test_a_dry_run_tells_and_does_nothing(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pysr.upscaling.loading.load", None)
    out = tree.parent / "out"
    (tree / "bad.png").write_bytes(Path(tree / "2.png").read_bytes()[:20])
    out.mkdir()
    (out / "2.png").write_bytes(b"")
    command = ["upscale", tree, "-m", "nearest", "-o", out, "--dry-run", "--workers", "1"]
    assert run(*command) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{tree / '2.png'} -> {out / '2.png'} (is replaced)",
        f"{tree / '10.png'} -> {out / '10.png'}",
        f"{tree / 'bad.png'}: fails",
    ]
    (tree / "bad.png").unlink()
    assert run(*command, "--skip-existing", "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert "skipped" in first
    assert second == {"input": str(tree / "10.png"), "output": str(out / "10.png")}
    assert run(*command, "--resume") == 0
    assert made(out) == ["2.png"]


def test_the_first_failure_can_end_the_work(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "1.png").write_bytes(b"")
    out = tree.parent / "out"
    assert run("upscale", tree, "-m", "nearest", "-o", out, "--fail-fast", "--workers", "1") == 3
    assert capsys.readouterr().err.endswith("; --fail-fast left the rest\n")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out", "--resume", "--skip-existing"], "only one of them"),
        (["--resume"], "name one, as in -o out/"),
        (["2.png", "-o", "big.png", "--resume"], "name one, as in -o out/"),
        (["--in-place", "--yes", "--skip-existing"], "--in-place"),
        (["--in-place", "--yes", "--resume"], "--in-place"),
        (["2.png", "-o", "big.png", "--dry-run", "--html", "page.html"], "--dry-run may leave no new result"),
        (["-o", "out", "--workers", "0"], "--workers"),
        (["-o", "-", "--dry-run"], "a pipe (-) holds a single image"),
    ],
)
def test_what_contradicts_itself_is_refused(
    tree: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr("pysr.upscaling.loading.load", None)
    monkeypatch.chdir(tree)
    inputs = [] if "2.png" in arguments else ["."]
    assert run("upscale", *inputs, "-m", "nearest", *arguments) == 2
    assert message in capsys.readouterr().err
    assert made(tree) == ["10.png", "2.png", "sub/3.png"]


@pytest.mark.parametrize("option", ["--resume", "--skip-existing", "--dry-run", "--recursive"])
def test_a_pipe_is_no_folder(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("upscale", "-", "-m", "nearest", "-o", "a.png", option) == 2
    assert f"{option} needs files with names" in capsys.readouterr().err
