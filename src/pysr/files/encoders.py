"""Encode the pixels of an image in a format: by pysr's own writers, or by Pillow."""

from __future__ import annotations

from typing import IO, Any

from .png_writer import PngWriter
from .raster import Raster
from .tiff_writer import TiffWriter


def encode_pixels(raster: Raster, format: str, file: IO[bytes], **options: Any) -> None:
    """Encode an image without its metadata.

    Args:
        raster: In one of the modes that the format holds.
        format: Its name, such as "PNG".
        file: Open for writing, seekable.
        options: Of PNG ``level``, of TIFF ``compression``, as their writers take them; for other formats those of
            Pillow's ``save``.
    """
    bands = [raster.pixels]
    if format == "PNG":
        PngWriter(file, raster.size, raster.kind, palette=raster.palette, **options).write(bands)
    elif format == "TIFF":
        TiffWriter(file, raster.size, raster.kind, palette=raster.palette, **options).write(bands)
    elif format == "PPM" and raster.mode == "RGB;16":
        file.write(b"P6\n%d %d\n65535\n" % raster.size)
        file.write(raster.pixels.astype(">u2").tobytes())
    else:
        if options.get("lossless"):
            options["exact"] = True  # WebP would change colours that nobody sees
        raster.to_pil().save(file, format, **options)
