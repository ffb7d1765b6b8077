"""Images elsewhere, by fsspec: a bucket in memory, and one of S3 where moto is installed."""

import json
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_samples import noise
from PIL import Image

import pysr
from pysr.cli.app import main
from pysr.errors import InputError
from pysr.files import remote
from pysr.files.output import Output
from pysr.files.remote import Url, as_place, is_url
from pysr.upscaling.folder import plan_folder
from pysr.upscaling.jobs import Course, FileWorker
from pysr.upscaling.manifest import manifest_in
from pysr.upscaling.models import Models

fsspec = pytest.importorskip("fsspec", reason="the package fsspec is not installed")
S3 = "s3://scans"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSE", 0.0)


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture(params=["memory", "s3"])
def bucket(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an empty folder elsewhere."""
    if request.param == "memory":
        request.getfixturevalue("memory")
        yield "memory://scans"
        return
    server = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer(port=0)
    s3fs = pytest.importorskip("s3fs")
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"KEY": "any", "SECRET": "any", "ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(f"FSSPEC_S3_{name}", value)
        patch.setitem(fsspec.config.conf, "s3", {"key": "a", "secret": "a", "endpoint_url": f"http://{host}:{port}"})
        s3fs.S3FileSystem.clear_instance_cache()
        fsspec.filesystem("s3").mkdir("scans")
        yield S3
    server.stop()


def stored(folder: str, *names: str) -> None:
    for seed, name in enumerate(names):
        with fsspec.open(f"{folder}/{name}", "wb") as file:
            Image.fromarray(noise((20, 30, 3), seed=seed)).save(file, "PNG")


def names(folder: str) -> list[str]:
    system, path = fsspec.core.url_to_fs(folder)
    return sorted(name.partition(path)[2].strip("/") for name in system.find(path))


def pixels(name: str) -> np.ndarray:
    with fsspec.open(name, "rb") as file:
        return np.asarray(Image.open(file))


def test_a_folder_elsewhere_becomes_another(bucket: str, capfd: pytest.CaptureFixture[str]) -> None:
    stored(bucket, "in/1.png", "in/deep/2.png", "in/.hidden.png", "in/notes.txt", "in/x.psd")
    fsspec.core.url_to_fs(f"{bucket}/in/3.png")[0].pipe_file(f"{bucket.removeprefix('memory:/')}/in/3.png", b"broken")
    command = ["upscale", f"{bucket}/in", "-r", "-o", f"{bucket}/out", "-m", "nearest", "-s", "2", "--resume"]
    assert main(command) == 3
    printed = capfd.readouterr().err
    assert f"'{bucket}/in/3.png'" in printed
    assert "x.psd" in printed
    assert names(f"{bucket}/out") == ["1.png", "deep/2.png", "pysr-manifest.jsonl"]
    assert np.array_equal(pixels(f"{bucket}/out/1.png"), noise((20, 30, 3)).repeat(2, 0).repeat(2, 1))
    assert main(command) == 3
    assert capfd.readouterr().err.count("as the manifest says") == 2
    with fsspec.open(f"{bucket}/out/pysr-manifest.jsonl") as file:
        lines = [json.loads(line) for line in file.read().splitlines()]
    assert {line["input"]: line["state"] for line in lines} == {
        f"{bucket}/in/1.png": "done",
        f"{bucket}/in/deep/2.png": "done",
        f"{bucket}/in/3.png": "failed",
    }


def test_lines_of_a_run_that_was_killed_count(
    memory: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored("memory://scans", "in/1.png", "in/2.png")
    command = ["upscale", "memory://scans/in", "-o", "memory://scans/out", "-m", "nearest", "-s", "2", "--resume"]
    assert main(command) == 0
    whole = memory.cat_file("/scans/out/pysr-manifest.jsonl").splitlines(keepends=True)
    memory.pipe_file("/scans/out/pysr-manifest.jsonl", whole[0])
    memory.pipe_file("/scans/out/pysr-manifest.jsonl.0a-1", whole[1])
    capfd.readouterr()
    assert main(command) == 0
    assert capfd.readouterr().err.count("as the manifest says") == 2
    assert names("memory://scans/out") == ["1.png", "2.png", "pysr-manifest.jsonl"]
    memory.pipe_file("/scans/in/1.png", memory.cat_file("/scans/in/2.png"))
    with monkeypatch.context() as patch:
        patch.delattr("pysr.upscaling.jobs.fetched")  # what is skipped by its name is not fetched
        assert main([*command[:-1], "--skip-existing"]) == 0
    assert capfd.readouterr().err.count("is there already") == 2
    assert main(command) == 0
    assert capfd.readouterr().err.count("as the manifest says") == 1


def test_work_on_files_elsewhere_travels_to_other_processes(tmp_path: Path) -> None:
    folder = f"file://{tmp_path}"  # what several processes see
    stored(folder, "1.png")
    jobs = plan_folder(folder, f"{folder}/out")
    course = Course(manifest=manifest_in(f"{folder}/out"))
    worker = FileWorker(Models("nearest", 2, {}), Output(), course, {})
    (result, record), *_ = (pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(worker))(job))) for job in jobs)
    assert (str(result.source), str(result.target)) == (f"{folder}/1.png", f"{folder}/out/1.png")
    assert (record.input, record.state) == (f"{folder}/1.png", "done")
    assert record.bytes == (tmp_path / "out" / "1.png").stat().st_size


def test_files_elsewhere_and_here_go_together(memory: Any, tmp_path: Path) -> None:
    stored("memory://scans", "1.png")
    up = pysr.load("nearest", 2)
    report = up.upscale_file("memory://scans/1.png", tmp_path / "2.tif")
    assert (report.source, report.size) == ("memory://scans/1.png", (60, 40))
    up.upscale_file(tmp_path / "2.tif", "memory://scans/4.png")
    assert pixels("memory://scans/4.png").shape == (80, 120, 3)
    assert up.upscale("memory://scans/1.png").size == (60, 40)
    assert main(["upscale", "memory://scans/1.png", "-m", "nearest", "-s", "2", "-q"]) == 0
    assert names("memory://scans") == ["1.png", "1_x2.png", "4.png"]
    with pytest.raises(InputError, match="is the input and would be overwritten"):
        up.upscale_file("memory://scans/1.png", "memory://scans/1.png")


def test_what_cannot_be_reached_is_told(memory: Any, tmp_path: Path) -> None:
    up = pysr.load("nearest", 2)
    with pytest.raises(InputError, match=r"there is no file 'memory://scans/no\.png'"):
        up.upscale_file("memory://scans/no.png", tmp_path / "a.png")
    with pytest.raises(InputError, match=r"'nowhere://a\.png' cannot be reached"):
        up.upscale_file("nowhere://a.png", tmp_path / "a.png")
    stored("memory://scans", "1.png")
    with pytest.raises(InputError, match=r"a Zarr store is a folder, which memory://scans/a\.zarr cannot hold"):
        up.upscale_file("memory://scans/1.png", "memory://scans/a.zarr")


def test_zarr_stores_elsewhere_are_named_and_not_fetched(
    memory: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored("memory://scans", "1.png")
    memory.pipe_file("/scans/map.zarr/zarr.json", b"{}")
    why = r"memory://scans/map\.zarr is a Zarr store, which pysr reads only from this computer; copy its folder here"
    with pytest.raises(InputError, match=why):
        pysr.load("nearest", 2).upscale_file("memory://scans/map.zarr", tmp_path / "a.png")
    for recursive in (False, True):
        caplog.clear()
        results = pysr.load("nearest", 2).upscale_folder("memory://scans", tmp_path, recursive=recursive)
        assert [(str(result.source), result.error) for result in results] == [("memory://scans/1.png", None)]
        assert "left out of memory://scans, as pysr cannot read them: map.zarr" in caplog.text


def test_a_zarr_store_elsewhere_is_no_folder(memory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    memory.pipe_file("/scans/map.zarr/zarr.json", b"{}")
    assert main(["upscale", "memory://scans/map.zarr", "-o", "a.png", "-m", "nearest"]) == 2
    assert "memory://scans/map.zarr is a Zarr store, which pysr reads only from this" in capsys.readouterr().err


def test_requests_that_fail_are_sent_again_and_nothing_is_cut_off(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored("memory://scans", "1.png")
    failing = [OSError("reset by peer")] * 2
    opened = type(memory).open

    def open_later(self: Any, *arguments: Any, **options: Any) -> Any:
        if failing:
            raise failing.pop()
        return opened(self, *arguments, **options)

    monkeypatch.setattr(type(memory), "open", open_later)
    up = pysr.load("nearest", 2)
    up.upscale_file("memory://scans/1.png", tmp_path / "a.png")
    failing += [OSError("reset by peer")] * 3
    with pytest.raises(InputError, match=r"'memory://scans/b\.png' cannot be reached \(.*reset by peer\)"):
        up.upscale_file(tmp_path / "a.png", "memory://scans/b.png")
    assert names("memory://scans") == ["1.png"]


def test_a_result_that_breaks_off_on_its_way_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(f"file://{tmp_path}", "1.png", "2.png")
    before = (tmp_path / "2.png").read_bytes()

    def break_off(source: Any, target: Any, _: int) -> None:
        target.write(source.read(100))
        raise OSError("broken pipe")

    monkeypatch.setattr("shutil.copyfileobj", break_off)
    with pytest.raises(InputError, match=r"2\.png' cannot be reached \(.*broken pipe\)"):
        pysr.load("nearest", 2).upscale_file(tmp_path / "1.png", f"file://{tmp_path}/2.png")
    assert (tmp_path / "2.png").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["1.png", "2.png"]


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(
        InputError, match=r"takes fsspec, which is not installed, .* pip install 'pysr-sdk\[remote\]' s3fs$"
    ):
        pysr.load("nearest", 2).upscale_file("s3://scans/1.png", tmp_path / "a.png")


def test_without_the_package_for_a_kind_of_storage_the_error_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    fsspec.filesystem("file")  # imports what is there
    with pytest.raises(InputError, match=r"takes another package \(.*aiohttp.*\); install it, or download the file"):
        pysr.load("nearest", 2).upscale_file("https://scans.invalid/1.png", tmp_path / "a.png")


@pytest.mark.parametrize("name", ["C://scans", "C:\\scans", "a:b.png", "12:30.png", "s3:/scans", "/a//b"])
def test_colons_alone_are_part_of_names(name: str) -> None:
    assert not is_url(name)
    assert as_place(name) == Path(name)


def test_a_file_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(noise((20, 30, 3))).save("at 12:30.png")
    assert main(["upscale", "at 12:30.png", "-o", "a:b.png", "-m", "nearest", "-s", "2", "-q"]) == 0
    assert sorted(os.listdir()) == ["a:b.png", "at 12:30.png"]


def test_a_place_elsewhere_has_what_paths_have() -> None:
    place = Url("s3://bucket/scans/1.tar.png", 7)
    assert (place.name, place.stem, place.suffix, place.parent) == (
        "1.tar.png",
        "1.tar",
        ".png",
        Url("s3://bucket/scans"),
    )
    assert Url("s3://bucket/") / Path("a") / "b.png" == Url("s3://bucket/a/b.png")
    assert Url("s3://b/x/y").relative_to(Url("s3://b/")) == Path("x/y")
    assert Url("s3://b") / Path() == Url("s3://b")
    assert pickle.loads(pickle.dumps(place)).bytes == 7
