"""Datasets: folders of image files, and ``.npz`` arrays of many small images."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..imaging.colour import luma, to_channels
from ..imaging.palette import colours_of
from .listing import image_files
from .raster import to_depth
from .reader import read_raster

_CHUNK = 256  # images of an array converted to float32 at a time: 192 MiB for RGB of 256 x 256
Colour = Literal["rgb", "luma", "any"]
_WANTED = "(N, H, W, 3) or (N, H, W) uint8"


def read_array(path: Path, name: str) -> NDArray[np.uint8]:
    """Read the images of an ``.npz`` file. Nothing in the file is executed (no pickles).

    Args:
        path: A file written by `numpy.savez`.
        name: The array to read; if there is none of that name, the only array that holds images.

    Returns:
        (N, H, W, C) uint8, C being 3 or 1.

    Raises:
        InputError: The file is missing or damaged, or it has no array of images, or several.
    """
    try:
        if path.is_file() and not zipfile.is_zipfile(path):
            raise ValueError("it is not a complete .npz file")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name]} if name in file else {key: file[key] for key in file}
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{str(path)!r} cannot be read ({reason}); give an .npz file written by numpy.savez") from None
    found = [array for array in arrays.values() if _holds_images(array)]
    if len(found) != 1:
        listed = ", ".join(f"{key}: {array.shape} {array.dtype}" for key, array in arrays.items())
        raise InputError(
            f"{str(path)!r} has {'no array' if not found else 'several arrays'} of images ({listed}); "
            f"give one called {name!r}, {_WANTED}"
        )
    array: NDArray[np.uint8] = found[0]
    return array if array.ndim == 4 else array[..., None]


def _holds_images(array: NDArray[Any]) -> bool:
    shaped = array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)
    return bool(shaped and array.dtype == np.uint8 and array.size > 0)


def read_planes(path: Path) -> Tensor:
    """Read an image file as a tensor, without its alpha.

    Args:
        path: The file, in any format that `pysr.files.read_raster` reads.

    Returns:
        (C, H, W) float32 in [0, 1]; C is 1 for gray images, of 8 or 16 bits, else 3.

    Raises:
        InputError: As for `read_raster`.
    """
    raster = read_raster(path)
    pixels = raster.pixels
    if raster.palette is not None:
        pixels = colours_of(pixels, raster.palette)
    elif raster.kind == "cmyk":
        pixels = np.asarray(raster.to_pil().convert("RGB"))
    planes = torch.from_numpy(np.atleast_3d(to_depth(pixels, np.float32))).permute(2, 0, 1)
    return planes[: 3 if len(planes) > 2 else 1]


def read_stacks(place: Path, array: str) -> Iterator[tuple[Path, Tensor]]:
    """Read the images of a folder or an ``.npz`` file, a few at a time.

    Args:
        place: A folder, whose images are listed by `image_files`, or an ``.npz`` file.
        array: Which array of the file to read; see `read_array`.

    Yields:
        The file, and images of one shape from it, (n, C, H, W) float32 in [0, 1], C being 1 or 3.

    Raises:
        InputError: The place or a file in it cannot be read.
    """
    if place.suffix.lower() != ".npz":
        yield from ((path, read_planes(path)[None]) for path in image_files(place))
        return
    pixels = torch.from_numpy(read_array(place, array)).permute(0, 3, 1, 2)
    yield from ((place, part.contiguous().float() / 255) for part in torch.split(pixels, _CHUNK))


def in_colour(planes: Tensor, colour: Colour) -> Tensor:
    """Convert (..., C, H, W), C being 1 or 3, to a model's colour: three planes for "rgb", else one of luma."""
    return to_channels(planes, 3) if colour == "rgb" else luma(planes)


def digest(place: Path, *, images: bool = True) -> str:
    """Compute a SHA-256 digest of a data set's file names and contents, independent of the place's own name.

    It costs little compared with decoding the images: 0.1 s for 38 MB.

    Args:
        place: A folder, or an ``.npz`` file, of which only the bytes count.
        images: Whether only the images of a folder count; False takes all its files.

    Returns:
        64 hexadecimal digits.
    """
    whole = hashlib.sha256()
    inside = image_files(place) if images and place.is_dir() else sorted(filter(Path.is_file, place.glob("*")))
    for path in inside or [place]:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{content} {path.relative_to(place)}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()
