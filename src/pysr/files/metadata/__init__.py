"""What image files say beside their pixels: read, made true of an enlarged image, and written into other formats.

`read_metadata`, `fit` and `embed` in this order take the metadata from one file to another. They work on the files'
bytes and know nothing of the libraries that decode and encode the pixels; importing them imports no torch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import IO, Literal

from ...errors import format_error
from . import exif, xmp
from .fit import Changes, fit, holds_colours, holds_exif, holds_profile, make_true, names_of
from .heif import avif_arguments, read_heif, read_jpeg2000
from .jpeg import embed_jpeg, read_jpeg
from .model import Metadata, Note, Text, TooManyPartsError
from .other import embed_bmp, read_bmp, read_gif
from .png import ANIMATION, MOST_COMPRESSED, embed_png, longest_part, png_chunks, read_png
from .png import pixels_only as png_pixels_only
from .resolution import Resolution
from .tags import DamagedTagsError
from .tiff import append_tiff, embed_tiff, is_odd, read_tiff
from .tiff import pixels_only as tiff_pixels_only
from .webp import embed_webp, read_webp

__all__ = [
    "Changes",
    "Metadata",
    "Note",
    "Resolution",
    "Text",
    "append_tiff",
    "avif_arguments",
    "decodable",
    "embed",
    "embeds",
    "fit",
    "holds_colours",
    "holds_exif",
    "holds_profile",
    "make_true",
    "png_chunks",
    "read_metadata",
    "stripped",
    "with_software",
]

_READERS: Mapping[str, Callable[[IO[bytes]], Metadata]] = {
    "PNG": read_png,
    "JPEG": read_jpeg,
    "WEBP": read_webp,
    "AVIF": read_heif,
    "HEIC": read_heif,
    "JPEG2000": read_jpeg2000,
    "GIF": read_gif,
    "BMP": read_bmp,
}
_EMBEDDERS: Mapping[str, Callable[[IO[bytes], IO[bytes], Metadata], None]] = {
    "PNG": embed_png,
    "JPEG": embed_jpeg,
    "WEBP": embed_webp,
    "TIFF": embed_tiff,
    "BMP": embed_bmp,
}


def read_metadata(file: IO[bytes], format: str, position: int | None = None) -> Metadata:
    """Read what an image file says beside its pixels.

    Args:
        file: Open for reading, seekable; where it stands afterwards is not defined.
        format: Its format, such as "PNG".
        position: Where the directory of the image begins in a TIFF file; default: of the first that is no thumbnail.

    Returns:
        What was found; what is damaged is noted as lost. Empty for formats that hold nothing that is known.

    Raises:
        TooManyPartsError: Decoders, too, would take long to find the pixels.
    """
    reader = partial(read_tiff, position=position) if format == "TIFF" else _READERS.get(format)
    try:
        return (reader(file) if reader else Metadata()).limited()
    except TooManyPartsError:
        raise
    except Exception as error:  # whatever is wrong with the metadata must not cost the image
        return Metadata().with_lost("metadata", f"they are damaged: {format_error(error)}")


def decodable(file: IO[bytes], format: str, metadata: Metadata) -> IO[bytes]:
    """Return a file at its start for a decoder, without the metadata if they could keep it from decoding the pixels."""
    if format == "PNG" and (metadata.lost or longest_part(metadata) > MOST_COMPRESSED):
        return png_pixels_only(file, animated=all(note.what != ANIMATION for note in metadata.lost))
    if format == "TIFF" and is_odd(file):
        return tiff_pixels_only(file)
    file.seek(0)
    return file


def embeds(format: str) -> bool:
    """Tell whether `embed` knows a format."""
    return format in _EMBEDDERS


def embed(encoded: IO[bytes], target: IO[bytes], format: str, metadata: Metadata) -> None:
    """Copy an encoded image with its metadata replaced.

    Args:
        encoded: The file as an encoder wrote it, open for reading, seekable.
        target: Open for writing; written from its start to its end.
        format: The format of both: "PNG", "JPEG", "WEBP", "TIFF" or "BMP".
        metadata: As `fit` returns them for this format.
    """
    _EMBEDDERS[format](encoded, target, metadata)


def stripped(metadata: Metadata, what: Literal["all", "gps"]) -> Metadata:
    """Take something out of metadata, and note what was in them.

    Args:
        metadata: Of the image before.
        what: "all": only what colours and the size in print need stays (profile, PNG's colour chunks, resolution).
            "gps": the position of the photograph goes, in EXIF and XMP; if they are damaged, they go as a whole.
    """
    if what == "gps":
        result = _without_gps(metadata)
        gone = ["GPS"] if (result.exif, result.xmp) != (metadata.exif, metadata.xmp) else []
    else:
        result = Metadata(size=metadata.size, turned=metadata.turned, changed=metadata.changed)
        result = replace(result, icc=metadata.icc, resolution=metadata.resolution, colours=metadata.colours)
        gone = [name for name in names_of(metadata) if name not in names_of(result)]
        gone += [note.what for note in metadata.lost]
    for name in gone:
        result = result.with_change(name, "taken out, as asked")
    return result


def _without_gps(metadata: Metadata) -> Metadata:
    try:
        block = exif.without_gps(metadata.exif)
    except (DamagedTagsError, struct.error):
        block = b""  # whatever is in it
    block, packet = block if exif.is_readable(block) else b"", metadata.xmp
    if b"GPS" in packet or b"Gps" in packet:
        if not xmp.is_sound(packet):
            return replace(metadata, exif=block, xmp=b"").with_lost("XMP", "it is damaged, and mentions GPS")
        packet = xmp.remove_gps(packet)
    return replace(metadata, exif=block, xmp=packet)


def with_software(metadata: Metadata, format: str, note: str) -> Metadata:
    """Note what was done to an image, behind what EXIF's Software says; in PNG as a text, too.

    Args:
        metadata: As `fit` returns them for the format, one that holds EXIF.
        format: Of the file to write.
        note: Such as "pysr 0.2, vdsr x2".
    """
    if format == "PNG":
        earlier = [text for text in metadata.text if text.keyword == "Software"]
        line = Text("Software", "; ".join([text.value for text in earlier] + [note]))
        metadata = replace(metadata, text=(*(text for text in metadata.text if text not in earlier), line))
    earlier_note = exif.find_text(metadata.exif, exif.SOFTWARE)
    whole = f"{earlier_note}; {note}" if earlier_note else note
    return replace(metadata, exif=exif.with_text(metadata.exif, exif.SOFTWARE, whole))
