"""Write TIFF files of every depth by strips, as BigTIFF where 4 GB do not suffice."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import chain
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .bands import in_threads, rebanded
from .interface import ImageWriter
from .raster import Kind, Pixels

COMPRESSIONS: dict[str, int] = {"none": 1, "lzw": 5, "deflate": 8, "packbits": 32773}
_PHOTOMETRIC: dict[Kind, int] = {"bilevel": 1, "gray": 1, "rgb": 2, "palette": 3, "cmyk": 5}
_SHORT, _LONG, _LONG8 = 3, 4, 16  # types of TIFF 6.0, section 2, and of BigTIFF
_LETTERS = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}
_STRIP = 2**18  # bytes
_LARGEST = 4.2e9  # offsets of 32 bits reach up to 4.29e9; the rest is room for metadata
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3  # predictors (section 14, and Adobe's Technical Note 3)
_DEFLATE_LEVEL = 1  # 3 % more bytes than 6 in less than half the time


def check_compression(compression: str) -> None:
    """Check that pixels can be compressed so.

    Raises:
        InputError: That takes imagecodecs, which is not installed.
    """
    if compression in ("lzw", "packbits") and not find_spec("imagecodecs"):
        raise InputError(
            f"compressing TIFF by {compression} takes a library; install it, with pip install"
            ' "pysr-sdk[files]", or choose deflate'
        )


class TiffWriter(ImageWriter):
    """A TIFF file that is being written."""

    def __init__(
        self,
        file: IO[bytes],
        size: tuple[int, int],
        kind: Kind,
        *,
        palette: NDArray[np.uint8] | None = None,
        compression: str = "deflate",
    ) -> None:
        """Prepare to write.

        Args:
            file: Open for writing, seekable.
            size: (width, height) in pixels.
            kind: As `Raster.kind`.
            palette: As `Raster.palette`; its alpha is left out.
            compression: One of `COMPRESSIONS`.

        Raises:
            InputError: That compression needs imagecodecs, which is not installed.
        """
        check_compression(compression)
        self._file, self._size, self._kind, self._palette = file, size, kind, palette
        self._compression = compression

    def write(self, bands: Iterable[Pixels]) -> None:
        """As `ImageWriter.write`; of uint8, uint16 or float32."""
        bands = iter(bands)
        first = next(bands)
        width, height = self._size
        channels = first.shape[2] if first.ndim == 3 else 1
        bits = 1 if self._kind == "bilevel" else 8 * first.dtype.itemsize
        stride = (width * channels * bits + 7) // 8
        self._big = stride * height > _LARGEST
        self._file.write(
            struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if self._big else struct.pack("<2sHI", b"II", 42, 0)
        )
        rows = max(1, _STRIP // stride)
        offsets, lengths = [], []
        predictor = self._predictor(first.dtype)
        for strip in in_threads(partial(self._encoded, predictor=predictor), rebanded(chain([first], bands), rows)):
            offsets.append(self._file.tell())
            lengths.append(len(strip))
            self._file.write(strip + b"\0" * (len(strip) % 2))
        wide = _LONG8 if self._big else _LONG
        tags: list[tuple[int, int, Sequence[int]]] = [
            (256, _LONG, [width]),
            (257, _LONG, [height]),
            (258, _SHORT, [bits] * channels),
            (259, _SHORT, [COMPRESSIONS[self._compression]]),
            (262, _SHORT, [_PHOTOMETRIC[self._kind]]),
            (273, wide, offsets),
            (277, _SHORT, [channels]),
            (278, _LONG, [rows]),
            (279, wide, lengths),
            (284, _SHORT, [1]),
            (317, _SHORT, [predictor]),
        ]
        if self._palette is not None:
            tags.append((320, _SHORT, _colour_map(self._palette)))
        if self._kind in ("gray", "rgb") and channels in (2, 4):
            tags.append((338, _SHORT, [2]))  # alpha that colours are not multiplied by
        tags.append((339, _SHORT, [3 if first.dtype.kind == "f" else 1] * channels))
        self._write_directory(tags)

    def _predictor(self, dtype: np.dtype[np.generic]) -> int:
        if self._compression not in ("lzw", "deflate") or self._kind in ("bilevel", "palette"):
            return 1
        return _FLOAT_DIFFERENCES if dtype.kind == "f" else _DIFFERENCES

    def _encoded(self, rows: Pixels, predictor: int) -> bytes:
        if self._kind == "bilevel":
            data = np.packbits(rows > 0, axis=1)
        elif predictor == _DIFFERENCES:
            data = np.diff(rows, axis=1, prepend=rows.dtype.type(0)).astype(rows.dtype.newbyteorder("<"))
        elif predictor == _FLOAT_DIFFERENCES:
            data = _float_differences(rows)
        else:
            data = rows.astype(rows.dtype.newbyteorder("<"))
        return _compressed(data, self._compression)

    def _write_directory(self, tags: Iterable[tuple[int, int, Sequence[int]]]) -> None:
        count, offset, inline = ("Q", "Q", 8) if self._big else ("H", "I", 4)
        entries = []
        for tag, kind, values in tags:
            data = struct.pack(f"<{len(values)}{_LETTERS[kind]}", *values)
            if len(data) > inline:
                place = self._file.tell()
                self._file.write(data + b"\0" * (len(data) % 2))
                data = struct.pack("<" + offset, place)
            entries.append(struct.pack(f"<HH{offset}", tag, kind, len(values)) + data.ljust(inline, b"\0"))
        start = self._file.tell()
        self._file.write(struct.pack("<" + count, len(entries)) + b"".join(entries) + struct.pack("<" + offset, 0))
        self._file.seek(8 if self._big else 4)
        self._file.write(struct.pack("<" + offset, start))
        self._file.seek(0, 2)


def _float_differences(rows: Pixels) -> NDArray[np.uint8]:
    """Sort the bytes of a row's floats by significance, and subtract from each the one before (Technical Note 3)."""
    channels = rows.shape[2] if rows.ndim == 3 else 1
    ordered = np.ascontiguousarray(rows.astype(">f4")).view(np.uint8).reshape(len(rows), -1, 4)
    planes = ordered.transpose(0, 2, 1).reshape(len(rows), -1)
    result = planes.copy()
    result[:, channels:] -= planes[:, :-channels]
    return result


def _compressed(data: Pixels, compression: str) -> bytes:
    if compression == "none":
        return data.tobytes()
    if compression == "deflate" and not find_spec("imagecodecs"):
        return zlib.compress(data.tobytes(), _DEFLATE_LEVEL)
    import imagecodecs

    if compression == "deflate":
        return bytes(imagecodecs.deflate_encode(data.tobytes(), level=_DEFLATE_LEVEL))
    if compression == "packbits":  # every row by itself
        return b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in data)
    return bytes(imagecodecs.lzw_encode(data.tobytes()))


def _colour_map(palette: NDArray[np.uint8]) -> list[int]:
    colours = np.zeros((256, 3), np.uint16)
    colours[: len(palette)] = palette[:, :3].astype(np.uint16) * 257
    return [int(value) for value in colours.T.ravel()]
