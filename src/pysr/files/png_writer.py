"""Write PNG files fast: one filter that suits photographs, and the fastest compressor that there is.

The filter "average" with ISA-L (isal) takes a sixteenth of the time of Pillow's default and 2 to 4 % more bytes;
without it zlib does it in a sixth, with 4 % less to 6 % more (benchmarks/png.py). Drawings and text get no filter and
more effort, by libdeflate (imagecodecs) where that is installed, which costs them little.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from .bands import in_threads, rebanded
from .igzip import quickly_deflated
from .interface import ImageWriter
from .raster import Kind, Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6  # colour types (PNG, third edition, section 11.2.1)
_NO_FILTER, _AVERAGE = 0, 3  # section 9.2
_STRIP = 2**19  # bytes that are filtered and compressed at a time
_CACHED = 2**16  # bytes that are filtered at a time, to stay in the processor's cache
_SAMPLE = 2**14  # bytes of a strip that are tried
_WHOLE = 2**28  # bytes up to which libdeflate, which cannot work by strips, compresses an image as a whole
_IDAT = 2**23  # bytes of a chunk, at most
_WELL_COMPRESSIBLE = 0.25  # drawings come below this part of their size, photographs above
_THOROUGH = 6

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class _Strip:
    """Packed rows, (h, bytes), with the row above them; None above the first."""

    rows: Bytes
    above: Bytes | None
    is_last: bool


class PngWriter(ImageWriter):
    """A PNG file that is being written."""

    def __init__(
        self,
        file: IO[bytes],
        size: tuple[int, int],
        kind: Kind,
        *,
        palette: NDArray[np.uint8] | None = None,
        level: int | None = None,
        chunks: bytes = b"",
        by_rows: bool = False,
    ) -> None:
        """Prepare to write.

        Args:
            file: Open for writing.
            size: (width, height) in pixels.
            kind: As `Raster.kind`, but not "cmyk".
            palette: As `Raster.palette`.
            level: Of compression, 0 (none) to 9 (smallest, slow). Default: fast, and nearly as small as the default of
                zlib, 6.
            chunks: To stand behind the header, such as metadata.
            by_rows: Whether few rows are to be in memory at a time, however large the image is.
        """
        self._chunks, self._by_rows = chunks, by_rows
        self._file, self._size, self._kind, self._palette, self._level = file, size, kind, palette, level
        self._has_isal = bool(find_spec("isal"))

    def write(self, bands: Iterable[Pixels]) -> None:
        """As `ImageWriter.write`; of uint8 or uint16."""
        bands = iter(bands)
        first = next(bands)
        channels = first.shape[2] if first.ndim == 3 else 1
        bits = self._bits(first.dtype)
        self._file.write(_SIGNATURE)
        colour = _PALETTE if self._kind == "palette" else (_GRAY, _GRAY_ALPHA, _RGB, _RGBA)[channels - 1]
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", *self._size, bits, colour, 0, 0, 0))
        self._file.write(self._chunks)
        self._write_palette()
        self._step = max(1, channels * bits // 8)
        stride = (self._size[0] * channels * bits + 7) // 8
        strips = self._strips(rebanded(chain([first], bands), max(1, _STRIP // stride)), bits)
        if not self._by_rows and find_spec("imagecodecs") and (stride + 1) * self._size[1] <= _WHOLE:
            self._write_whole(strips, stride)
        else:
            self._write_strips(strips)
        self._chunk(b"IEND", b"")

    def _bits(self, dtype: np.dtype[np.generic]) -> int:
        if self._kind == "bilevel":
            return 1
        if self._palette is None:
            return 8 * dtype.itemsize
        return next(bits for bits in (1, 2, 4, 8) if len(self._palette) <= 1 << bits)

    def _write_palette(self) -> None:
        if self._palette is None:
            return
        self._chunk(b"PLTE", self._palette[:, :3].tobytes())
        transparent = np.flatnonzero(self._palette[:, 3] < 255)
        if transparent.size:
            self._chunk(b"tRNS", self._palette[: transparent[-1] + 1, 3].tobytes())

    def _strips(self, bands: Iterable[Pixels], bits: int) -> Iterator[_Strip]:
        above: Bytes | None = None
        left = self._size[1]
        for band in bands:
            left -= len(band)
            rows = _packed(band, bits)
            yield _Strip(rows, above, is_last=left == 0)
            above = rows[-1]

    def _write_whole(self, strips: Iterable[_Strip], stride: int) -> None:
        from imagecodecs import deflate_encode

        filtered = np.empty((self._size[1], stride + 1), np.uint8)
        top = 0
        parts = []
        for strip in strips:
            parts.append((strip, filtered[top : top + len(strip.rows)]))
            top += len(strip.rows)
        for _ in in_threads(lambda part: self._filter(*part), parts):
            pass
        is_photograph = self._compressibility(filtered) >= _WELL_COMPRESSIBLE
        if self._level is None and is_photograph and self._has_isal:
            data = memoryview(quickly_deflated(filtered.data.cast("B"), zlib.MAX_WBITS))
        else:
            level = self._level if self._level is not None else 1 if is_photograph else _THOROUGH
            data = memoryview(deflate_encode(cast(bytes, filtered), level=level))  # takes any buffer
        for start in range(0, len(data), _IDAT):
            self._chunk(b"IDAT", data[start : start + _IDAT])

    def _write_strips(self, strips: Iterable[_Strip]) -> None:
        """Compress strips independently of each other, so that several threads can work (RFC 1950, 1951)."""
        checksum, start = 1, b"\x78\x01"
        for filtered, data, is_last in in_threads(self._deflated, strips):
            checksum = zlib.adler32(filtered.data, checksum)
            self._chunk(b"IDAT", start + data + (struct.pack(">I", checksum) if is_last else b""))
            start = b""

    def _deflated(self, strip: _Strip) -> tuple[Bytes, bytes, bool]:
        filtered = np.empty((strip.rows.shape[0], strip.rows.shape[1] + 1), np.uint8)
        self._filter(strip, filtered)
        flush = zlib.Z_FINISH if strip.is_last else zlib.Z_SYNC_FLUSH
        level, strategy = self._level, zlib.Z_DEFAULT_STRATEGY
        if level is None:
            level = _THOROUGH
            if self._compressibility(filtered) >= _WELL_COMPRESSIBLE:
                if self._has_isal:
                    return filtered, quickly_deflated(filtered.data.cast("B"), -zlib.MAX_WBITS, flush), strip.is_last
                level, strategy = 1, zlib.Z_RLE  # photographs repeat nothing; looking for it takes most of the time
        compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
        return filtered, compressor.compress(filtered.data) + compressor.flush(flush), strip.is_last

    def _filter(self, strip: _Strip, filtered: Bytes) -> None:
        """Filter a strip into (h, bytes + 1); the first byte of a row names the filter."""
        rows, above = strip.rows, strip.above
        if self._kind in ("bilevel", "palette") or not self._gains_by_averages(strip):
            filtered[:, 0], filtered[:, 1:] = _NO_FILTER, rows
            return
        filtered[:, 0] = _AVERAGE
        height = max(1, _CACHED // rows.shape[1])
        for top in range(0, len(rows), height):
            part = slice(top, top + height)
            _subtract_averages(rows[part], rows[top - 1] if top else above, self._step, filtered[part, 1:])

    def _gains_by_averages(self, strip: _Strip) -> bool:
        """Whether a sample of a strip compresses better when it is filtered."""
        rows = strip.rows
        top = len(rows) // 2
        sample = rows[top : top + max(1, _SAMPLE // rows.shape[1])]
        filtered = np.empty_like(sample)
        _subtract_averages(sample, rows[top - 1] if top else strip.above, self._step, filtered)
        plain = self._compressed_share(sample)
        return plain > _WELL_COMPRESSIBLE and self._compressed_share(filtered) < plain

    def _compressibility(self, rows: Bytes) -> float:
        """Compressed size as a part of the size, judged by rows in the middle."""
        middle, height = len(rows) // 2, max(1, 2 * _SAMPLE // rows.shape[1])
        return self._compressed_share(rows[middle : middle + height])

    def _compressed_share(self, rows: Bytes) -> float:
        data = memoryview(rows.tobytes())
        return len(quickly_deflated(data, zlib.MAX_WBITS) if self._has_isal else zlib.compress(data, 1)) / rows.size

    def _chunk(self, name: bytes, data: bytes | memoryview) -> None:
        self._file.write(struct.pack(">I", len(data)) + name)
        self._file.write(data)
        self._file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def _packed(band: Pixels, bits: int) -> Bytes:
    """Arrange a band of pixels as the bytes of rows, (h, bytes)."""
    if bits == 16:
        band = band.astype(">u2")
    if bits >= 8:
        return np.ascontiguousarray(band).reshape(len(band), -1).view(np.uint8)
    if bits == 1:
        bits_of_rows: Bytes = np.packbits(band > 0, axis=1)
        return bits_of_rows
    fitting = np.pad(band, ((0, 0), (0, -band.shape[1] % (8 // bits))))
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    shifted = fitting.reshape(len(band), -1, 8 // bits) << shifts
    packed: Bytes = np.bitwise_or.reduce(shifted, axis=2).astype(np.uint8)
    return packed


def _subtract_averages(rows: Bytes, above: Bytes | None, step: int, out: Bytes) -> None:
    """Subtract from every byte the mean of those to the left and above, rounded down.

    Args:
        rows: (h, bytes).
        above: The row before; None for zeros.
        step: Bytes of a pixel: how far to the left the same channel is.
        out: (h, bytes), filled.
    """
    up = np.empty_like(rows)
    up[0] = 0 if above is None else above
    up[1:] = rows[:-1]
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    mean = left ^ up  # half of what differs, and what is common: no sum that needs nine bits
    mean >>= 1
    left &= up
    mean += left
    np.subtract(rows, mean, out=out)
