"""Read image files of every format: `open_reader` chooses an `ImageReader` by the file's content."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO

import numpy as np
from PIL import Image

from ..errors import InputError, format_error
from .formats import detect_format
from .heif import open_avif, open_heic
from .interface import ImageReader
from .jpeg import JpegReader
from .jpeg2000 import open_jpeg2000
from .metadata import Metadata, decodable, read_metadata
from .netpbm import open_netpbm
from .npy import NpyReader
from .pillow import PillowReader
from .plausible import check_plausible
from .png import open_png
from .raster import Pixels, Raster
from .raster_rows import RasterRows
from .streams import Source, name_of, open_for_reading
from .tiff_choice import open_tiff
from .zarr import ZarrReader

FLOAT_OVERSHOOT = 0.5  # beyond black and white; filters stay within it
_log = logging.getLogger(__name__)
MAX_PIXELS = 2**29  # 537 million: 2 GiB as Pillow holds RGB
ANY_SIZE = 2**63  # pixels: of images that are not decoded, or row by row


@contextmanager
def open_reader(path: Source, *, max_pixels: int = MAX_PIXELS) -> Iterator[ImageReader]:
    """Open an image file: PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF, PPM, NPY or Zarr, whatever the ending of its name.

    Args:
        path: The file, or one that is open for reading (in binary mode).
        max_pixels: Larger images are refused by their header, before any memory is allocated. (For GIF and WebP,
            Pillow's own limit of 179 million pixels holds too.)

    Yields:
        The open file: its header, windows of its pixels, its metadata.

    Raises:
        InputError: The file is missing, unreadable, too large, truncated, damaged or not an image.
    """
    name = name_of(path)
    with open_for_reading(path) as file, _decoding(name):
        reader = _opened_reader(file, name)
        check_pixels(reader.header.size, max_pixels, name)
        yield reader


class ImageFile:
    """An open image file, to be read as a whole or row by row.

    Attributes:
        header: As `ImageReader.header`.
        whole_because: Why the image can only be decoded as a whole; None if rows can be.
    """

    def __init__(self, reader: ImageReader, name: str) -> None:
        self.header = reader.header
        self._reader, self._name = reader, name
        self.whole_because = None
        if not reader.by_rows:
            self.whole_because = f"this {reader.header.format} file is decoded as a whole"
        elif not reader.turns_by_rows and not reader.held_because:
            self.whole_because = "the image has to be turned upright"

    @property
    def held_because(self) -> str | None:
        """Why the image is in memory as a whole even where its rows are taken; None if it is not."""
        return self._reader.held_because

    def read(self, max_pixels: int = MAX_PIXELS) -> Raster:
        """Decode the image as `read_raster` does."""
        self._warn_of_losses()
        with _decoding(self._name):
            check_pixels(self.header.size, max_pixels, self._name)
            raster = self._reader.read()
        if raster.pixels.size:
            _check_floats([raster.pixels], self._name)
        return raster

    def rows(self) -> RasterRows:
        """Return the image of any size row by row, while the file is open.

        Raises:
            InputError: As for `open_reader`; also where bands are taken.
        """
        self._warn_of_losses()
        with _decoding(self._name):
            check_pixels(self.header.size, MAX_PIXELS if self.held_because else ANY_SIZE, self._name)
            rows = self._reader.rows()
        rows = replace(rows, bands=partial(_decoded, rows.bands, self._name))
        if rows.dtype.kind == "f":
            _check_floats(rows.bands(), self._name)
        return rows

    def outline(self) -> RasterRows:
        """Return what is known of the image, upright, before anything is decoded: its only band is a black row."""
        header, metadata = self.header, self._reader.metadata
        width, height = metadata.size or header.size
        row = np.zeros((1, width, *([header.channels] if header.channels > 1 else [])), header.dtype)
        palette = np.full((1, 4), 255, np.uint8) if header.kind == "palette" else None
        facts = header.kind, palette, metadata, header.format, header.lossless
        return RasterRows(lambda: iter([row]), height, row[:0], *facts)

    def _warn_of_losses(self) -> None:
        self._reader.warn_of_losses()
        if self._reader.images > 1:
            _log.warning("%r holds several images; only the first is used", self._name)


@contextmanager
def open_image_file(path: Source) -> Iterator[ImageFile]:
    """Open an image file of any size.

    Args:
        path: As for `open_reader`.

    Raises:
        InputError: As for `open_reader`, but for the size.
    """
    name = name_of(path)
    with open_for_reading(path) as file:
        with _decoding(name):
            reader = _opened_reader(file, name)
        yield ImageFile(reader, name)


def _decoded(bands: Callable[[], Iterator[Pixels]], name: str) -> Iterator[Pixels]:
    """Yield bands; whatever is raised where they are decoded becomes an `InputError`."""
    undecoded = bands()
    while True:
        with _decoding(name):
            band = next(undecoded, None)
        if band is None:
            return
        yield band


def read_raster(path: Source, *, max_pixels: int = MAX_PIXELS) -> Raster:
    """Read and decode an image file in the depth that it has.

    Args:
        path: As for `open_reader`.
        max_pixels: As for `open_reader`.

    Returns:
        The image, upright: EXIF's orientation is applied. Of several images in a file the first is read, with a warning
        in the log. A transparent colour of a gray or RGB file becomes alpha, as no enlarged image could keep it.

    Raises:
        InputError: As for `open_reader`.
    """
    with open_image_file(path) as file:
        return file.read(max_pixels)


def read_image(path: Source, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read and decode an image file as a PIL image.

    Args:
        path: As for `open_reader`.
        max_pixels: As for `open_reader`.

    Returns:
        As `read_raster`, in Pillow's mode for it; where Pillow has none (16 bits in colour), rounded to 8 bits with a
        warning in the log. The colour profile is ``info["icc_profile"]``, EXIF ``info["exif"]``.

    Raises:
        InputError: As for `open_reader`.
    """
    return read_raster(path, max_pixels=max_pixels).to_pil()


def image_size(path: Source) -> tuple[int, int]:
    """Read the size of an image file of any size from its header.

    Returns:
        (width, height) in pixels, before EXIF's orientation is applied.

    Raises:
        InputError: The file is missing, unreadable or not an image.
    """
    with open_reader(path, max_pixels=ANY_SIZE) as reader:
        return reader.header.size


def upright_size(path: Source) -> tuple[int, int]:
    """Read the size of an image file as `image_size` does, but after EXIF's orientation is applied."""
    with open_reader(path, max_pixels=ANY_SIZE) as reader:
        return reader.metadata.size or reader.header.size


def image_metadata(path: Source) -> Metadata:
    """Read what an image file says beside its pixels.

    Raises:
        InputError: The file is missing, unreadable or not an image.
    """
    with open_reader(path, max_pixels=ANY_SIZE) as reader:
        return reader.metadata


def _check_floats(bands: Iterable[Pixels], name: str) -> None:
    """Check the range of floats; whatever else there is, is fine."""
    extremes = [(band.min(), band.max()) for band in bands if band.dtype.kind == "f"]
    if not extremes:
        return
    lows, highs = zip(*extremes, strict=True)
    low, high = float(np.min(lows)), float(np.max(highs))
    if not -FLOAT_OVERSHOOT <= low <= high <= 1 + FLOAT_OVERSHOOT:  # so for NaN, too
        raise InputError(
            f"{name!r} holds floats from {low:g} to {high:g}, and black is 0 and white 1; divide them by the value of"
            " white, replace NaN and infinity, and save the file again"
        )
    if low < 0 or high > 1:
        _log.warning(
            "%r holds floats from %g to %g; what is darker than 0 or lighter than 1 is cut off", name, low, high
        )


_READERS: dict[str, Callable[[IO[bytes], str], ImageReader]] = {
    "PNG": open_png,
    "JPEG": JpegReader,
    "TIFF": open_tiff,
    "AVIF": open_avif,
    "HEIC": open_heic,
    "JPEG2000": open_jpeg2000,
    "PPM": open_netpbm,
    "NPY": NpyReader,
    "ZARR": ZarrReader,
}


def _reader(file: IO[bytes], format: str, name: str) -> ImageReader:
    special = _READERS.get(format)
    return special(file, name) if special else PillowReader(file, format, name)


def _opened_reader(file: IO[bytes], name: str) -> ImageReader:
    format = detect_format(file, name)
    metadata = read_metadata(file, format)
    reader = _reader(decodable(file, format, metadata), format, name)
    reader.describe(metadata)
    check_plausible(reader.header, file, name, reader.compression, reader.length)
    return reader


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises in the ``with`` block into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, MemoryError, ...
        why = f" ({reason})" if (reason := _reason(error)) else ""
        raise InputError(
            f"{name!r} cannot be read{why}: it is damaged or incomplete; use another copy of it"
        ) from error


def _reason(error: Exception) -> str:
    """Return what a decoder says of a file, without the name of the error; "" if that is nothing of use."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.strerror):
        return format_error(error)
    told = isinstance(error, OSError | SyntaxError | ValueError | RuntimeError | EOFError)
    return " ".join(str(error).splitlines()) if told else ""


def check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    """Raise InputError for an image without pixels, or with more than that."""
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"{name!r} has no pixels ({width} x {height}): it is damaged; use another copy of it")
    if width * height > max_pixels:
        raise InputError(
            f"{name!r} is {width} x {height}, {width * height / 1e6:.1f} million pixels, and at most"
            f" {max_pixels / 1e6:.1f} million are allowed; cut the image into parts, or raise max_pixels"
        )
