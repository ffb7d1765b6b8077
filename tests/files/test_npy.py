"""Arrays of NumPy as image files."""

import io
from pathlib import Path

import numpy as np
import pytest
from file_samples import noise

import pysr
from pysr.cli.app import main
from pysr.errors import InputError
from pysr.files import read_raster
from pysr.upscaling import file as file_module


def saved(array: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    return file


@pytest.mark.parametrize("most", [0, 2**62])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32", "float16", "float64"])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 1), (40, 30, 2), (40, 30, 3), (40, 30, 4)])
def test_an_array_becomes_the_array_that_upscale_gives(
    shape: tuple[int, ...], dtype: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "IN_MEMORY", most)
    monkeypatch.setattr("pysr.files.interface.BAND", 700)
    native = noise(shape, np.dtype(dtype).name).clip(1 if "u" in dtype else 0, None)
    np.save(tmp_path / "in.npy", native.astype(dtype))
    up = pysr.load("bicubic", 2)
    up.upscale_file(tmp_path / "in.npy", tmp_path / "out.npy")
    result = np.load(tmp_path / "out.npy")
    expected = up.upscale(native.astype(np.float32) if native.dtype.kind == "f" else native)
    assert result.dtype == expected.dtype
    assert np.array_equal(result.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((4, 4), np.int64),
        np.asfortranarray(np.zeros((4, 5), np.uint8)),
        np.zeros((4, 4), [("a", "u1")]),
    ],
)
def test_an_array_that_is_no_image_is_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"which is no image; save one"):
        read_raster(saved(array))


def test_what_is_pickled_or_cut_off_is_refused() -> None:
    with pytest.raises(InputError, match="is no image"):
        read_raster(saved(np.array([[object()]])))
    data = saved(noise((30, 40))).getvalue()
    for length in (7, 60, len(data) - 1):
        with pytest.raises(InputError, match=r"damaged or incomplete|incomplete|not an image"):
            read_raster(io.BytesIO(data[:length]))


def test_arrays_of_a_folder_are_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "weights.npy", np.zeros(3))
    np.save(tmp_path / "image.npy", noise((8, 9, 3)))
    assert main(["upscale", str(tmp_path), "-m", "nearest", "-s", "2"]) == 2
    assert main(["upscale", str(tmp_path / "image.npy"), "-m", "nearest", "-s", "2"]) == 0
    assert np.load(tmp_path / "image_x2.npy").shape == (16, 18, 3)
