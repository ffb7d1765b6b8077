"""Choose who reads a TIFF file: tifffile, or Pillow where it is exact or tifffile is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import IO

from ..errors import InputError
from .formats import DEVELOP
from .interface import ImageReader
from .pillow_tiff import PillowTiffReader
from .tiff_header import COMPRESSION, Directory, is_raw, read_directories
from .tiff_layout import TiffLayout, layout_of

_FAX = {2, 3, 4}  # CCITT: libtiff, inside Pillow, knows every variant


def open_tiff(file: IO[bytes], name: str) -> ImageReader:
    """Open the first image of a TIFF file that is not a thumbnail.

    Args:
        file: Open at its start; it stays open while the reader is used.
        name: Of the file, for messages.

    Raises:
        InputError: It is a camera's raw file, or of a variant that pysr does not read.
    """
    return open_page(file, name, 0)[1]


def open_page(file: IO[bytes], name: str, number: int) -> tuple[Directory, ImageReader]:
    """Open one of the images of a TIFF file; thumbnails do not count.

    Args:
        file: As for `open_tiff`.
        name: Likewise.
        number: Of the image, from 0.

    Raises:
        InputError: As for `open_tiff`, or there are fewer images.
    """
    chain, parts = read_directories(file)
    if is_raw(chain + parts):
        raise InputError(f"{name!r} is a camera's raw file, which pysr does not read; {DEVELOP}")
    images = [page for page in chain if page.is_image] or chain
    if number >= len(images):
        raise InputError(f"{name!r} has the pages 0 to {len(images) - 1}, not {number}; choose one of them")
    page = images[number]
    reader = _reader(file, page, name)
    reader.images = len(images)
    reader.compression = page.one(COMPRESSION, 1)
    return page, reader


def _reader(file: IO[bytes], page: Directory, name: str) -> ImageReader:
    layout = layout_of(page, name)
    reader = _chosen(file, page, layout, name)
    reader.losses = list(_losses(page, layout, name))
    return reader


def _losses(page: Directory, layout: TiffLayout, name: str) -> Iterator[str]:
    if layout.dropped:
        yield f"{name!r}: {layout.dropped} of its {page.samples} channels are neither colour nor alpha, and left out"
    if layout.numbers == "signed":
        yield f"{name!r} has signed samples; the lowest that they can hold is taken as black"


def _chosen(file: IO[bytes], page: Directory, layout: TiffLayout, name: str) -> ImageReader:
    if page.one(COMPRESSION, 1) not in _FAX and find_spec("tifffile") and find_spec("imagecodecs"):
        from .tiff import TiffReader

        return TiffReader(file, page, layout, name)
    return PillowTiffReader(file, page, layout, name)
