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

from ..atomic import FilePath, NotCopiedError, atomic_write, check_place, file_name
from ..atomic_folder import atomic_folder
from ..errors import InputError, format_error
from .encoders import FOLDERS, Sink, encode_image
from .formats import FORMATS, WRITABLE, Format
from .metadata import Changes, Metadata, fit, holds_exif, stripped, with_software
from .output import DEFAULT, Output
from .raster import Raster
from .raster_rows import AnyRaster, RasterRows, Taken
from .remote import is_url, open_url_for_writing
from .streams import Target, name_of
from .zarr import check_installed
from .zarr_store import check_target

_log = logging.getLogger(__name__)
_WORDS = {"1": "black-and-white", "P": "palette", "CMYK": "CMYK"}  # of modes without their depth


def check_output(
    path: Target, size: tuple[int, int], mode: str, *, transparent: bool = False, kind: Format | None = None
) -> str:
    """Check that a result can be written, before it is computed.

    Args:
        path: The file to write; its ending chooses the format. Or one that is open for writing.
        size: (width, height) of the result in pixels, as Pillow's ``image.size``.
        mode: Its Pillow mode.
        transparent: Whether a "P", "L" or "RGB" result has transparent colours; for other modes the mode says it.
        kind: The format, in place of that of the ending.

    Returns:
        The format's name, for example "PNG".

    Raises:
        InputError: The ending is unknown, the folder is missing or not writable, or the format does not hold an image
            of this size or mode.
    """
    kind = kind or format_by_name(name_of(path))
    if isinstance(path, str | os.PathLike):
        check_target(path)
    if kind.name in FOLDERS:
        _check_folder(path)
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


def _check_folder(path: Target) -> None:
    name = name_of(path)
    if not isinstance(path, str | os.PathLike) or is_url(path):
        raise InputError(
            f"a Zarr store is a folder, which {name} cannot hold; write it to a folder of this computer and copy that,"
            " or choose another format"
        )
    check_installed(name)


def format_by_name(name: str) -> Format:
    """Return the format that a file's name chooses by its ending.

    Raises:
        InputError: It ends otherwise.
    """
    ending = os.path.splitext(name)[1].lower()
    for kind in FORMATS:
        if ending in kind.endings:
            return kind
    raise InputError(f"{name!r} does not end like an image file that pysr writes; use one of {', '.join(WRITABLE)}")


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


def write_image(image: Image.Image, path: FilePath, *, output: Output = DEFAULT) -> Changes:
    """Write a PIL image as `write_raster` does.

    Args:
        image: In one of the modes that the format holds.
        path: The file to create or replace.
        output: As for `write_raster`.

    Returns:
        What became of the metadata that Pillow knows of.

    Raises:
        InputError: As for `write_raster`.
    """
    return write_raster(Raster.from_pil(image), path, output=output)


def write_raster(
    raster: AnyRaster,
    path: Target,
    *,
    output: Output = DEFAULT,
    kind: Format | None = None,
    modified: int | None = None,
    done: str = "",
) -> Changes:
    """Write an image in the format named by the file's ending: completely, or not at all (see `atomic_write`).

    The metadata are made true of this image; a log warning names what the format cannot hold of them. JPEG keeps the
    full colour resolution (4:4:4).

    Args:
        raster: In one of the modes that the format holds.
        path: The file to create or replace; or one that is open for writing, which gets the bytes in one piece.
        output: Quality and compression; WebP that was read without loss loses nothing unless a quality is given.
        kind: The format, in place of that of the ending.
        modified: The file's time of change in nanoseconds, as of `os.stat`; default: now.
        done: What was done to the image, for ``output.tag``.

    Returns:
        What became of the metadata.

    Raises:
        InputError: As for `check_output`, and where writing fails (disk full).
    """
    taken: Taken | None = None
    if isinstance(raster, RasterRows):
        taken = Taken(raster.bands)
        raster = replace(raster, bands=taken)
    encode = image_encoder(raster, path, output=output, kind=kind, done=done)
    try:
        write_encoded(lambda file: encode(file, None), path, modified, as_folder=encode.as_folder)
    except InputError:
        if taken and taken.error:  # computing the rows failed, not writing them
            raise taken.error from None
        raise
    return encode.changes


def write_encoded(
    encode: Callable[[Any], object], path: Target, modified: int | None = None, *, as_folder: bool = False
) -> None:
    """Write a file that an encoder fills, as `write_raster` does.

    Args:
        encode: Writes the file's bytes into an open, seekable file, or into a folder that it gets the name of.
        path: As for `write_raster`.
        modified: As for `write_raster`.
        as_folder: Whether it is a folder that is written.

    Raises:
        InputError: Writing fails.
    """
    if as_folder:
        assert isinstance(path, str | os.PathLike)  # see `check_output`
        with _errors_named(path), atomic_folder(path) as folder:
            encode(folder)
        if modified is not None:
            os.utime(path, ns=(modified, modified))
        return
    if not isinstance(path, str | os.PathLike):
        whole = io.BytesIO()
        encode(whole)
        _pour(whole.getvalue(), path)
        return
    with open_for_writing(path) as file:
        encode(file)
        if modified is not None and os.utime in os.supports_fd:
            file.flush()
            os.utime(file.fileno(), ns=(modified, modified))
    if modified is not None and os.utime not in os.supports_fd:  # as on Windows
        os.utime(path, ns=(modified, modified))


def _pour(data: bytes, stream: IO[bytes]) -> None:
    try:
        stream.write(data)
        stream.flush()
    except (OSError, TypeError, ValueError) as error:  # a closed pipe, a stream of text, a closed file
        raise InputError(
            f"{name_of(stream)} could not be written ({format_error(error)}); give a file that is open in binary mode"
        ) from error


@dataclass(frozen=True)
class ImageEncoder:
    """An image ready to be encoded, once or several times.

    Attributes:
        encode: Writes the bytes of the image into an open binary file, or a folder, with a quality in place of the one
            that was chosen before if that is not None.
        changes: What becomes of its metadata.
        as_folder: Whether it writes into a folder.
    """

    encode: Callable[[Sink, int | None], None]
    changes: Changes
    as_folder: bool

    def __call__(self, file: Sink, quality: int | None) -> None:
        """As ``encode``."""
        self.encode(file, quality)


def image_encoder(
    image: AnyRaster | Image.Image,
    path: Target,
    *,
    output: Output = DEFAULT,
    kind: Format | None = None,
    done: str = "",
    said: str = "",
) -> ImageEncoder:
    """Prepare to encode an image in the format named by a file's ending, once or several times.

    What the format cannot hold is logged here, as a warning.

    Args:
        image: As for `write_raster` or `write_image`.
        path: The file that the bytes are for; it is not touched.
        output: Quality, compression, and what becomes of metadata.
        kind: The format, in place of that of the ending.
        done: As for `write_raster`.
        said: The warning that was logged for a page before, which is not repeated.

    Raises:
        InputError: As for `check_output`.
    """
    raster = Raster.from_pil(image) if isinstance(image, Image.Image) else image
    name = name_of(path)
    format = check_output(path, raster.size, raster.mode, transparent=raster.transparent_palette, kind=kind)
    metadata, changes = fitted_metadata(raster, format, output, done, name, said)
    keeps_lossless = raster.format == format and raster.lossless

    def encode(file: Sink, quality: int | None) -> None:
        options = (output if quality is None else replace(output, quality=quality)).encoding(format, keeps_lossless)
        encode_image(raster, format, file, metadata, **options)

    return ImageEncoder(encode, changes, format in FOLDERS)


def fitted_metadata(
    raster: AnyRaster, format: str, output: Output, done: str, name: str, said: str = ""
) -> tuple[Metadata, Changes]:
    """Decide what a file is to say beside its pixels; what is lost is logged.

    Args:
        raster: The image to write.
        format: Of the file, such as "PNG".
        output: What becomes of metadata.
        done: As for `write_raster`.
        name: Of the file, for the log.
        said: As for `image_encoder`.
    """
    known = stripped(raster.metadata, output.strip) if output.strip else raster.metadata
    metadata, changes = fit(known, format, raster.size)
    if output.tag and done:
        if holds_exif(format):
            metadata = with_software(metadata, format, done)
        else:
            changes = changes.without("note of what was done", f"{format} has no place for it")
    if changes.warning and changes.warning != said:
        _log.warning("%r: %s", name, changes.warning)
    return metadata, changes


@contextmanager
def open_for_writing(path: FilePath) -> Iterator[IO[bytes]]:
    """Open an image file as `atomic_write` does.

    Raises:
        InputError: It cannot be written, or the ``with`` block raised an `Exception`; the message says what
            became of the old file.
    """
    if not is_url(path):
        check_place(path)
    with _errors_named(path), open_url_for_writing(path) if is_url(path) else atomic_write(path) as file:
        yield file


@contextmanager
def _errors_named(path: FilePath) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except NotCopiedError as error:
        raise InputError(f"{format_error(error)}; make room there, and rename it") from error
    except Exception as error:  # encoders raise anything, as decoders do
        raise InputError(
            f"{file_name(path)!r} could not be written ({format_error(error)}), and what was there is unchanged;"
            " check the disk, or choose another place"
        ) from error
