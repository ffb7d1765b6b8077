"""Choose who reads a TIFF file: tifffile, or Pillow where it is exact or tifffile is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from typing import IO

from ..errors import InputError
from .fax import FAX
from .formats import DEVELOP
from .interface import ImageReader
from .pillow_tiff import PillowTiffReader
from .pillow_tiff_file import TiffFile
from .tiff_header import COMPRESSION, Directory, is_raw, read_directories
from .tiff_layout import TiffLayout, layout_of


def open_tiff(file: IO[bytes], name: str) -> ImageReader:
    """Open the first image of a TIFF file that is not a thumbnail, as `TiffImages` does."""
    return TiffImages(file, name).open(0)[1]


class TiffImages:
    """The images of a TIFF file; thumbnails do not count.

    The file is gone through once: each image is opened where it begins.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Look for the images.

        Args:
            file: Open at its start; it stays open while readers are used.
            name: Of the file, for messages.

        Raises:
            InputError: It is a camera's raw file.
        """
        chain, parts = read_directories(file)
        if is_raw(chain + parts):
            raise InputError(f"{name!r} is a camera's raw file, which pysr does not read; {DEVELOP}")
        self._file, self._name = file, name
        self._images = [page for page in chain if page.is_image] or chain

    def __len__(self) -> int:
        return len(self._images)

    def open(self, number: int) -> tuple[Directory, ImageReader]:
        """Open an image, by its number from 0; readers of other images are of no use any more.

        Raises:
            InputError: It is of a variant that pysr does not read, or there are fewer images.
        """
        if number >= len(self):
            raise InputError(f"{self._name!r} has the pages 0 to {len(self) - 1}, not {number}; choose one of them")
        page = self._images[number]
        layout = layout_of(page, self._name)
        reader = self._reader(page, layout)
        reader.losses = list(_losses(page, layout, self._name))
        reader.images = len(self)
        reader.compression = page.one(COMPRESSION, 1)
        return page, reader

    def _reader(self, page: Directory, layout: TiffLayout) -> ImageReader:
        # libtiff, inside Pillow, knows every variant of fax
        if page.one(COMPRESSION, 1) not in FAX and find_spec("tifffile") and find_spec("imagecodecs"):
            from .tiff import TiffReader

            return TiffReader(self._file, page, layout, self._name)
        return PillowTiffReader(lambda: self._in_pillow, page, layout, self._name)

    @cached_property
    def _in_pillow(self) -> TiffFile:
        self._file.seek(0)
        return TiffFile(self._file)


def _losses(page: Directory, layout: TiffLayout, name: str) -> Iterator[str]:
    if layout.dropped:
        yield f"{name!r}: {layout.dropped} of its {page.samples} channels are neither colour nor alpha, and left out"
    if layout.numbers == "signed":
        yield f"{name!r} has signed samples; the lowest that they can hold is taken as black"
