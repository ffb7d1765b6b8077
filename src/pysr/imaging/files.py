"""Files in, files out: nothing half-written, nothing half-read, nothing silently lost.

`read_image` is the only gate by which image files come in, `atomic_write` the only way in which files of any kind are
written. Importing this module does not import torch.
"""

from __future__ import annotations

import logging
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ..atomic import FilePath, atomic_write, check_place, file_name
from ..errors import InputError
from .exif import described, upright

__all__ = [
    "MAX_PIXELS",
    "READABLE",
    "WRITABLE",
    "FilePath",
    "atomic_write",
    "check_output",
    "image_files",
    "image_size",
    "read_image",
    "write_image",
]

MAX_PIXELS = 2**29  # 537 million: 2 GiB as Pillow holds RGB
_log = logging.getLogger(__name__)


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it does not fit into this computer's memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


# --- reading images --------------------------------------------------------------------------------------------------


class _Tiff(TiffImagePlugin.TiffImageFile):
    def load_prepare(self) -> None:
        if self._im is None:  # as Pillow does, without its process-wide size limit: the size has been checked
            self.im = Image.new(self.mode, self._tile_size).im
        super().load_prepare()


_MAGIC: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (rb"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (rb"RIFF....WEBP", WebPImagePlugin.WebPImageFile),
    (rb"II[*+]\0|MM\0[*+]", _Tiff),
    (rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    (rb"BM", BmpImagePlugin.BmpImageFile),
    (rb"P[1-6]\s", PpmImagePlugin.PpmImageFile),
)


def read_image(path: FilePath, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read and decode an image file: PNG, JPEG, WebP, TIFF, BMP, GIF or PPM, whatever its name ends in.

    max_pixels: larger images are refused by their header, before any memory is taken. (For GIF and WebP, Pillow's own
    limit of 179 million pixels holds too.)
    The result is upright (EXIF orientation applied; the tag in the kept EXIF is 1) and has the colour profile as
    ``info["icc_profile"]``, EXIF as ``info["exif"]``. Of an animation or a multi-page file it is the first image, of
    a 16-bit colour file the upper 8 bits; both are logged as warnings. A transparent colour of a gray or RGB file
    becomes alpha (LA, RGBA): no enlargement can keep it.
    Raises InputError for a file that is missing, unreadable, too large, truncated, damaged or no image.
    """
    name = file_name(path)
    with _opened(name) as image:
        _check_pixels(image.size, max_pixels, name)
        _warn_of_losses(image, name)
        image.load()
        return _plain(upright(image, name))


def image_size(path: FilePath) -> tuple[int, int]:
    """(width, height) in pixels of an image file of any size, by its header: before EXIF's orientation.

    Raises InputError for a file that is missing, unreadable or no image.
    """
    with _opened(file_name(path)) as image:
        return image.size


@contextmanager
def _opened(name: str) -> Iterator[ImageFile.ImageFile]:
    with _open_for_reading(name) as file:
        try:
            yield _plugin(file, name)(file)
        except InputError:
            raise
        except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, MemoryError, ...
            raise InputError(
                f"{name!r} cannot be read: {_reason(error)}. The file is damaged or incomplete; use another copy of it."
            ) from error


def _open_for_reading(name: str) -> IO[bytes]:
    try:
        status = os.stat(name)
        if stat.S_ISREG(status.st_mode):
            return open(name, "rb")
    except FileNotFoundError:
        raise InputError(f"There is no file {name!r}; check the name and the folder.") from None
    except OSError as error:
        raise InputError(f"{name!r} cannot be opened: {_reason(error)}; check its permissions.") from error
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
    raise InputError(f"{name!r} is {kind}, not a file; give the name of an image file.")


def _plugin(file: IO[bytes], name: str) -> type[ImageFile.ImageFile]:
    start = file.read(16)
    file.seek(0)
    for magic, plugin in _MAGIC:
        if re.match(magic, start, re.DOTALL):
            return plugin
    what = "is empty" if not start else "is not an image that pysr can read"
    raise InputError(f"{name!r} {what}; give a PNG, JPEG, WebP, TIFF, BMP, GIF or PPM file.")


def _check_pixels(size: tuple[int, int], max_pixels: int, name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"{name!r} has no pixels ({width} x {height}); the file is damaged.")
    if width * height > max_pixels:
        raise InputError(
            f"{name!r} is {width} x {height}, {width * height / 1e6:.1f} million pixels; at most"
            f" {max_pixels / 1e6:.1f} million are allowed. AxisPlan the image into parts, or raise max_pixels."
        )


def _warn_of_losses(image: ImageFile.ImageFile, name: str) -> None:
    if getattr(image, "is_animated", False):
        _log.warning("%r holds several images; only the first is used", name)
    codec, args = (image.tile[0][0], image.tile[0][3]) if image.tile else ("", None)
    deep = isinstance(args, tuple) and codec.startswith("ppm") and args[1] > 255  # (mode, largest value)
    if (deep or ";16" in str(args)) and image.mode not in ("I", "I;16", "I;16B", "I;16L"):
        _log.warning("%r has 16 bits per colour; only the upper 8 are used", name)


def _plain(image: Image.Image) -> Image.Image:
    """In one of the modes that pysr writes, and without what Pillow carries from one TIFF file into another."""
    if image.mode in ("I;16B", "I;16L") or (image.mode == "I" and image.format == "PPM"):
        return image.convert("I").convert("I;16")
    if image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        return image.convert("RGBA" if image.mode == "RGB" else "LA")
    return image.copy() if isinstance(image, _Tiff) else image


WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm")
READABLE = (*WRITABLE, ".gif", ".pgm", ".pbm", ".pnm")


def image_files(folder: FilePath) -> list[Path]:
    """The image files in a folder, sorted by name and chosen by ending; hidden files and sub-folders are left out.

    Raises InputError where there is no such folder or no image in it.
    """
    name = file_name(folder)
    if not os.path.isdir(name):
        raise InputError(f"There is no folder {name!r}; check the name.")
    paths = (path for path in Path(name).iterdir() if path.suffix.lower() in READABLE)
    files = sorted(path for path in paths if not path.name.startswith(".") and path.is_file())
    if not files:
        raise InputError(f"There are no images in the folder {name!r}; pysr looks for {', '.join(READABLE)}.")
    return files


# --- writing images --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Format:
    name: str
    endings: tuple[str, ...]
    modes: tuple[str, ...]
    longest_side: int = 2**31 - 1
    most_bytes: float = math.inf  # before compression
    profile: bool = True  # holds colour profile and EXIF


_FORMATS = (
    _Format("PNG", (".png",), ("1", "L", "LA", "P", "I;16", "RGB", "RGBA")),
    _Format(
        "TIFF",
        (".tif", ".tiff"),
        ("1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK"),
        most_bytes=4.2e9,
    ),
    _Format("WEBP", (".webp",), ("1", "L", "LA", "P", "RGB", "RGBA"), 16383),
    _Format("JPEG", (".jpg", ".jpeg"), ("L", "RGB", "CMYK"), 65500),
    _Format("BMP", (".bmp",), ("1", "L", "P", "RGB"), most_bytes=4.2e9, profile=False),
    _Format("PPM", (".ppm",), ("1", "L", "I;16", "RGB"), profile=False),
)
_WORDS = {"1": "black-and-white", "P": "palette", "I;16": "16-bit gray", "LA": "transparent", "RGBA": "transparent"}


def check_output(path: FilePath, size: tuple[int, int], mode: str, *, transparent: bool = False) -> str:
    """Whether a result can be written, asked before it is computed: returns the format's name, for example "PNG".

    size: (width, height) of the result in pixels, as Pillow's ``image.size``. mode: its Pillow mode. transparent:
        whether a "P", "L" or "RGB" result has transparent colours (in other modes, the mode says it).
    Raises InputError where the ending is unknown, the folder is missing or not writable, or the format does not hold
    an image of this size or mode.
    """
    name = file_name(path)
    ending = os.path.splitext(name)[1].lower()
    kind = next((kind for kind in _FORMATS if ending in kind.endings), None)
    if kind is None:
        endings = ", ".join(ending for kind in _FORMATS for ending in kind.endings)
        raise InputError(f"{name!r} does not end like an image file that pysr can write; use one of {endings}.")
    check_place(name)
    _check_mode(kind, mode, transparent)
    width, height = size
    if max(size) > kind.longest_side:
        raise InputError(
            f"The result is {width} x {height} pixels, and {kind.name} ends at {kind.longest_side} per side;"
            " write .png or .tif, or choose a smaller scale."
        )
    if height * width * _bytes_per_pixel(mode) > kind.most_bytes:
        raise InputError(
            f"The result, {width} x {height} pixels, is too large for a {kind.name} file (4 GB);"
            " write .png, or choose a smaller scale."
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
            ' image.convert("RGB").'
        )


def _keeps_transparent_colours(kind: _Format, mode: str) -> bool:
    return mode in ("LA", "RGBA") or kind.name in ("PNG", "WEBP")


def write_image(image: Image.Image, path: FilePath, *, quality: int | None = None) -> None:
    """Write an image in the format that the file's ending names: completely, or not at all (see `atomic_write`).

    quality: 1 to 100, of JPEG and WebP, 95 if not given; other formats lose nothing and ignore it. JPEG keeps the
    full colour resolution (4:4:4). Colour profile, EXIF, XMP and resolution are kept; a log warning names what the
    format cannot hold.
    Raises InputError as `check_output` does, for another quality, and where writing fails (disk full).
    """
    name = file_name(path)
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"A quality of {quality} is not possible; give a number from 1 to 100.")
    kind = check_output(name, image.size, image.mode, transparent=image.has_transparency_data)
    options = _metadata(image, kind, name) | _encoding(image, kind, quality or 95)
    try:
        with atomic_write(name) as file:
            image.save(file, kind, **options)
    except InputError:
        raise
    except Exception as error:  # encoders raise anything, as decoders do
        raise InputError(
            f"{name!r} could not be written: {_reason(error)}. What was there before is unchanged."
        ) from error


def _metadata(image: Image.Image, kind: str, name: str) -> dict[str, Any]:
    """What describes the photograph, in Pillow's words for `save`."""
    kept: dict[str, Any] = {}
    for key in ("icc_profile", "exif", "xmp", "comment"):
        if isinstance(image.info.get(key), bytes) and image.info[key]:
            kept[key] = image.info[key]
    largest = {"JPEG": 65000, "BMP": 0, "PPM": 0}.get(kind, 2**31)
    for key in [key for key in kept if len(kept[key]) > largest and (key, kind) != ("icc_profile", "JPEG")]:
        _log.warning("%r: %s cannot hold the %s of this image (%d bytes)", name, kind, key, len(kept.pop(key)))
    if kind == "PNG" and "xmp" in kept:
        kept["pnginfo"] = PngImagePlugin.PngInfo()
        kept["pnginfo"].add_itxt("XML:com.adobe.xmp", kept["xmp"].decode("utf-8", "replace"))
    if kind == "JPEG":
        kept.setdefault("comment", b"")  # else Pillow takes one of any length from the image
    with suppress(TypeError, ValueError, ZeroDivisionError, KeyError):
        dpi = tuple(float(side) for side in image.info["dpi"])
        if len(dpi) == 2 and all(0.5 <= side < 65535 for side in dpi):
            kept["dpi"] = dpi
    return kept


def _encoding(image: Image.Image, kind: str, quality: int) -> dict[str, Any]:
    if kind == "PNG":
        return {"compress_level": 2}  # 5 times as fast as the usual 6 and 8 % larger
    if kind == "JPEG":
        return {"quality": quality, "subsampling": "4:4:4"}
    if kind == "WEBP":
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
