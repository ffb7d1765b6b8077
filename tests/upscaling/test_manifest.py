"""Runs over a folder that go on where they ended, skip, or end early."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pysr
from pysr.errors import InputError
from pysr.upscaling.file_jobs import FileResult
from pysr.upscaling.manifest import NAME, Manifest, Record, read_records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, one of them damaged, and one in a sub-folder."""
    images = tmp_path / "in"
    (images / "sub" / "deep").mkdir(parents=True)
    for number, name in enumerate(("1.png", "2.png", "sub/deep/3.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).save(images / name)
    (images / "10.png").write_bytes(b"not an image")
    return images


def run(folder: Path, model: str = "bicubic", **options: Any) -> dict[str, FileResult]:
    results = pysr.load(model, 2).upscale_folder(folder, folder.parent / "out", **options)
    return {result.source.name: result for result in results}


def states(results: dict[str, FileResult]) -> dict[str, str]:
    return {
        name: "failed" if result.error else "skipped" if result.skipped else "done" for name, result in results.items()
    }


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest's lines by input; each input has one."""
    text = (folder.parent / "out" / NAME).read_text()
    found = [json.loads(line) for line in text.splitlines()]
    assert len({line["input"] for line in found}) == len(found)
    return {Path(line["input"]).name: line for line in found}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_second_run_does_what_is_left(folder: Path, workers: int) -> None:
    options: dict[str, Any] = {"resume": True, "recursive": True, "workers": workers}
    first = states(run(folder, **options))
    assert first == {"1.png": "done", "2.png": "done", "10.png": "failed", "3.png": "done"}
    line = lines(folder)["1.png"]
    assert (line["state"], line["model"], line["scale"], line["version"]) == ("done", "bicubic", 2, pysr.__version__)
    assert lines(folder)["10.png"]["error"]
    shutil.copy(folder / "2.png", folder / "10.png")
    assert states(run(folder, **options)) == dict.fromkeys(first, "skipped") | {"10.png": "done"}
    assert {line["state"] for line in lines(folder).values()} == {"done"}
    assert (folder.parent / "out" / "sub" / "deep" / "3.png").is_file()


def test_only_what_matches_is_skipped(folder: Path) -> None:
    (folder / "10.png").unlink()
    run(folder, resume=True)
    assert states(run(folder, resume=True)) == {"1.png": "skipped", "2.png": "skipped"}
    out = folder.parent / "out" / "1.png"
    for change in (
        lambda: shutil.copy(folder / "2.png", folder / "1.png"),
        lambda: out.write_bytes(out.read_bytes()[:-1]),
        out.unlink,
    ):
        change()
        assert states(run(folder, resume=True)) == {"1.png": "done", "2.png": "skipped"}
    for options in ({"model": "lanczos"}, {"output": pysr.Output(tag=True)}, {}):
        assert set(states(run(folder, resume=True, **options)).values()) == {"done"}
    assert {line["model"] for line in lines(folder).values()} == {"bicubic"}


def test_other_weights_are_another_result(folder: Path, tmp_path: Path) -> None:
    from pysr.upscaling.weights import save_weights

    (folder / "10.png").unlink()
    network = pysr.load("srcnn", 2)._stages[0].stage.model.network(2, None)
    digests = []
    for name in ("a", "b"):
        for parameter in network.parameters():
            parameter.data += 1e-3
        digests.append(save_weights(network, tmp_path / f"{name}.safetensors", {}))
        for expected in ("done", "skipped"):
            upscaler = pysr.load("srcnn", 2, weights=tmp_path / f"{name}.safetensors")
            results = upscaler.upscale_folder(folder, folder.parent / "out", resume=True)
            assert {bool(result.skipped) for result in results} == {expected == "skipped"}
        assert lines(folder)["1.png"]["weights"] == digests[-1:]


def test_what_was_cut_off_is_repaired(folder: Path) -> None:
    run(folder, resume=True)
    manifest = folder.parent / "out" / NAME
    whole = manifest.read_bytes()
    for cut in (1, 40, len(whole) // 2, len(whole) - 1):
        manifest.write_bytes(whole[:cut])
        results = run(folder, resume=True)
        assert {result.error is None for name, result in results.items() if name != "10.png"} == {True}
        assert len(lines(folder)) == 3
    manifest.write_bytes(b'\xff{"input": 1}\n' + whole)
    assert states(run(folder, resume=True))["1.png"] == "skipped"
    assert len(lines(folder)) == 3


def test_a_file_that_is_no_manifest_is_left_alone(folder: Path) -> None:
    manifest = folder.parent / "out" / NAME
    manifest.parent.mkdir()
    for text in ("dear diary\n", "[1]\n", "{}\n", '{"input": 1, "output": 2, "state": "done"}\n'):
        manifest.write_text(text)
        with pytest.raises(InputError, match="is no manifest"):
            run(folder, resume=True)
        assert manifest.read_text() == text


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_two_runs_do_not_write_one_manifest(folder: Path) -> None:
    path = folder.parent / "out" / NAME
    with Manifest(path) as manifest:
        with pytest.raises(InputError, match="another run is writing"):
            run(folder, resume=True)
        manifest.add(Record("a", "b", "failed"))
        manifest.add(Record("a", "b", "done"))
    assert [record.state for record in read_records(path).values()] == ["done"]
    assert path.read_text().count("\n") == 1
    run(folder, resume=True)
    assert "a" in read_records(path)  # another folder's


def test_results_that_are_there_are_skipped(folder: Path) -> None:
    out = folder.parent / "out"
    out.mkdir()
    (out / "1.png").write_bytes(b"mine")
    assert states(run(folder, skip_existing=True)) == {"1.png": "skipped", "2.png": "done", "10.png": "failed"}
    assert (out / "1.png").read_bytes() == b"mine"


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 1.5}, {"resume": True, "skip_existing": True}])
def test_what_contradicts_itself_is_refused_at_once(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"workers is|give only one"):
        pysr.load("bicubic", 2).upscale_folder(folder, folder.parent / "out", **options)


def test_several_workers_give_the_same_files_and_all_progress(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    run(folder, recursive=True)
    alone = {path: path.read_bytes() for path in (folder.parent / "out").rglob("*.png")}
    shutil.rmtree(folder.parent / "out")
    results = run(folder, recursive=True, workers=4, progress=lambda *now: seen.append(now))
    assert list(results) != [] and states(results)["10.png"] == "failed"
    assert {path: path.read_bytes() for path in (folder.parent / "out").rglob("*.png")} == alone
    assert max(seen) == (3 * 16 * 12, 3 * 16 * 12)
    assert all(done <= total for done, total in seen)


def test_the_results_of_an_earlier_run_are_no_inputs(folder: Path) -> None:
    up = pysr.load("nearest", 2)
    for _ in range(2):
        results = list(up.upscale_folder(folder, folder / "sub" / "out", recursive=True))
        assert sorted(result.source.name for result in results) == ["1.png", "10.png", "2.png", "3.png"]
    assert (folder / "sub" / "out" / "sub" / "deep" / "3.png").is_file()


def test_links_and_hidden_folders_are_left_out_of_a_tree(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / ".hidden").mkdir()
    shutil.copy(folder / "1.png", folder / ".hidden")
    assert list(run(folder, recursive=True)) == ["1.png", "2.png", "10.png", "3.png"]
    shutil.rmtree(folder)
    (folder / "empty").mkdir(parents=True)
    with pytest.raises(InputError, match="nor its sub-folders"):
        run(folder, recursive=True)


RUN = """
import sys, pysr
for result in pysr.load("bicubic", 2).upscale_folder(*sys.argv[1:], workers=2, resume=True):
    print(result.source.name, result.skipped, flush=True)
"""


def test_a_run_that_is_killed_goes_on(tmp_path: Path) -> None:
    """Of each worker, at most one file is done twice; the results are those of a run that nobody disturbs."""
    images = tmp_path / "in"
    images.mkdir()
    for number in range(12):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (300, 400, 3), np.uint8)).save(
            images / f"{number}.png"
        )
    command = [sys.executable, "-c", RUN, str(images), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(4):
            process.stdout.readline()
        process.kill()
    made = set((tmp_path / "out").glob("*.png"))
    up = pysr.load("bicubic", 2)
    results = list(up.upscale_folder(images, tmp_path / "out", workers=2, resume=True))
    again = {result.target for result in results if not result.skipped} & made
    assert len(again) <= 2
    assert len(made) >= 4
    for result in up.upscale_folder(images, tmp_path / "undisturbed"):
        assert (tmp_path / "out" / result.target.name).read_bytes() == result.target.read_bytes()
    assert [line.state for line in read_records(tmp_path / "out" / NAME).values()] == ["done"] * 12
