"""Write image files: completely or not at all, and whatever the format cannot hold is logged."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any

from PIL import Image

from ..atomic import FilePath, atomic_write, check_place, file_name
from ..errors import InputError, format_error
from .encoders import encode_pixels
from .formats import FORMATS, WRITABLE, Format
from .metadata import Changes, Metadata, avif_arguments, embed, embeds, fit
from .raster import Raster

_log = logging.getLogger(__name__)
_WORDS = {"1": "black-and-white", "P": "palette", "CMYK": "CMYK"}  # of modes without their depth


def check_output(path: FilePath, size: tuple[int, int], mode: str, *, transparent: bool = False) -> str:
    """Check that a result can be written, before it is computed.

    Args:
        path: The file to write; its ending chooses the format.
        size: (width, height) of the result in pixels, as Pillow's ``image.size``.
        mode: Its Pillow mode.
        transparent: Whether a "P", "L" or "RGB" result has transparent colours; for other modes the mode says it.

    Returns:
        The format's name, for example "PNG".

    Raises:
        InputError: The ending is unknown, the folder is missing or not writable, or the format does not hold an image
            of this size or mode.
    """
    name = file_name(path)
    ending = os.path.splitext(name)[1].lower()
    kind = next((kind for kind in FORMATS if ending in kind.endings), None)
    if kind is None:
        raise InputError(f"{name!r} does not end like an image file that pysr writes; use one of {', '.join(WRITABLE)}")
    check_place(name)
    _check_mode(kind, mode, transparent)
    width, height = size
    if max(size) > kind.longest_side:
        raise InputError(
            f"the result has {width} x {height} pixels, and {kind.name} is limited to {kind.longest_side} per side;"
            " write .png or .tif, or choose a smaller scale"
        )
    if height * width * _bytes_per_pixel(mode) > kind.most_bytes:
        raise InputError(
            f"the result, {width} x {height} pixels, is too large for a {kind.name} file (4 GB);"
            " write .png, or choose a smaller scale"
        )
    return kind.name


def _bytes_per_pixel(mode: str) -> int:
    base, _, depth = mode.partition(";")
    channels = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}.get(base, 1)
    return channels * {"16": 2, "F": 4}.get("F" if mode == "F" else depth, 1)


def _check_mode(kind: Format, mode: str, transparent: bool) -> None:
    fits = [f.name for f in FORMATS if mode in f.modes and (not transparent or _keeps_transparent_colours(f, mode))]
    if kind.name not in fits:
        what = "transparent" if transparent else _in_words(mode)
        instead = f"write {' or '.join(fits)}, or convert" if fits else "convert"
        raise InputError(
            f"{kind.name} cannot hold {what} images (mode {mode!r}); {instead} the image first, for example with"
            ' image.convert("RGB")'
        )


def _in_words(mode: str) -> str:
    base, _, depth = mode.partition(";")
    colours = {"I": "gray", "F": "gray", "L": "gray"}.get(base, _WORDS.get(base, base))
    words = {"16": "16-bit ", "F": "floating-point "}.get("F" if mode == "F" else depth, "")
    return words + ("transparent" if base in ("LA", "RGBA") else colours)


def _keeps_transparent_colours(kind: Format, mode: str) -> bool:
    return mode.startswith(("LA", "RGBA")) or kind.name in ("PNG", "WEBP")


_QUALITY = 95  # of 100: hardly visible losses in less than half the bytes of 100


def write_image(image: Image.Image, path: FilePath, *, quality: int | None = None) -> Changes:
    """Write a PIL image as `write_raster` does.

    Args:
        image: In one of the modes that the format holds.
        path: The file to create or replace.
        quality: As for `write_raster`.

    Returns:
        What became of the metadata that Pillow knows of.

    Raises:
        InputError: As for `write_raster`.
    """
    return write_raster(Raster.from_pil(image), path, quality=quality)


def write_raster(raster: Raster, path: FilePath, *, quality: int | None = None) -> Changes:
    """Write an image in the format named by the file's ending: completely, or not at all (see `atomic_write`).

    The metadata are made true of this image; a log warning names what the format cannot hold of them.

    Args:
        raster: In one of the modes that the format holds.
        path: The file to create or replace.
        quality: Of JPEG, WebP and AVIF, 1 to 100; default: 95, but WebP that was read without loss loses nothing.
            Other formats are lossless and ignore it. JPEG keeps the full colour resolution (4:4:4).

    Returns:
        What became of the metadata.

    Raises:
        InputError: As for `check_output`, for a quality out of range, and where writing fails (disk full).
    """
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"the quality is {quality}; give a number from 1 to 100")
    encode = image_encoder(raster, path)
    with open_for_writing(path) as file:
        encode(file, quality)
    return encode.changes


@dataclass(frozen=True)
class ImageEncoder:
    """An image ready to be encoded, once or several times.

    Attributes:
        encode: Writes the bytes of the image into an open binary file, with a quality.
        changes: What becomes of its metadata.
    """

    encode: Callable[[IO[bytes], int | None], None]
    changes: Changes

    def __call__(self, file: IO[bytes], quality: int | None) -> None:
        """As ``encode``."""
        self.encode(file, quality)


def image_encoder(image: Raster | Image.Image, path: FilePath) -> ImageEncoder:
    """Prepare to encode an image in the format named by a file's ending, once or several times.

    What the format cannot hold is logged here, as a warning.

    Args:
        image: As for `write_raster` or `write_image`.
        path: The file that the bytes are for; it is not touched.

    Raises:
        InputError: As for `check_output`.
    """
    raster = Raster.from_pil(image) if isinstance(image, Image.Image) else image
    name = file_name(path)
    kind = check_output(name, raster.size, raster.mode, transparent=raster.transparent_palette)
    metadata, changes = fit(raster.metadata, kind, raster.size)
    if changes.warning:
        _log.warning("%r: %s", name, changes.warning)
    bare = replace(raster, metadata=Metadata())

    def encode(file: IO[bytes], quality: int | None) -> None:
        options = _encoding(raster, kind, quality)
        if embeds(kind):
            encoded = io.BytesIO()
            encode_pixels(bare, kind, encoded, **options)
            embed(encoded, file, kind, metadata)
        else:
            encode_pixels(bare, kind, file, **options, **(avif_arguments(metadata) if kind == "AVIF" else {}))

    return ImageEncoder(encode, changes)


@contextmanager
def open_for_writing(path: FilePath) -> Iterator[IO[bytes]]:
    """Open an image file as `atomic_write` does.

    Raises:
        InputError: It cannot be written, or the ``with`` block raised an `Exception`; the old file is unchanged.
    """
    try:
        with atomic_write(path) as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # encoders raise anything, as decoders do
        raise InputError(
            f"{file_name(path)!r} could not be written ({format_error(error)}), and what was there is unchanged;"
            " check the disk, or choose another place"
        ) from error


def _encoding(raster: Raster, kind: str, quality: int | None) -> dict[str, Any]:
    if kind == "WEBP" and quality is None and raster.format == kind and raster.lossless:
        return {"lossless": True}
    if kind == "JPEG":
        return {"quality": quality or _QUALITY, "subsampling": "4:4:4"}
    return {"quality": quality or _QUALITY} if kind in ("WEBP", "AVIF") else {}
