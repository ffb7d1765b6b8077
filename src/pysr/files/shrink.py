"""Small on the wire: an image made smaller as the models learnt it, for a receiver who enlarges it again."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import IO

import numpy as np
import torch
from PIL import Image

from ..atomic import FilePath, file_name
from ..errors import InputError
from ..imaging.colour import white_of
from ..imaging.degrade import bicubic
from ..imaging.image import open_image
from .conversion import converted, fitted, fitted_mode
from .original import Original, note_original
from .output import DEFAULT
from .raster import Raster
from .reader import read_raster
from .writer import check_output, format_by_name, image_encoder, open_for_writing

SCALES = (2, 3, 4)  # that models are trained for
LOSSY = (".webp", ".jpg", ".jpeg", ".avif")
ENDINGS = (*LOSSY, ".png")  # formats that hold the note of the original's size
Encode = Callable[[IO[bytes], int | None], None]
_QUALITY = 80  # of 100: much above, a smaller scale is better spent bytes (docs/studies/bandwidth.md)


@dataclass(frozen=True)
class Shrunk:
    """What became of an image file.

    Attributes:
        original: (width, height) before, upright, in pixels.
        size: (width, height) after.
        bytes: Length of the file.
        quality: That the file was encoded with; None for PNG.
    """

    original: tuple[int, int]
    size: tuple[int, int]
    bytes: int
    quality: int | None


def shrink(image: Image.Image, scale: int) -> Image.Image:
    """Make an image smaller by MATLAB's antialiased bicubic, and note its size.

    A pixel of the result stands for scale x scale pixels of the image, counted from the left and upper border. Where
    the scale does not divide the sides, the image goes on mirrored beyond the right and lower border. So the result
    enlarged by ``scale`` is restored by cropping it there.

    Args:
        image: Of mode 1, L, LA, P, I;16, RGB, RGBA or CMYK; upright.
        scale: Reduction per side, a positive number.

    Returns:
        (ceil(width / scale), ceil(height / scale)) pixels with the metadata of ``image`` and the note (see
        `original`). Black-and-white becomes gray, and a palette RGB or RGBA. Alpha is shrunk, too; colours are bled
        into transparent pixels first, so that edges stay clean.
    """
    image = _with_all_colours(image)
    opened = open_image(image)
    pairs = opened.parts(Fraction(1, scale)) + opened.alphas(Fraction(1, scale))
    for plane, small in ((plane, small) for pair in pairs for plane, small in zip(*pair, strict=True)):
        exact = bicubic(torch.from_numpy(plane.astype(np.float64))[None], scale)[0]
        small[:] = exact.clamp(0, white_of(small.dtype)).round().numpy()
    result: Image.Image = opened.result()
    result.info["xmp"] = note_original(_xmp(result), Original(image.size, scale))
    return result


def _xmp(image: Image.Image) -> bytes:
    xmp = image.info.get("xmp")
    return xmp if isinstance(xmp, bytes) else b""


def _with_all_colours(image: Image.Image) -> Image.Image:
    """Convert a black-and-white or palette image to a mode that has the colours between its own."""
    if image.mode not in ("1", "P"):
        return image
    mode = "L" if image.mode == "1" else "RGB"
    if image.has_transparency_data:
        mode = "LA" if mode == "L" else "RGBA"
    result = image.convert(mode)
    result.info.pop("transparency", None)
    return result


def shrink_file(
    source: FilePath,
    target: FilePath,
    scale: int = 2,
    *,
    quality: int | None = None,
    max_bytes: int | None = None,
) -> Shrunk:
    """Read an image file, `shrink` it and write it. `Upscaler.upscale_file` restores its original size.

    Args:
        source: An image file. Its orientation is applied; colour profile, EXIF and XMP are kept. What the new format
            cannot hold is converted, and the log says so: transparency in JPEG becomes white.
        target: The file to write: WebP, JPEG, AVIF or PNG by its ending, completely or not at all.
        scale: Reduction per side, one of `SCALES`.
        quality: 1 to 100; default: 80. Not for PNG, which loses nothing.
        max_bytes: Length of the file in bytes that may not be exceeded: the best quality that fits is found by
            bisection. In place of ``quality``.

    Returns:
        Sizes, length and quality.

    Raises:
        InputError: Before any work, if the arguments cannot be used or contradict each other, or if the target cannot
            hold the result or is the source; later, if even the lowest quality takes more than ``max_bytes``.
    """
    check_choices(target, scale, quality, max_bytes)
    if os.path.exists(target) and os.path.exists(source) and os.path.samefile(target, source):
        raise InputError(f"{file_name(target)!r} is the input and would be overwritten; choose another name")
    kind, name = format_by_name(file_name(target)), file_name(source)
    raster = converted(read_raster(source), kind, DEFAULT, name)
    image = _with_all_colours(raster.to_pil())
    check_output(target, Original(image.size, scale).small_size, fitted_mode(Raster.from_pil(image), kind))
    lossless = not file_name(target).lower().endswith(LOSSY)
    small = shrink(image, scale)
    metadata = replace(raster.metadata, xmp=_xmp(small))
    encode = image_encoder(fitted(replace(Raster.from_pil(small), metadata=metadata), kind, name), target)
    if max_bytes is None:
        quality = None if lossless else quality or _QUALITY
        data = _encoded(encode, quality)
    else:
        quality, data = _best_fit(encode, file_name(target), max_bytes)
    with open_for_writing(target) as file:
        file.write(data)
    return Shrunk(image.size, small.size, len(data), quality)


def check_choices(target: FilePath, scale: int, quality: int | None, max_bytes: int | None) -> None:
    """Check the choices of `shrink_file`, and that the target can be written.

    Raises:
        InputError: They cannot be used, or contradict each other.
    """
    name = file_name(target)
    ending = os.path.splitext(name)[1].lower()
    if ending not in ENDINGS:
        raise InputError(f"{name!r} is to be a small file that notes its original's size; use {', '.join(ENDINGS)}")
    if scale not in SCALES:
        raise InputError(f"the scale is {scale}; it can be {', '.join(map(str, SCALES))}")
    if quality is not None and max_bytes is not None:
        raise InputError("a quality and a number of bytes both choose the quality; give only one of them")
    if ending not in LOSSY and (quality is not None or max_bytes is not None):
        raise InputError(f"{name!r} loses nothing and has no quality to choose; use {', '.join(LOSSY)}")
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"the quality is {quality}; give a number from 1 to 100")
    if max_bytes is not None and max_bytes < 1:
        raise InputError(f"the file may have {max_bytes} bytes; give a positive number")
    check_output(name, (1, 1), "RGB")


def _encoded(encode: Encode, quality: int | None) -> bytes:
    file = io.BytesIO()
    encode(file, quality)
    return file.getvalue()


def _best_fit(encode: Encode, name: str, max_bytes: int) -> tuple[int, bytes]:
    """Find the highest quality with at most ``max_bytes``, supposing that more quality never takes fewer bytes."""
    best, data = 1, _encoded(encode, 1)
    if len(data) > max_bytes:
        raise InputError(
            f"{name!r} takes {len(data)} bytes even at the lowest quality, and {max_bytes} are allowed (colour profile"
            " and tags included); allow more, shrink by a larger scale, or choose another format"
        )
    too_high = 101
    while too_high - best > 1:
        quality = (best + too_high) // 2
        tried = _encoded(encode, quality)
        if len(tried) <= max_bytes:
            best, data = quality, tried
        else:
            too_high = quality
    return best, data
