"""Choose who reads a TIFF file: tifffile, or Pillow where it is exact or tifffile is not installed."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import IO

from ..errors import InputError
from .formats import DEVELOP
from .interface import ImageReader
from .pillow_tiff import PillowTiffReader
from .tiff_header import COMPRESSION, Directory, is_raw, read_directories
from .tiff_layout import layout_of

_log = logging.getLogger(__name__)
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
    if layout.dropped:
        _log.warning(
            "%r: %d of its %d channels are neither colour nor alpha, and left out", name, layout.dropped, page.samples
        )
    if layout.numbers == "signed":
        _log.warning("%r has signed samples; the lowest that they can hold is taken as black", name)
    if page.one(COMPRESSION, 1) not in _FAX and find_spec("tifffile") and find_spec("imagecodecs"):
        from .tiff import TiffReader

        return TiffReader(file, page, layout, name)
    return PillowTiffReader(file, page, layout, name)
