"""Zarr stores as image files."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_samples import noise

import pysr
from pysr.cli.app import main
from pysr.errors import InputError
from pysr.files import image_files, read_raster
from pysr.files.zarr import ZarrWriter
from pysr.upscaling import file as file_module

zarr = pytest.importorskip("zarr", reason="the package zarr is not installed")


def stored(path: Path, array: np.ndarray, version: int = 3, **options: Any) -> Path:
    options = {"chunks": (16, 16, *array.shape[2:]), **options}
    zarr.create_array(str(path), data=array, zarr_format=version, **options)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(str(path), mode="r")[:])


@pytest.mark.parametrize("most", [0, 2**62])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 1), (40, 30, 3), (40, 30, 4)])
@pytest.mark.parametrize(("version", "dtype"), [(2, ">u2"), (2, "float32"), (3, "uint8"), (3, "uint16")])
def test_a_store_becomes_what_upscale_gives(
    version: int, dtype: str, shape: tuple[int, ...], most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "IN_MEMORY", most)
    monkeypatch.setattr("pysr.files.zarr.BAND", 700)
    monkeypatch.setattr("pysr.files.zarr._CHUNK", 24)
    array = noise(shape, np.dtype(dtype).name).clip(1 if "u" in dtype else 0, None)
    up = pysr.load("bicubic", 2)
    report = up.upscale_file(stored(tmp_path / "in.zarr", array.astype(dtype), version), tmp_path / "out.zarr")
    expected = up.upscale(array)
    result = pixels(tmp_path / "out.zarr")
    assert report.warnings == ()
    assert result.dtype == expected.dtype
    assert np.array_equal(result.reshape(expected.shape), expected)
    assert zarr.open_array(str(tmp_path / "out.zarr")).chunks[:2] == (24, 24)


def test_other_formats_are_read_and_written_too(tmp_path: Path) -> None:
    up = pysr.load("nearest", 2)
    array = noise((20, 30, 3))
    up.upscale_file(stored(tmp_path / "in.zarr", array, shards=(32, 32, 3)), tmp_path / "a.png")
    up.upscale_file(tmp_path / "a.png", tmp_path / "b.zarr")
    assert np.array_equal(pixels(tmp_path / "b.zarr"), array.repeat(4, 0).repeat(4, 1))
    assert np.asarray(up.upscale(tmp_path / "in.zarr")).shape == (40, 60, 3)


def test_commands_take_stores_for_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = str(stored(tmp_path / "a.zarr", noise((20, 30, 3)), attributes={"place": "here"}))
    command = ["upscale", image, "-m", "nearest", "-s", "2"]
    assert main([*command, "-o", str(tmp_path / "b.zarr")]) == 0
    assert "attributes, which are not kept: place" in capfd.readouterr().err
    assert main([*command, "-o", str(tmp_path / "b.zarr"), "-q"]) == 0
    assert main([*command, "-q"]) == 0
    assert main(["upscale", image, "-m", "nearest", "-s", "2", "-q", "--in-place", "--yes"]) == 0
    assert main(["plan", image, "-m", "nearest", "-s", "2"]) == 0
    assert "ZARR, 60 x 40, RGB" in capfd.readouterr().out
    assert [pixels(tmp_path / f"{name}.zarr").shape[0] for name in ("a", "a_x2", "b")] == [40, 40, 40]
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "a_x2.zarr", "b.zarr"]


def test_stores_of_a_folder_are_its_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scans = tmp_path / "scans"
    stored(scans / "2.zarr", noise((20, 30, 3)))
    stored(scans / "deep" / "1.zarr", noise((20, 30)), 2)
    stored(scans / "weights.zarr", noise((7, 5, 4, 2), "float32"))
    command = ["upscale", str(scans), "-r", "-o", str(tmp_path / "out"), "-m", "nearest", "-s", "2", "--resume"]
    assert main(command) == 0
    assert "left out of" in (printed := capfd.readouterr().err)
    assert "weights.zarr" in printed
    assert main(command) == 0
    assert capfd.readouterr().err.count("as the manifest says") == 2
    (scans / "2.zarr" / "c" / "0" / "0" / "0").write_bytes(b"other")
    assert main(command) == 3
    assert pixels(tmp_path / "out" / "deep" / "1.zarr").shape == (40, 60)
    assert [path.name for path in image_files(scans)] == ["2.zarr"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"shape \(4, 4, 5\) and type uint8, which is no image"),
        (np.zeros(4, np.uint8), "which is no image"),
        (np.zeros((4, 4), np.int64), "which is no image"),
        (np.zeros((4, 4), bool), "which is no image"),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_an_array_that_is_no_image_is_refused(array: np.ndarray, message: str, version: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_raster(stored(tmp_path / "a.zarr", array, version, chunks=array.shape))


@pytest.mark.parametrize("version", [2, 3])
def test_a_group_is_refused_and_its_arrays_are_named(version: int, tmp_path: Path) -> None:
    zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=version)
    stored(tmp_path / "a.zarr" / "red", noise((20, 30)), version)
    with pytest.raises(InputError, match=r"a Zarr group, not an array, with red; name an array in it, as in '.*red'"):
        read_raster(tmp_path / "a.zarr")
    assert read_raster(tmp_path / "a.zarr" / "red").size == (30, 20)
    with pytest.raises(InputError, match="exists and is no Zarr array"):
        pysr.load("nearest", 2).upscale_file(tmp_path / "a.zarr" / "red", tmp_path / "a.zarr")


@pytest.mark.parametrize("version", [2, 3])
def test_damaged_chunks_and_descriptions_are_told(version: int, tmp_path: Path) -> None:
    store = stored(tmp_path / "a.zarr", noise((40, 30)), version)
    chunk = store / ("c/1/1" if version == 3 else "1.1")
    chunk.write_bytes(chunk.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"cannot be read .*damaged or incomplete"):
        read_raster(store)
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(InputError, match="is no file; remove it from the Zarr store"):
        read_raster(store)
    for text in (b"", b"[]", b'{"zarr_format": 3}', b"[" * 10000):
        (store / (".zarray" if version == 2 else "zarr.json")).write_bytes(text)
        with pytest.raises(InputError, match=r"the description of the Zarr store .* is damaged"):
            read_raster(store)


def test_chunks_that_are_missing_are_counted(tmp_path: Path) -> None:
    store = stored(tmp_path / "a.zarr", noise((40, 30)), fill_value=9)
    (store / "c/1/1").unlink()
    report = pysr.load("nearest", 2).upscale_file(store, tmp_path / "b.zarr")
    assert any("lacks 1 of its 6 chunks, and is 9 there" in warning for warning in report.warnings)
    assert (pixels(tmp_path / "b.zarr")[32:64, 32:] == 9).all()


@pytest.mark.parametrize("version", [2, 3])
def test_codecs_that_could_run_code_are_refused(version: int, tmp_path: Path) -> None:
    store = stored(tmp_path / "a.zarr", noise((40, 30)), version)
    description = store / (".zarray" if version == 2 else "zarr.json")
    known = json.loads(description.read_text())
    if version == 2:
        known["filters"] = [{"id": "pickle"}]
    else:
        inner = {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}
        known["codecs"] = [inner]
    description.write_text(json.dumps(known))
    with pytest.raises(InputError, match="the codecs pickle, which pysr does not run"):
        read_raster(store)


def test_a_store_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(10**6, 10**6), chunks=(512, 512), dtype="uint8")
    with pytest.raises(InputError, match="cut off, or made to exhaust memory"):
        read_raster(tmp_path / "a.zarr")
    zarr.create_array(str(tmp_path / "b.zarr"), shape=(10, 10**6), chunks=(1, 1), dtype="uint8")
    with pytest.raises(InputError, match="has 1000000 chunks in a row"):
        read_raster(tmp_path / "b.zarr")


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path / "a.zarr", noise((20, 30)))
    monkeypatch.setattr("pysr.files.zarr.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'pysr-sdk\[zarr\]'"):
        read_raster(tmp_path / "a.zarr")
    np.save(tmp_path / "a.npy", noise((20, 30)))
    with pytest.raises(InputError, match=r"pip install 'pysr-sdk\[zarr\]'"):
        pysr.load("nearest", 2).upscale_file(tmp_path / "a.npy", tmp_path / "b.zarr")


def test_a_folder_that_is_no_store_is_not_replaced(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise((20, 30)))
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "letter.txt").touch()
    (tmp_path / "c.zarr").touch()
    for name in ("b.zarr", "c.zarr"):
        with pytest.raises(InputError, match="exists and is no Zarr array, so it is not replaced"):
            pysr.load("nearest", 2).upscale_file(tmp_path / "a.npy", tmp_path / name)
    assert os.listdir(tmp_path / "b.zarr") == ["letter.txt"]
    with pytest.raises(InputError, match=r"a Zarr store is a folder, which .* cannot hold"):
        pysr.load("nearest", 2).upscale_file(tmp_path / "a.npy", io.BytesIO(), output=pysr.Output(format="zarr"))


def test_an_old_store_stays_if_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = stored(tmp_path / "b.zarr", noise((20, 30)))
    np.save(tmp_path / "a.npy", noise((1000, 10)))

    def fail(self: ZarrWriter, bands: Any) -> None:
        write(self, [next(iter(bands))[:512]])
        raise OSError(28, "No space left on device")

    write = ZarrWriter.write
    monkeypatch.setattr(ZarrWriter, "write", fail)
    with pytest.raises(InputError, match="what was there is unchanged"):
        pysr.load("nearest", 2).upscale_file(tmp_path / "a.npy", old)
    assert np.array_equal(pixels(old), noise((20, 30)))
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "b.zarr"]
