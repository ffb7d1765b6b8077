"""Encode an image in a format: by pysr's own writers, or by Pillow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any

from .jpeg_writer import JpegWriter
from .metadata import Metadata, append_tiff, avif_arguments, embed, embeds, png_chunks
from .npy import NpyWriter
from .png_writer import PngWriter
from .raster import Pixels
from .raster_rows import AnyRaster, RasterRows
from .tiff_writer import TiffWriter
from .zarr import ZarrWriter

BY_ROWS = {"PNG", "TIFF", "JPEG", "PPM", "NPY", "ZARR"}  # formats that are written without the whole image in memory
FOLDERS = {"ZARR"}  # formats whose files are folders


Sink = IO[bytes] | str  # where a file goes: one that is open, or for a format of `FOLDERS` the name of an empty folder


def encode_image(image: AnyRaster, format: str, file: Sink, metadata: Metadata, **options: Any) -> None:
    """Encode an image with its metadata.

    Args:
        image: In one of the modes that the format holds.
        format: Its name, such as "PNG".
        file: Open for reading and writing, seekable, empty; of a format of `FOLDERS`, an empty folder.
        metadata: As `fit` returns them for the format; those of the image are not written.
        options: Of PNG ``level``, of TIFF ``compression``, as their writers take them; for other formats those of
            Pillow's ``save``.
    """
    by_rows = isinstance(image, RasterRows)
    if isinstance(file, str):
        ZarrWriter(file, image.size).write(_bands(image))
    elif format == "PNG":
        writer = PngWriter(
            file, image.size, image.kind, palette=image.palette, **options, chunks=png_chunks(metadata), by_rows=by_rows
        )
        writer.write(_bands(image))
    elif format == "TIFF":
        TiffWriter(file, image.size, image.kind, palette=image.palette, **options).write(_bands(image))
        append_tiff(file, metadata)
    elif format == "PPM" and image.mode in ("L", "I;16", "RGB", "RGB;16"):
        white = 255 if image.dtype == "uint8" else 65535
        file.write(b"P%d\n%d %d\n%d\n" % (6 if image.kind == "rgb" else 5, *image.size, white))
        for band in _bands(image):
            file.write(band.astype(band.dtype.newbyteorder(">")).tobytes())
    elif format == "NPY":
        NpyWriter(file, image.size).write(_bands(image))
    elif format == "JPEG" and by_rows:
        JpegWriter(file, image.size, image.kind, quality=options["quality"], metadata=metadata).write(_bands(image))
    else:
        _encode_by_pillow(image, format, file, metadata, options)


def _bands(image: AnyRaster) -> Iterator[Pixels]:
    return image.bands() if isinstance(image, RasterRows) else iter([image.pixels])


def _encode_by_pillow(
    image: AnyRaster, format: str, file: IO[bytes], metadata: Metadata, options: dict[str, Any]
) -> None:
    if options.get("lossless"):
        options["exact"] = True  # WebP would change colours that nobody sees
    if format == "AVIF":
        options |= avif_arguments(metadata)
    raster = image.whole() if isinstance(image, RasterRows) else image
    bare = raster.mapped(lambda pixels: pixels, metadata=Metadata()).to_pil()
    if embeds(format):
        encoded = io.BytesIO()
        bare.save(encoded, format, **options)
        embed(encoded, file, format, metadata)
    else:
        bare.save(file, format, **options)
