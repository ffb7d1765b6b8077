"""Image files: read, write and list them. Importing this module does not import torch.

Every image file is read by `read_image`. No file is half-read or half-written, and whatever is lost is logged.
"""

from __future__ import annotations

import logging
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from ..atomic import FilePath, atomic_write, check_place, file_name
from ..errors import InputError, format_error
from .exif import described, readable_exif, upright
from .tiff import TiffFile

MAX_PIXELS = 2**29  # 537 million: 2 GiB as Pillow holds RGB
_log = logging.getLogger(__name__)


# --- formats ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Format:
    """A format that pysr writes. modes: Pillow modes that it holds. most_bytes: limit on the uncompressed pixels."""

    name: str
    endings: tuple[str, ...]
    modes: tuple[str, ...]
    longest_side: int = 2**31 - 1
    most_bytes: float = math.inf


_4_GB = 4.2e9  # TIFF and BMP count bytes in 32 bits, up to 4.29e9; the rest is room for headers and metadata
_FORMATS = (
    _Format("PNG", (".png",), ("1", "L", "LA", "P", "I;16", "RGB", "RGBA")),
    _Format("TIFF", (".tif", ".tiff"), ("1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK"), most_bytes=_4_GB),
    _Format("WEBP", (".webp",), ("1", "L", "LA", "P", "RGB", "RGBA"), 16383),  # 14 bits
    _Format("AVIF", (".avif",), ("L", "LA", "RGB", "RGBA"), 16384),  # libavif decodes at most 2^28 pixels, this squared
    _Format("JPEG", (".jpg", ".jpeg"), ("L", "RGB", "CMYK"), 65500),  # JPEG_MAX_DIMENSION of libjpeg
    _Format("BMP", (".bmp",), ("1", "L", "P", "RGB"), most_bytes=_4_GB),
    _Format("PPM", (".ppm",), ("1", "L", "I;16", "RGB")),
)
_WORDS = {"1": "black-and-white", "P": "palette", "I;16": "16-bit gray", "LA": "transparent", "RGBA": "transparent"}

WRITABLE = tuple(ending for kind in _FORMATS for ending in kind.endings)
READABLE = (*WRITABLE, ".gif", ".pgm", ".pbm", ".pnm")


def image_files(folder: FilePath) -> list[Path]:
    """List the images in a folder, by the endings of their names (`READABLE`, in upper or lower case).

    Args:
        folder: A folder; its sub-folders and hidden files are left out.

    Returns:
        The images, sorted by name.

    Raises:
        InputError: There is no such folder, it cannot be read, or it has no image of its own.
    """
    name = file_name(folder)
    if not os.path.isdir(name):
        raise InputError(f"there is no folder {name!r}; check the name")
    try:
        visible = sorted(path for path in Path(name).iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot open the folder: {format_error(error)}; check its permissions") from error
    images = [path for path in visible if path.suffix.lower() in READABLE and path.is_file()]
    if images:
        return images
    if folders := [path.name for path in visible if path.is_dir()]:
        listed = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
        raise InputError(f"the folder {name!r} has no image of its own, only sub-folders ({listed}); name one of them")
    raise InputError(f"the folder {name!r} has no image in it; pysr reads {', '.join(READABLE)}")


# --- reading ---------------------------------------------------------------------------------------------------------

_MAGIC: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (rb"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (rb"RIFF....WEBP", WebPImagePlugin.WebPImageFile),
    (rb"....ftyp(avi[fs]|mif1)", AvifImagePlugin.AvifImageFile),
    (rb"II[*+]\0|MM\0[*+]", TiffFile),
    (rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    (rb"BM", BmpImagePlugin.BmpImageFile),
    (rb"P[1-6]\s", PpmImagePlugin.PpmImageFile),
)


def read_image(path: FilePath, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read and decode an image file: PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF or PPM, whatever the ending of its name.

    Args:
        path: The file.
        max_pixels: Larger images are refused by their header, before any memory is allocated. (For GIF and WebP,
            Pillow's own limit of 179 million pixels holds too.)

    Returns:
        The image, upright: EXIF's orientation is applied, and the tag in the kept EXIF is 1. The colour profile is
        ``info["icc_profile"]``, EXIF ``info["exif"]``. An animation or a multi-page file gives its first image, a
        16-bit colour file the upper 8 bits; both are logged as warnings. A transparent colour of a gray or RGB file
        becomes alpha (LA, RGBA), as no enlarged image could keep it.

    Raises:
        InputError: The file is missing, unreadable, too large, truncated, damaged or not an image.
    """
    name = file_name(path)
    with _opened(name) as image:
        _check_pixels(image.size, max_pixels, name)
        _warn_of_losses(image, name)
        image.load()
        return _plain(upright(image, name))


def image_size(path: FilePath) -> tuple[int, int]:
    """Read the size of an image file of any size from its header.

    Returns:
        (width, height) in pixels, before EXIF's orientation is applied.

    Raises:
        InputError: The file is missing, unreadable or not an image.
    """
    with _opened(file_name(path)) as image:
        return image.size


def image_info(path: FilePath) -> dict[Any, Any]:
    """Read what the header of an image file says beside its size: metadata as in `PIL.Image.Image.info`.

    Raises:
        InputError: The file is missing, unreadable or not an image.
    """
    with _opened(file_name(path)) as image:
        return dict(image.info)


@contextmanager
def _opened(name: str) -> Iterator[ImageFile.ImageFile]:
    with _open_for_reading(name) as file:
        try:
            yield _plugin(file, name)(file)
        except InputError:
            raise
        except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, MemoryError, ...
            raise InputError(
                f"{name!r} cannot be read ({format_error(error)}): it is damaged or incomplete; use another copy of it"
            ) from error


def _open_for_reading(name: str) -> IO[bytes]:
    try:
        status = os.stat(name)
        if stat.S_ISREG(status.st_mode):
            return open(name, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no file {name!r}; check the name and the folder") from None
    except OSError as error:
        raise InputError(f"cannot open the file: {format_error(error)}; check its name and permissions") from error
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
    raise InputError(f"{name!r} is {kind}, not a file; give the name of an image file")


def _plugin(file: IO[bytes], name: str) -> type[ImageFile.ImageFile]:
    start = file.read(16)  # more than any of the patterns needs
    file.seek(0)
    for magic, plugin in _MAGIC:
        if re.match(magic, start, re.DOTALL):
            return plugin
    what = "is empty" if not start else "is not an image that pysr can read"
    raise InputError(f"{name!r} {what}; give a PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF or PPM file")


def _check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"{name!r} has no pixels ({width} x {height}): it is damaged; use another copy of it")
    if width * height > max_pixels:
        raise InputError(
            f"{name!r} is {width} x {height}, {width * height / 1e6:.1f} million pixels, and at most"
            f" {max_pixels / 1e6:.1f} million are allowed; cut the image into parts, or raise max_pixels"
        )


def _warn_of_losses(image: ImageFile.ImageFile, name: str) -> None:
    if getattr(image, "is_animated", False):
        _log.warning("%r holds several images; only the first is used", name)
    codec, args = (image.tile[0][0], image.tile[0][3]) if image.tile else ("", None)
    deep = isinstance(args, tuple) and codec.startswith("ppm") and args[1] > 255  # (mode, largest value)
    if (deep or ";16" in str(args)) and image.mode not in ("I", "I;16", "I;16B", "I;16L"):
        _log.warning("%r has 16 bits per colour; only the upper 8 are used", name)


def _plain(image: Image.Image) -> Image.Image:
    """Convert to one of the modes that pysr writes, without the tags that Pillow copies from one TIFF to another."""
    if image.mode in ("I;16B", "I;16L") or (image.mode == "I" and image.format == "PPM"):
        return image.convert("I").convert("I;16")
    if image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        return image.convert("RGBA" if image.mode == "RGB" else "LA")
    return image.copy() if isinstance(image, TiffFile) else image


# --- writing ---------------------------------------------------------------------------------------------------------


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
    kind = next((kind for kind in _FORMATS if ending in kind.endings), None)
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
    return 2 if mode == "I;16" else Image.getmodebands(mode)


def _check_mode(kind: _Format, mode: str, transparent: bool) -> None:
    fits = [f.name for f in _FORMATS if mode in f.modes and (not transparent or _keeps_transparent_colours(f, mode))]
    if kind.name not in fits:
        what = "transparent" if transparent else _WORDS.get(mode, mode)
        instead = f"write {' or '.join(fits)}, or convert" if fits else "convert"
        raise InputError(
            f"{kind.name} cannot hold {what} images (mode {mode!r}); {instead} the image first, for example with"
            ' image.convert("RGB")'
        )


def _keeps_transparent_colours(kind: _Format, mode: str) -> bool:
    return mode in ("LA", "RGBA") or kind.name in ("PNG", "WEBP")


_QUALITY = 95  # of 100: hardly visible losses in less than half the bytes of 100
_LARGEST_METADATA = {"JPEG": 65_000, "BMP": 0, "PPM": 0}  # bytes of one kind; a JPEG segment has at most 65,533
_DPI_RANGE = 0.5, 65_535  # a JPEG header holds whole dots per inch in 16 bits


def write_image(image: Image.Image, path: FilePath, *, quality: int | None = None) -> None:
    """Write an image in the format named by the file's ending: completely, or not at all (see `atomic_write`).

    Colour profile, EXIF, XMP and resolution are kept; a log warning names what the format cannot hold.

    Args:
        image: In one of the modes that the format holds.
        path: The file to create or replace.
        quality: Of JPEG, WebP and AVIF, 1 to 100; default: 95. Other formats are lossless and ignore it. JPEG keeps the
            full colour resolution (4:4:4).

    Raises:
        InputError: As for `check_output`, for a quality out of range, and where writing fails (disk full).
    """
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"the quality is {quality}; give a number from 1 to 100")
    encode = image_encoder(image, path)
    with open_for_writing(path) as file:
        encode(file, quality)


def image_encoder(image: Image.Image, path: FilePath) -> Callable[[IO[bytes], int | None], None]:
    """Prepare to encode an image in the format named by a file's ending, once or several times.

    What the format cannot hold is logged here, as a warning.

    Args:
        image: As for `write_image`.
        path: The file that the bytes are for; it is not touched.

    Returns:
        A callable ``encode(file, quality)`` that writes the bytes of the image into an open binary file.

    Raises:
        InputError: As for `check_output`.
    """
    name = file_name(path)
    kind = check_output(name, image.size, image.mode, transparent=image.has_transparency_data)
    metadata = _metadata(image, kind, name)

    def encode(file: IO[bytes], quality: int | None) -> None:
        image.save(file, kind, **metadata | _encoding(image, kind, quality or _QUALITY))

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


def _metadata(image: Image.Image, kind: str, name: str) -> dict[str, Any]:
    """Return the metadata of the photograph as arguments of Pillow's ``save``."""
    kept: dict[str, Any] = {}
    for key in ("icc_profile", "exif", "xmp", "comment"):
        if isinstance(image.info.get(key), bytes) and image.info[key]:
            kept[key] = image.info[key]
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
        dpi = tuple(float(side) for side in image.info["dpi"])
        if len(dpi) == 2 and all(_DPI_RANGE[0] <= side < _DPI_RANGE[1] for side in dpi):
            kept["dpi"] = dpi
    return kept


def _encoding(image: Image.Image, kind: str, quality: int) -> dict[str, Any]:
    if kind == "PNG":
        return {"compress_level": 2}  # 5 times as fast as the default, 6, and 8 % larger
    if kind == "JPEG":
        return {"quality": quality, "subsampling": "4:4:4"}
    if kind in ("WEBP", "AVIF"):
        return {"quality": quality}
    if kind == "TIFF":
        return {"compression": "raw", "tiffinfo": _tiff_tags(image)}  # Pillow's compressors lose EXIF
    return {}


def _tiff_tags(image: Image.Image) -> dict[int, Any]:
    tags: dict[int, Any] = {}
    with suppress(Exception):  # damaged EXIF raises anything, and must not cost the image
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        tags.update(described(exif))
    if isinstance(image.info.get("xmp"), bytes):
        tags[ExifTags.Base.XMLPacket] = image.info["xmp"]
    return tags
