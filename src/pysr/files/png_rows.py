"""Read PNG files row by row: strips of the filtered rows become PNG files of their own, which a decoder knows."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from .interface import ImageReader
from .metadata.png import SIGNATURE, packed_chunk, walk_chunks
from .raster import Pixels
from .raster_rows import RasterRows

_PART = 2**18  # bytes that are read and inflated at a time
_KEPT = (b"PLTE", b"tRNS")  # chunks that a decoder needs beside the pixels
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type


class PngRowsReader(ImageReader):
    """A PNG file of 8 or 16 bits that is not interlaced."""

    by_rows = True

    def __init__(self, file: IO[bytes], plain: ImageReader, decode: Callable[[IO[bytes]], ImageReader]) -> None:
        """Open the image.

        Args:
            file: Open; it stays open while the reader is used.
            plain: Reads the file as a whole.
            decode: Opens another file of the same kind.
        """
        self.header, self._plain, self._decode = plain.header, plain, decode
        self._file = file
        file.seek(len(SIGNATURE) + 8)
        self._ihdr = file.read(13)
        depth, colour = self._ihdr[8:10]
        self._stride = self.header.size[0] * _CHANNELS[colour] * depth // 8  # bytes of a row
        self._stored = _CHANNELS[colour]

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """As `ImageReader.window`; the first call decodes the whole image."""
        pixels = self._plain.window(x, y, width, height)
        self.palette = self._plain.palette
        return pixels

    def bands(self) -> Iterator[Pixels]:
        """As `ImageReader.bands`."""
        rows, left = self.band_height(), self.header.size[1]
        kept = b"".join(packed_chunk(name, data) for name, data in self._needed())
        above = b""
        for filtered in self._strips(rows * (self._stride + 1)):
            count = min(len(filtered) // (self._stride + 1), left)
            pixels = self._decoded(filtered[: count * (self._stride + 1)], above, kept)
            yield pixels
            left -= count
            if not left:
                return
            last = pixels[-1:] if pixels.ndim == 2 else pixels[-1:, :, : self._stored]  # without a transparent colour
            above = b"\0" + last.astype(">u2" if self._ihdr[8] == 16 else "u1").tobytes()
        raise self._missing(left)

    def _missing(self, count: int) -> ValueError:
        return ValueError(f"{count} of {self.header.size[1]} rows are missing")

    def rows(self) -> RasterRows:
        """As `ImageReader.rows`."""
        kept = b"".join(packed_chunk(name, data) for name, data in self._needed())
        row = next(self._strips(self._stride + 1), b"")
        if len(row) <= self._stride:
            raise self._missing(self.header.size[1])
        first = self._opened(row, b"", kept)
        first.window(0, 0, 1, 1)
        self.palette = first.palette
        return super().rows()

    def _decoded(self, filtered: bytes, above: bytes, kept: bytes) -> Pixels:
        """Decode some rows, below one that is decoded already: it is given as if it were not filtered."""
        reader = self._opened(filtered, above, kept)
        skipped = len(above) > 0
        width, height = reader.header.size
        return reader.window(0, int(skipped), width, height - skipped)

    def _opened(self, filtered: bytes, above: bytes, kept: bytes) -> ImageReader:
        data = above + filtered
        header = self._ihdr[:4] + struct.pack(">I", len(data) // (self._stride + 1)) + self._ihdr[8:]
        stored = zlib.compress(data, 0)
        file = io.BytesIO(
            SIGNATURE + packed_chunk("IHDR", header) + kept + packed_chunk("IDAT", stored) + packed_chunk("IEND", b"")
        )
        return self._decode(file)

    def _needed(self) -> Iterator[tuple[str, bytes]]:
        for name, length in walk_chunks(self._file):
            if name == b"IDAT":
                return
            data = self._file.read(length + 4)[:length]
            if name in _KEPT:
                yield name.decode(), data

    def _strips(self, size: int) -> Iterator[bytes]:
        """Inflate the filtered rows, ``size`` bytes at a time; the last strip may be shorter."""
        strip = bytearray()
        for part in self._inflated():
            strip += part
            while len(strip) >= size:
                yield bytes(strip[:size])
                del strip[:size]
        if strip:
            yield bytes(strip)

    def _inflated(self) -> Iterator[bytes]:
        decompressor = zlib.decompressobj()
        try:
            for data in self._compressed():
                yield decompressor.decompress(data, _PART)
                while decompressor.unconsumed_tail:
                    yield decompressor.decompress(decompressor.unconsumed_tail, _PART)
        except zlib.error as error:  # such as "Error -3 while decompressing data: invalid block type"
            raise ValueError(f"its compressed rows are damaged: {str(error).rpartition(': ')[2]}") from error

    def _compressed(self) -> Iterator[bytes]:
        for name, length in walk_chunks(self._file):
            start = self._file.tell()
            for at in range(0, length if name == b"IDAT" else 0, _PART):
                self._file.seek(start + at)  # as others may read the file, too
                yield self._file.read(min(_PART, length - at))
            self._file.seek(start + length + 4)
