"""Read image files by Pillow."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import IO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from ..errors import InputError
from .exif import make_upright, turned
from .interface import Header, ImageReader
from .raster import Kind, Pixels, Raster

_log = logging.getLogger(__name__)
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
_PIXELS: dict[str, tuple[Kind, int, str]] = {  # Pillow's modes, and how their pixels are read
    "1": ("bilevel", 1, "uint8"),
    "P": ("palette", 1, "uint8"),
    "L": ("gray", 1, "uint8"),
    "LA": ("gray", 2, "uint8"),
    **dict.fromkeys(("I;16", "I;16B", "I;16L", "I"), ("gray", 1, "uint16")),  # I: only PPM's
    "F": ("gray", 1, "float32"),
    "RGB": ("rgb", 3, "uint8"),
    "RGBA": ("rgb", 4, "uint8"),
    "CMYK": ("cmyk", 4, "uint8"),
}


class PillowReader(ImageReader):
    """An image file read by Pillow: always as a whole, in 8 bits, or 16 where Pillow has them (gray)."""

    def __init__(self, file: IO[bytes], format: str, name: str) -> None:
        """Read the header.

        Args:
            file: Open at its start; it stays open while the reader is used.
            format: As `detect_format` names it.
            name: Of the file, for the log.

        Raises:
            InputError: It is of a kind that pysr does not read.
        """
        self._image, self._name = PLUGINS[format](file), name
        self._whole: Raster | None = None
        self.info = dict(self._image.info)
        mode = self._image.mode
        if mode not in _PIXELS or (mode == "I" and format != "PPM"):
            raise InputError(
                f"{name!r} is a {format} file of a kind that pysr does not read (mode {mode!r} of Pillow); save it with"
                " 8 or 16 bits, as gray or RGB"
            )
        kind, channels, dtype = _PIXELS[mode]
        if "transparency" in self.info and channels in (1, 3) and kind != "palette":
            kind, channels = "gray" if channels == 1 else "rgb", channels + 1
        self.header = Header(format, self._image.size, kind, channels, dtype)

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """As `ImageReader.window`; the first call decodes the whole image."""
        return self._decoded().pixels[y : y + height, x : x + width]

    def read(self) -> Raster:
        """As `ImageReader.read`."""
        raster = self._decoded()
        return replace(raster, pixels=turned(raster.pixels, self.header.orientation))

    def _decoded(self) -> Raster:
        """The whole image, as stored; its metadata say that it is upright."""
        if self._whole is None:
            _warn_of_losses(self._image, self._name)
            self._image.load()
            orientation = make_upright(self._image, self._name)
            image = self._image.convert("I;16") if self._image.mode == "I" else self._image
            raster = Raster.from_pil(image)
            self._whole = replace(raster, format=self.header.format, lossless=self.header.lossless)
            self.header, self.info = replace(self.header, orientation=orientation), raster.info
        return self._whole


def _warn_of_losses(image: ImageFile.ImageFile, name: str) -> None:
    if getattr(image, "is_animated", False):
        _log.warning("%r holds several images; only the first is used", name)
    codec, args = (image.tile[0][0], image.tile[0][3]) if image.tile else ("", None)
    deep = isinstance(args, tuple) and codec.startswith("ppm") and args[1] > 255  # (mode, largest value)
    if (deep or ";16" in str(args)) and image.mode not in ("I", "I;16", "I;16B", "I;16L"):
        _log.warning("%r has 16 bits per colour; only the upper 8 are used", name)
