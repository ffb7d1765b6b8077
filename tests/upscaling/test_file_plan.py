"""What upscaling a file will do, told before it is done: the same as what is then done."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_samples import noise
from image_samples import make_image

import pysr
from pysr import Output, Tiling
from pysr.cli.app import main
from pysr.files import Raster, read_raster, write_raster
from pysr.upscaling import file as file_module
from pysr.upscaling import file_plan


@pytest.fixture(autouse=True)
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_plan, "_PROBED", 16)


@pytest.mark.parametrize(
    ("source", "target"), [("a.tif", "b.png"), ("a.tif", "b.jpg"), ("a.png", "b.tif"), ("p.png", "b.webp")]
)
def test_what_is_planned_is_done(source: str, target: str, tmp_path: Path) -> None:
    write_raster(Raster(noise((30, 40, 4), "uint16"), "rgb"), tmp_path / "a.tif")
    write_raster(Raster(noise((30, 40), "uint16"), "gray"), tmp_path / "a.png")
    make_image("P", 40, 30).save(tmp_path / "p.png", dpi=(99, 99), icc_profile=b"no profile")
    up = pysr.load("bicubic", 2)
    plan = up.plan(tmp_path / source, tmp_path / target)
    assert not (tmp_path / target).exists()
    report, result = up.upscale_file(tmp_path / source, tmp_path / target), read_raster(tmp_path / target)
    assert (plan.target_size, plan.target_mode, plan.target_format) == (result.size, result.mode, result.format)
    assert plan.target_bytes == result.pixels.nbytes
    assert (plan.kept, plan.changed, plan.dropped) == (report.kept, report.changed, report.dropped)
    assert plan.problem is None
    assert plan.memory > 0 and plan.seconds > 0


def test_patches_and_halo_are_those_of_the_work(tmp_path: Path) -> None:
    make_image("RGB", 100, 80).save(tmp_path / "a.png")
    seen: list[tuple[int, int]] = []
    up = pysr.load("bicubic", 2, tiling=Tiling(32))
    up.upscale_file(tmp_path / "a.png", tmp_path / "b.png", progress=lambda *now: seen.append(now))
    (stage,) = up.plan(tmp_path / "a.png", tmp_path / "b.png").stages
    assert (stage.patches, stage.patch, stage.mode, stage.halo) == (seen[-1][1], (32, 32), "exact", 2)
    assert pysr.load("bicubic", 2).plan(tmp_path / "a.png", tmp_path / "b.png").stages[0].patches == 0


@pytest.mark.parametrize(
    ("ending", "options", "output", "reason"),
    [
        (".png", {}, {}, None),
        (".webp", {}, {}, "WEBP is encoded as a whole"),
        (".png", {"match_histogram": True}, {}, "histograms are matched, which takes all of the result"),
        (".png", {}, {"size": 1.5}, None),
    ],
)
def test_the_reason_for_a_whole_image_is_told(
    ending: str,
    options: dict[str, Any],
    output: dict[str, Any],
    reason: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_image("RGB", 40, 30).save(tmp_path / "a.tif")
    up = pysr.load("bicubic", 2, **options)
    assert up.plan(tmp_path / "a.tif", tmp_path / f"b{ending}").whole_because in (
        reason or "it is small",
        "it is small",
    )
    monkeypatch.setattr(file_module, "IN_MEMORY", 0)
    monkeypatch.setattr(file_plan, "IN_MEMORY", 0)
    plan = up.plan(tmp_path / "a.tif", tmp_path / f"b{ending}", output=Output(**output))
    assert (plan.whole_because, plan.by_rows) == (reason, reason is None)


def test_a_huge_file_is_planned_by_its_header_alone(tmp_path: Path) -> None:
    import tifffile

    tifffile.memmap(tmp_path / "a.tif", shape=(40000, 40000, 3), dtype=np.uint8, bigtiff=True).flush()
    plan = pysr.load("bicubic", 2).plan(tmp_path / "a.tif", tmp_path / "b.jpg")
    assert plan.by_rows
    assert plan.memory < 10**9
    assert plan.problem == (
        "the result has 80000 x 80000 pixels, and JPEG is limited to 65500 per side; write .png or .tif, or choose a"
        " smaller scale"
    )


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_image("RGB", 40, 30).save(tmp_path / "a.png", dpi=(99, 99))
    assert main(["plan", str(tmp_path / "a.png"), "-m", "bicubic", "-s", "3"]) == 0
    shown = capsys.readouterr().out
    for part in ("40 x 30", "120 x 90", "a_x3.png", "interpolated", "resolution", "about"):
        assert part in shown
    assert main(["plan", str(tmp_path / "a.png"), "-m", "bicubic", "-s", "1.5", "-f", "bmp", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["target_size"], found["target_format"], found["stages"][0]["model"]) == ([60, 45], "BMP", "bicubic")
    assert main(["plan", str(tmp_path / "a.png"), "-m", "bicubic", "-s", "900", "-f", "webp"]) == 2


def test_the_command_takes_the_options_of_upscale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_image("RGB", 40, 30).save(tmp_path / "a.png", dpi=(99, 99))
    options = ["--width", "100", "--suffix", "wide", "--strip", "all", "--fp32", "-f", "jpg", "--quality", "80"]
    assert main(["plan", str(tmp_path / "a.png"), "-m", "bicubic", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["target_size"], Path(found["target"]).name, found["precision"]) == (
        [100, 75],
        "a_wide.jpg",
        "float32",
    )
    assert main(["plan", str(tmp_path / "a.png"), "-m", "bicubic", "-o", f"{tmp_path}/new/", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["target"], found["problem"]) == (str(tmp_path / "new" / "a.png"), None)


def test_no_model_is_planned_for_an_image_made_smaller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_image("RGB", 40, 30).save(tmp_path / "a.png")
    up = pysr.load("bicubic", 2)
    assert up.plan(tmp_path / "a.png", tmp_path / "b.png", output=Output(size=0.5)).stages == ()
    assert len(up.plan(tmp_path / "a.png", tmp_path / "b.png", output=Output(size=1.5)).stages) == 1
    assert main(["plan", str(tmp_path / "a.png"), "--width", "20"]) == 0
    told = capsys.readouterr().out
    assert "only made smaller" in told and "20 x 15, RGB, 1 kB of pixels" in told


@pytest.mark.parametrize("arguments", [["."], ["-"], ["a.png", "-o", "-"]])
def test_the_command_plans_for_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    make_image("RGB", 40, 30).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "-m", "bicubic", *arguments]) == 2
    assert "name an image file, and one to write" in capsys.readouterr().err
