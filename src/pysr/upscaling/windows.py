"""Images that are read by windows and results that are filled by windows: Zarr, h5py, dask, NumPy's memmap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..files.arrays import native
from ..files.interface import BAND
from ..files.raster import Kind, Pixels
from ..files.raster_rows import RasterRows
from ..files.streams import is_stream
from ..imaging.image import check_array, check_values
from .row_upscaling import is_transparent_somewhere

_KINDS: tuple[Kind, ...] = ("gray", "gray", "rgb", "rgb")  # of 1 to 4 channels


class ArrayLike(Protocol):
    """An array that gives parts of itself as NumPy arrays, such as those of Zarr, h5py and dask."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, key: Any, /) -> Any: ...


def gives_windows(image: object) -> bool:
    """Tell whether an image is an `ArrayLike` that is neither NumPy's nor torch's nor Pillow's."""
    known = isinstance(image, (np.ndarray, Tensor, Image.Image, str)) or is_stream(image)
    return not known and all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__"))


def upscale_windows(
    image: Any,
    out: Any,
    scale: int,
    upscale: Callable[[Any], Any],
    whole_because: str | None,
) -> Any:
    """Upscale an image that is read by windows, into an array that is filled by windows.

    Args:
        image: An `ArrayLike` or a NumPy array, (H, W) or (H, W, C), of a dtype that `Upscaler.upscale` takes.
        out: (H * scale, W * scale) or (H * scale, W * scale, C) of the same dtype, to be filled; None for a new array.
        scale: Enlargement per side.
        upscale: Makes rows of rows, and an array of an array.
        whole_because: Why it takes no rows; None if it does.

    Returns:
        ``out``, filled.

    Raises:
        InputError: The image cannot be used, or ``out`` does not fit.
    """
    if not (isinstance(image, np.ndarray) or gives_windows(image)):
        raise InputError(f"out takes the result of an array, and the image is {type(image).__name__}; leave it out")
    rows = _opened(image)
    shape = rows.height * scale, rows.size[0] * scale, *tuple(image.shape)[2:]
    if out is None:
        out = np.empty(shape, rows.dtype)
    elif tuple(out.shape) != shape or np.dtype(out.dtype) != rows.dtype:
        raise InputError(
            f"out is {tuple(out.shape)} of {np.dtype(out.dtype)}, and the result {shape} of {rows.dtype}; give an array"
            " of that shape and type"
        )
    if whole_because or _overlap(image, out) or is_transparent_somewhere(rows):
        out[:] = upscale(np.asarray(image[:]))
        return out
    top = 0
    for band in upscale(rows).bands():
        out[top : top + len(band)] = band.reshape(len(band), *shape[1:])
        top += len(band)
    return out


def _overlap(image: Any, out: Any) -> bool:
    """Whether filling ``out`` may change rows of the image that are still to be read, as at scale 1 in place."""
    known = isinstance(image, np.ndarray) and isinstance(out, np.ndarray)
    return image is out or (known and np.may_share_memory(image, out))


def _opened(image: ArrayLike) -> RasterRows:
    shape, dtype = tuple(image.shape), np.dtype(image.dtype)
    check_array(np.broadcast_to(np.zeros((), dtype), shape))
    dtype = dtype.newbyteorder("=")
    count = _band_height(image, shape, dtype)

    def bands() -> Iterator[Pixels]:
        for top in range(0, shape[0], count):
            yield native(np.asarray(image[top : min(top + count, shape[0])]), dtype)

    if dtype.kind == "f":
        for number, band in enumerate(bands()):
            check_values(band, number * count)
    channels = shape[2] if len(shape) == 3 else 1
    return RasterRows(bands, shape[0], np.empty((0, *shape[1:]), dtype), _KINDS[channels - 1])


def _band_height(image: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """How many rows are read at a time: whole chunks, where the array has some."""
    chunks = getattr(image, "chunks", None)
    tall = chunks[0] if chunks else 1
    tall = max(tall) if isinstance(tall, tuple) else int(tall)  # dask tells the height of every chunk
    return max(1, BAND // (int(np.prod(shape[1:])) * dtype.itemsize * tall)) * tall
