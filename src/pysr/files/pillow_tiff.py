"""Read the TIFF files that Pillow reads exactly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from ..errors import InputError
from .depth import divided_by_alpha
from .fax import FAX, is_cut_off
from .interface import Header, WholeImageReader
from .libtiff_messages import messages_to_log
from .pillow_tiff_file import TiffFile
from .raster import Pixels, Raster
from .tiff_header import COMPRESSION, PLANAR, Directory
from .tiff_layout import LAB, LOSSY, MIN_IS_WHITE, YCBCR, TiffLayout, describe_compression, to_pixels, unsupported

_log = logging.getLogger(__name__)
_NO_COMPRESSION = 1


class PillowTiffReader(WholeImageReader):
    """A TIFF image of 8 bits, or of 16 bits or floats in gray; of 16 bits in colour the upper 8 are read."""

    turns = True  # as Pillow turns TIFF files itself

    def __init__(self, opened: Callable[[], TiffFile], page: Directory, layout: TiffLayout, name: str) -> None:
        """Open the image.

        Args:
            opened: Returns the file as Pillow has it open; it stays open while the reader is used.
            page: The image of the file to read.
            layout: Of that image.
            name: Of the file, for messages.

        Raises:
            InputError: Pillow does not read it, or not exactly.
        """
        if page.one(COMPRESSION, 1) not in TiffImagePlugin.COMPRESSION_INFO:
            raise unsupported(name, describe_compression(page))
        if not _is_exact(page, layout):
            raise _needs_library(name, layout)
        try:
            self._image = opened()
            self._image.seek(page.number)
        except SyntaxError:  # "unknown pixel mode"
            raise _needs_library(name, layout) from None
        self._layout, self._name, self._page = layout, name, page
        dtype = "uint8" if _upper_bits(layout) else layout.dtype
        lossless = page.one(COMPRESSION, 1) not in LOSSY
        size = self._image.size
        self.header = Header("TIFF", size, layout.kind, layout.channels, dtype, layout.bits, lossless=lossless)

    def decode(self) -> Pixels:
        """As `WholeImageReader.decode`."""
        image, layout = self._image, self._layout
        if _upper_bits(layout):
            _log.warning("%r has 16 bits per colour; only the upper 8 are used", self._name)
        _keep_associated(image)
        is_cut = self._page.one(COMPRESSION, 1) in FAX and is_cut_off(image, self._page)
        with messages_to_log(self._name) as said:
            image.load()
        if is_cut or any(" at line " in message for message in said):
            _log.warning("%r is damaged or incomplete: what cannot be read of it is made up", self._name)
        if layout.photometric in (LAB, YCBCR):
            return to_pixels(np.asarray(image), layout)
        raster = Raster.from_pil(image.copy() if image.mode != "La" else _straight(image))  # a copy has no TIFF tags
        self.palette, pixels = raster.palette, raster.pixels
        if layout.alpha == "associated":
            pixels = divided_by_alpha(pixels)
        if layout.dtype == "uint16" and layout.photometric == MIN_IS_WHITE:
            pixels = np.invert(pixels)
        return pixels if layout.white == 1 else pixels / np.float32(layout.white)


def _is_exact(page: Directory, layout: TiffLayout) -> bool:
    """Whether Pillow gives the pixels that the file holds, or at least their upper bits."""
    chunky = page.one(PLANAR, 1) == 1 or page.samples == 1
    if layout.numbers == "float":
        return layout.bits == 32 and page.samples == 1
    if layout.numbers == "signed" or layout.bits in (10, 12, 14, 32):
        return False
    if layout.photometric in (LAB, YCBCR):
        return page.one(COMPRESSION, 1) == _NO_COMPRESSION and chunky
    if layout.bits == 16:
        return chunky and (page.samples == 1 or (layout.kind == "rgb" and layout.alpha != "associated"))
    return chunky or (layout.bits == 8 and page.samples == layout.channels == 3)


def _upper_bits(layout: TiffLayout) -> bool:
    return layout.bits == 16 and layout.kind == "rgb"


def _needs_library(name: str, layout: TiffLayout) -> InputError:
    return InputError(
        f"{name!r} is a TIFF of {layout.bits} bits per sample ({layout.numbers}) in a variant that Pillow does not"
        ' read; install the libraries for it, with pip install "pysr-sdk[files]", or save it with 8 bits'
    )


def _keep_associated(image: ImageFile.ImageFile) -> None:
    """Let Pillow return colours multiplied by alpha as they are: it would divide them without rounding."""
    image.tile = [tile._replace(args=_without_division(tile.args)) for tile in image.tile]


def _without_division(args: Any) -> Any:
    if isinstance(args, tuple) and args and isinstance(args[0], str):
        return (args[0].replace("RGBa", "RGBA"), *args[1:])
    return args


def _straight(image: Image.Image) -> Image.Image:
    """Relabel gray multiplied by alpha as gray and alpha."""
    return Image.fromarray(np.asarray(image), "LA")
