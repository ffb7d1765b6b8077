"""Read and write Zarr stores by rows of chunks, by the package zarr, which the extra ``zarr`` installs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from importlib.util import find_spec
from typing import IO, Any

import numpy as np

from ..errors import InputError
from .arrays import array_header, native
from .bands import rebanded
from .interface import BAND, ImageReader, ImageWriter
from .raster import Pixels
from .zarr_store import describe, stored_files

_CHUNK = 512  # rows and columns of the chunks that are written
_LARGEST_ROW = 2**28  # bytes of a row of chunks that may be decoded as a whole where rows are read one by one
_MOST_CHUNKS = 2**16  # of such a row


def check_installed(name: str) -> None:
    """Check that stores can be read and written.

    Args:
        name: Of the store, for the message.

    Raises:
        InputError: The package zarr is missing.
    """
    if not find_spec("zarr"):
        raise InputError(
            f"{name!r} is a Zarr store, which takes a library of its own; install it, with"
            " pip install 'pysr-sdk[zarr]', or choose another format, such as .npy or .tif"
        )


class ZarrReader(ImageReader):
    """An array of an image, as in `NpyReader`."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Open the image.

        Args:
            file: The one that describes the store, in its folder, open at its start.
            name: Of the store, for messages.

        Raises:
            InputError: It is no array of an image, or the package zarr is missing.
        """
        found = describe(file, name)
        self.header = array_header("ZARR", found.shape, found.dtype, name)
        check_installed(name)
        import zarr

        folder = os.path.dirname(file.name)
        files = list(stored_files(folder))
        self.length = sum(entry.stat().st_size for entry in files)
        store = zarr.storage.LocalStore(folder, read_only=True)
        self._array: Any = zarr.open_array(store=store, mode="r", zarr_format=found.version)
        rows, columns = self._array.chunks[:2]
        width, height = self.header.size
        self._row_bytes = max(1, width * self.header.channels * found.dtype.itemsize)
        self._chunk_rows = min(rows, max(height, 1))
        if (across := -(-width // columns)) > _MOST_CHUNKS:
            raise InputError(
                f"{name!r} has {across} chunks in a row, of {columns} x {rows} pixels; store it with larger ones"
            )
        self.by_rows = self._row_bytes * self._chunk_rows <= _LARGEST_ROW
        self.any_rows = self.by_rows
        self.losses: list[str] = []
        if found.attributes:
            self.losses.append(f"{name!r} has attributes, which are not kept: {', '.join(found.attributes)}")
        chunks = [
            -(-side // cut) for side, cut in zip(found.shape, self._array.shards or self._array.chunks, strict=True)
        ]
        missing = math.prod(chunks) - sum(not entry.name.startswith((".", "zarr.json")) for entry in files)
        if missing > 0:
            filled = f"and is {self._array.fill_value} there"
            self.losses.append(f"{name!r} lacks {missing} of its {math.prod(chunks)} chunks, {filled}")

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """As `ImageReader.window`; only the chunks that the window touches are decoded."""
        part = np.asarray(self._array[y : y + height, x : x + width])
        if part.ndim == 3 and part.shape[2] == 1:
            part = part[..., 0]
        return native(part, np.dtype(self.header.dtype))

    def band_height(self) -> int:
        """As `ImageReader.band_height`: whole chunks, so that none is decoded twice."""
        return int(max(1, BAND // (self._row_bytes * self._chunk_rows)) * self._chunk_rows)


class ZarrWriter(ImageWriter):
    """A Zarr store of version 3 that is being written."""

    def __init__(self, folder: str, size: tuple[int, int]) -> None:
        """Prepare to write.

        Args:
            folder: Where to write; empty.
            size: (width, height) in pixels.
        """
        self._folder, self._size = folder, size

    def write(self, bands: Iterable[Pixels]) -> None:
        """As `ImageWriter.write`; of uint8, uint16 or float32, by rows of chunks."""
        import zarr

        width, height = self._size
        array: Any = None
        for number, band in enumerate(rebanded(bands, _CHUNK)):
            if array is None:
                chunks = (min(_CHUNK, height), min(_CHUNK, width), *band.shape[2:])
                array = zarr.create_array(
                    store=zarr.storage.LocalStore(self._folder),
                    shape=(height, width, *band.shape[2:]),
                    chunks=chunks,
                    dtype=band.dtype.newbyteorder("="),
                    config={"write_empty_chunks": True},  # so that a chunk that gets lost is told from a black one
                )
            array[number * _CHUNK : number * _CHUNK + len(band)] = band
