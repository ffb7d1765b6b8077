"""Arrays that are read and filled by windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_samples import noise
from PIL import Image
from torch import nn

import pysr
from pysr import InputError
from pysr.plugin import Model
from pysr.upscaling import tiling, windows


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "RESAMPLED", 2000)
    monkeypatch.setattr(windows, "BAND", 1000)


class Windowed:
    """An array as Zarr, h5py and dask offer it; notes what is read."""

    def __init__(self, array: np.ndarray, chunks: Any = None) -> None:
        self._array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks
        self.seen: list[slice] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        self.seen.append(key)
        return self._array[key]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 1), (40, 30, 2), (40, 30, 3), (40, 30, 4)])
def test_windows_give_what_the_array_gives(shape: tuple[int, ...], dtype: str) -> None:
    array, up = noise(shape, dtype), pysr.load("bicubic", 2)
    image, out = Windowed(array), np.empty((80, 60, *shape[2:]), dtype)
    expected = up.upscale(array)
    assert np.array_equal(up.upscale(image), expected)
    assert up.upscale(image, out=out) is out
    assert np.array_equal(out, expected)
    assert max(key.stop - key.start for key in image.seen if key.start is not None) < len(array)


def test_a_memmap_is_read_and_filled(tmp_path: Path) -> None:
    array, up = noise((40, 30, 3)), pysr.load("nearest", 3)
    np.save(tmp_path / "in.npy", array)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.uint8, (120, 90, 3))
    up.upscale(np.load(tmp_path / "in.npy", mmap_mode="r"), out=out)
    out.flush()
    assert np.array_equal(np.load(tmp_path / "out.npy"), up.upscale(array))


@pytest.mark.parametrize("of_image", [lambda image: image, lambda image: image[:], np.asarray])
def test_an_image_may_be_replaced_in_place(
    install: Callable[..., Any], tmp_path: Path, of_image: Callable[[Any], Any]
) -> None:
    install(Model("mean", (1,), lambda scale, variant: nn.AvgPool2d(5, 1, 2), "", colour="any", receptive_field=2))
    up, array = pysr.load("mean", tiling=pysr.Tiling(patch=16)), noise((60, 20, 3))
    image = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, array.shape)
    image[:] = array
    up.upscale(image, out=of_image(image))
    assert np.array_equal(image, up.upscale(array))


@pytest.mark.parametrize("chunks", [(7, 30, 3), ((7, 7, 7, 7, 7, 5), (30,), (3,))])
def test_whole_chunks_are_read(chunks: Any) -> None:
    image = Windowed(noise((40, 30, 3)), chunks)
    pysr.load("bicubic", 2).upscale(image)
    assert {key.start for key in image.seen} == {0, 7, 14, 21, 28, 35}


def test_what_needs_the_whole_reads_the_whole() -> None:
    array, up = noise((40, 30, 3)), pysr.load("bicubic", 2, match_histogram=True)
    assert np.array_equal(up.upscale(Windowed(array)), up.upscale(array))


def test_what_does_not_fit_is_named() -> None:
    up, array = pysr.load("bicubic", 2), noise((8, 6, 3))
    with pytest.raises(InputError, match=r"out is \(8, 6, 3\) of uint8, and the result \(16, 12, 3\) of uint8"):
        up.upscale(array, out=np.empty((8, 6, 3), np.uint8))
    with pytest.raises(InputError, match=r"out is \(16, 12, 3\) of float32"):
        up.upscale(array, out=np.empty((16, 12, 3), np.float32))
    with pytest.raises(InputError, match="the image is Image; leave it out"):
        up.upscale(Image.new("L", (2, 2)), out=np.empty((4, 4), np.uint8))  # type: ignore[call-overload]
    with pytest.raises(InputError, match="images of int64 are not supported"):
        up.upscale(Windowed(array.astype(np.int64)))
    floats = np.zeros((40, 30, 3), np.float32)
    floats[33, 2, 1] = np.nan
    with pytest.raises(InputError, match=r"image\[33, 2, 1\]"):
        up.upscale(Windowed(floats))
    with pytest.raises(InputError, match="draws nothing at random"):
        up.upscale(Windowed(array), seed=1)
