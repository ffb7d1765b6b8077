"""Read and write NumPy's .npy files by rows, without NumPy's own functions, which map or load whole files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import numpy as np

from ..errors import InputError
from .arrays import array_header
from .interface import ImageReader, ImageWriter
from .raster import Pixels


class NpyReader(ImageReader):
    """An array of an image, (H, W) or (H, W, C), with C as in `Raster.pixels`; floats are in [0, 1]."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Open the image.

        Args:
            file: Open at its start; it stays open while the reader is used.
            name: Of the file, for messages.

        Raises:
            InputError: The array is no image.
        """
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, self._stored = np.lib.format.read_array_header_1_0(file)
        else:  # the third version differs by names of fields, which no image has
            shape, fortran, self._stored = np.lib.format.read_array_header_2_0(file)
        self._file, self._name, self._start = file, name, file.tell()
        self.header = array_header("NPY", shape, self._stored, name, "F" if fortran else "C")
        self.by_rows = True

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """As `ImageReader.window`; only the rows of the window are read."""
        header = self.header
        across = header.size[0] * header.channels
        self._file.seek(self._start + y * across * self._stored.itemsize)
        data = self._file.read(height * across * self._stored.itemsize)
        if len(data) < height * across * self._stored.itemsize:
            raise InputError(f"{self._name!r} is incomplete: it ends within its pixels; use another copy of it")
        shape = (height, header.size[0], header.channels) if header.channels > 1 else (height, header.size[0])
        return np.frombuffer(data, self._stored).reshape(shape)[:, x : x + width].astype(header.dtype, copy=False)


class NpyWriter(ImageWriter):
    """A .npy file that is being written."""

    def __init__(self, file: IO[bytes], size: tuple[int, int]) -> None:
        """Prepare to write.

        Args:
            file: Open for writing.
            size: (width, height) in pixels.
        """
        self._file, self._size = file, size

    def write(self, bands: Iterable[Pixels]) -> None:
        """As `ImageWriter.write`; of uint8, uint16 or float32."""
        width, height = self._size
        for number, band in enumerate(bands):
            if number == 0:
                header = {"descr": band.dtype.str, "fortran_order": False, "shape": (height, width, *band.shape[2:])}
                np.lib.format.write_array_header_1_0(self._file, header)
            self._file.write(np.ascontiguousarray(band).data)
