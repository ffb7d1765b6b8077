"""Write image files: completely or not at all, and whatever the format cannot hold is logged."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, Any

from PIL import ExifTags, Image, PngImagePlugin

from ..atomic import FilePath, atomic_write, check_place, file_name
from ..errors import InputError, format_error
from .exif import described, readable_exif
from .formats import FORMATS, WRITABLE, Format
from .output import DEFAULT, Output
from .raster import Raster
from .streams import Target, name_of
from .tiff_tags import add_directories

_log = logging.getLogger(__name__)
_WORDS = {"1": "black-and-white", "P": "palette", "I;16": "16-bit gray", "LA": "transparent", "RGBA": "transparent"}


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
        check_place(path)
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
    return 2 if mode == "I;16" else Image.getmodebands(mode)


def _check_mode(kind: Format, mode: str, transparent: bool) -> None:
    fits = [f.name for f in FORMATS if mode in f.modes and (not transparent or _keeps_transparent_colours(f, mode))]
    if kind.name not in fits:
        what = "transparent" if transparent else _WORDS.get(mode, mode)
        instead = f"write {' or '.join(fits)}, or convert" if fits else "convert"
        raise InputError(
            f"{kind.name} cannot hold {what} images (mode {mode!r}); {instead} the image first, for example with"
            ' image.convert("RGB")'
        )


def _keeps_transparent_colours(kind: Format, mode: str) -> bool:
    return mode in ("LA", "RGBA") or kind.name in ("PNG", "WEBP")


_LARGEST_METADATA = {"JPEG": 65_000, "BMP": 0, "PPM": 0}  # bytes of one kind; a JPEG segment has at most 65,533
_PREDICTOR = 317  # the tag of TIFF 6.0, section 14
_DPI_RANGE = 0.5, 65_535  # a JPEG header holds whole dots per inch in 16 bits


def write_image(image: Image.Image, path: FilePath, *, output: Output = DEFAULT) -> None:
    """Write a PIL image as `write_raster` does.

    Args:
        image: In one of the modes that the format holds.
        path: The file to create or replace.
        output: As for `write_raster`.

    Raises:
        InputError: As for `write_raster`.
    """
    write_raster(Raster.from_pil(image), path, output=output)


def write_raster(
    raster: Raster, path: Target, *, output: Output = DEFAULT, kind: Format | None = None, modified: int | None = None
) -> None:
    """Write an image in the format named by the file's ending: completely, or not at all (see `atomic_write`).

    Colour profile, EXIF, XMP and resolution are kept; a log warning names what the format cannot hold. JPEG keeps the
    full colour resolution (4:4:4).

    Args:
        raster: In one of the modes that the format holds.
        path: The file to create or replace; or one that is open for writing, which gets the bytes in one piece.
        output: Quality and compression.
        kind: The format, in place of that of the ending.
        modified: The file's time of change in nanoseconds, as of `os.stat`; default: now.

    Raises:
        InputError: As for `check_output`, and where writing fails (disk full).
    """
    encode = image_encoder(raster, path, output=output, kind=kind)
    if not isinstance(path, str | os.PathLike):
        whole = io.BytesIO()
        encode(whole, None)
        path.write(whole.getbuffer())
        path.flush()
        return
    with open_for_writing(path) as file:
        encode(file, None)
        if modified is not None:
            file.flush()
            os.utime(file.fileno(), ns=(modified, modified))


def image_encoder(
    image: Raster | Image.Image, path: Target, *, output: Output = DEFAULT, kind: Format | None = None
) -> Callable[[IO[bytes], int | None], None]:
    """Prepare to encode an image in the format named by a file's ending, once or several times.

    What the format cannot hold is logged here, as a warning.

    Args:
        image: As for `write_raster` or `write_image`.
        path: The file that the bytes are for; it is not touched.
        output: Quality and compression.
        kind: The format, in place of that of the ending.

    Returns:
        A callable ``encode(file, quality)`` that writes the bytes of the image into an open binary file, with a quality
        in place of ``output``'s if that is not None.

    Raises:
        InputError: As for `check_output`.
    """
    raster = Raster.from_pil(image) if isinstance(image, Image.Image) else image
    name = name_of(path)
    format = check_output(path, raster.size, raster.mode, transparent=raster.transparent_palette, kind=kind)
    metadata = _metadata(raster.info, format, name)
    pil = raster.to_pil()

    def encode(file: IO[bytes], quality: int | None) -> None:
        options = metadata | (output if quality is None else replace(output, quality=quality)).encoding(format)
        if format == "TIFF":
            _save_tiff(pil, file, options)
        else:
            pil.save(file, format, **options)

    return encode


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


def _metadata(info: dict[Any, Any], kind: str, name: str) -> dict[str, Any]:
    """Return the metadata of the photograph as arguments of Pillow's ``save``."""
    kept: dict[str, Any] = {}
    for key in ("icc_profile", "exif", "xmp", "comment"):
        if isinstance(info.get(key), bytes) and info[key]:
            kept[key] = info[key]
    largest = _LARGEST_METADATA.get(kind, 2**31)
    for key in [key for key in kept if len(kept[key]) > largest and (key, kind) != ("icc_profile", "JPEG")]:
        _log.warning("%r: %s cannot hold the %s of this image (%d bytes)", name, kind, key, len(kept.pop(key)))
    if kind == "PNG" and "xmp" in kept:
        kept["pnginfo"] = PngImagePlugin.PngInfo()
        kept["pnginfo"].add_itxt("XML:com.adobe.xmp", kept["xmp"].decode("utf-8", "replace"))
    if kind == "AVIF" and "exif" in kept and not readable_exif(kept["exif"]):  # Pillow's writer would fail
        _log.warning("%r: the EXIF data of this image are damaged and left out (%d bytes)", name, len(kept.pop("exif")))
    if kind == "JPEG":
        kept.setdefault("comment", b"")  # otherwise Pillow takes one of any length from the image
    with suppress(TypeError, ValueError, ZeroDivisionError, KeyError):
        dpi = tuple(float(side) for side in info["dpi"])
        if len(dpi) == 2 and all(_DPI_RANGE[0] <= side < _DPI_RANGE[1] for side in dpi):
            kept["dpi"] = dpi
    return kept


def _save_tiff(image: Image.Image, file: IO[bytes], options: dict[str, Any]) -> None:
    tags = _tiff_tags(image)
    directories = {int(tag): tags.pop(tag) for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) if tag in tags}
    if options["compression"] in ("tiff_lzw", "tiff_adobe_deflate") and image.mode not in ("1", "P"):
        tags[_PREDICTOR] = 2  # stores differences of neighbours, which takes half the bytes
    image.save(file, "TIFF", **options, tiffinfo=tags)
    if directories:
        add_directories(file, directories)


def _tiff_tags(image: Image.Image) -> dict[int, Any]:
    tags: dict[int, Any] = {}
    with suppress(Exception):  # damaged EXIF raises anything, and must not cost the image
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        tags.update(described(exif))
    if isinstance(image.info.get("xmp"), bytes):
        tags[ExifTags.Base.XMLPacket] = image.info["xmp"]
    return tags
