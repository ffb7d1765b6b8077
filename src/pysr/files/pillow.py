"""Read image files by Pillow."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import IO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    WebPImagePlugin,
)

from ..errors import InputError
from .compression import is_lossy_webp
from .interface import Header, WholeImageReader
from .jpeg_image import JpegImage
from .raster import Kind, Pixels, Raster
from .raster_rows import RasterRows

_log = logging.getLogger(__name__)
logging.getLogger("PIL").addHandler(logging.NullHandler())  # instead of stderr, where nothing is set up
LOSSY = {"JPEG", "AVIF"}  # formats that always are, as far as their headers tell
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImage,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "TGA": TgaImagePlugin.TgaImageFile,
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

_TURNS = {  # of pixels as stored, by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PillowReader(WholeImageReader):
    """An image file read by Pillow: always as a whole, in 8 bits, or 16 where Pillow has them (gray).

    Attributes:
        image: Pillow's own reader.
    """

    by_rows = True

    @property
    def held_because(self) -> str | None:
        """As `ImageReader.held_because`."""
        return f"this {self.header.format} file is decoded as a whole"

    def __init__(self, file: IO[bytes], format: str, name: str) -> None:
        """Read the header.

        Args:
            file: Open at its start; it stays open while the reader is used.
            format: As `detect_format` names it.
            name: Of the file, for the log.

        Raises:
            InputError: It is of a kind that pysr does not read.
        """
        self.image, self._name = PLUGINS[format](file), name
        mode = self.image.mode
        if mode not in _PIXELS or (mode == "I" and format != "PPM"):
            raise InputError(
                f"{name!r} is a {format} file of a kind that pysr does not read (mode {mode!r} of Pillow); save it with"
                " 8 or 16 bits, as gray or RGB"
            )
        kind, channels, dtype = _PIXELS[mode]
        if "transparency" in self.image.info and channels in (1, 3) and kind != "palette":
            kind, channels = "gray" if channels == 1 else "rgb", channels + 1
        lossless = format not in LOSSY and not (format == "WEBP" and is_lossy_webp(file))
        self.header = Header(format, self.image.size, kind, channels, dtype, lossless=lossless)

    def decode(self) -> Pixels:
        """As `WholeImageReader.decode`."""
        raster = self._raster(self.loaded())
        self.palette = raster.palette
        return raster.pixels

    def loaded(self) -> Image.Image:
        """Decode the whole image as stored, into Pillow's memory."""
        _warn_of_losses(self.image, self._name)
        self.image.load()
        if self.image.mode == "P" and not self.image.getpalette():
            raise InputError(f"{self._name!r} lacks its palette: it is damaged; use another copy of it")
        return self.image

    def rows(self) -> RasterRows:
        """As `ImageReader.rows`: Pillow holds the image, in up to four bytes for each pixel."""
        image, turn = self.loaded(), _TURNS.get(self.header.orientation)
        upright = image if turn is None else image.transpose(turn)
        width, height = upright.size
        count = self.band_height()

        def bands() -> Iterator[Pixels]:
            for top in range(0, height, count):
                yield self._raster(upright.crop((0, top, width, min(top + count, height)))).pixels

        first = self._raster(upright.crop((0, 0, width, 1)))
        facts = self.header.kind, first.palette, self.metadata, self.header.format, self.header.lossless
        return RasterRows(bands, height, first.pixels[:0], *facts)

    def _raster(self, image: Image.Image) -> Raster:
        return Raster.from_pil(image.convert("I;16") if image.mode == "I" else image)


def _warn_of_losses(image: ImageFile.ImageFile, name: str) -> None:
    if getattr(image, "is_animated", False):
        _log.warning("%r holds several images; only the first is used", name)
    codec, args = (image.tile[0][0], image.tile[0][3]) if image.tile else ("", None)
    deep = isinstance(args, tuple) and codec.startswith("ppm") and args[1] > 255  # (mode, largest value)
    if (deep or ";16" in str(args)) and image.mode not in ("I", "I;16", "I;16B", "I;16L"):
        _log.warning("%r has 16 bits per colour; only the upper 8 are used", name)
