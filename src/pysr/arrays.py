"""Sets of small pictures in one ``.npz`` file, as NumPy writes them."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

WANTED = "(N, H, W, 3) or (N, H, W) uint8"


def read_array(path: Path, name: str) -> NDArray[np.uint8]:
    """The pictures of an ``.npz`` file, (N, H, W, C), C being 3 or 1: its array of that name, or the only fitting one.

    Nothing in the file is run (no pickles). Raises InputError for a file that is missing or damaged, and where no
    array, or more than one, could be meant.
    """
    try:
        if path.is_file() and not zipfile.is_zipfile(path):
            raise ValueError("it is not what its name says, or incomplete")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name]} if name in file else {key: file[key] for key in file}
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{str(path)!r} cannot be read ({reason}); give an .npz file written by numpy.savez") from None
    found = [array for array in arrays.values() if _holds_pictures(array)]
    if len(found) != 1:
        listed = ", ".join(f"{key}: {array.shape} {array.dtype}" for key, array in arrays.items())
        raise InputError(
            f"{str(path)!r} has {'no array' if not found else 'several arrays'} of pictures ({listed}); "
            f"give one called {name!r}, {WANTED}"
        )
    array: NDArray[np.uint8] = found[0]
    return array if array.ndim == 4 else array[..., None]


def _holds_pictures(array: NDArray[Any]) -> bool:
    shaped = array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)
    return bool(shaped and array.dtype == np.uint8 and array.size > 0)
