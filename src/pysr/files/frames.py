"""Animated images: GIF, APNG and WebP, all frames with their timing; and single frames, or pages of TIFF."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from ..errors import InputError
from .interface import ImageReader
from .metadata import Changes, decodable, embed, embeds
from .output import Output
from .pillow import PLUGINS
from .raster import Raster
from .reader import ANY_SIZE, MAX_PIXELS, open_reader, read_raster
from .streams import Buffered, Source, buffered, name_of
from .tiff_pages import read_page
from .writer import fitted_metadata

FORMATS = {"GIF": (".gif",), "PNG": (".png", ".apng"), "WEBP": (".webp",)}  # that hold animations, and their endings
_CLEAR = 255  # the index of transparent pixels in GIF
_WEBP_FLAGS, _WEBP_ALPHA = 20, 0x10  # of the chunk VP8X, with which an animated file begins
_VISIBLE = 128  # alpha from which on a pixel of GIF, which is either, is opaque


@dataclass(frozen=True)
class Animation:
    """The frames of an animated image.

    Attributes:
        frames: 8-bit RGB, or RGBA if any pixel of any frame is transparent; each is the whole image, as it is shown.
            All have the file's metadata.
        durations: How long each frame is shown, in milliseconds.
        plays: How often the animation is shown; 0: without end.
    """

    frames: Sequence[Raster]
    durations: Sequence[float]
    plays: int


def count_frames(source: Source) -> tuple[str, int]:
    """Count the frames of an animation (GIF, PNG or WebP), or the pages of a TIFF file; 1 for every other image.

    Returns:
        The file's format, such as "GIF", and the number.

    Raises:
        InputError: The file cannot be read, or is not an image.
    """
    with open_reader(source, max_pixels=ANY_SIZE) as reader, _opened(source, reader) as image:
        return reader.header.format, reader.images if image is None else _last(image) - _first(image)


def read_animation(source: Source, frame: int | None = None) -> Animation:
    """Read the frames of an animated file.

    Args:
        source: A GIF, PNG or WebP file, as for `open_reader`.
        frame: The only one to read, from 0; None reads all.

    Raises:
        InputError: The file cannot be read, or has no such frame.
    """
    name = name_of(source)
    with open_reader(source) as reader, _opened(source, reader) as image:
        if image is None:
            raise InputError(f"{name!r} has no frames; leave the frame out")
        first, last = _first(image), _last(image)
        if frame is not None and frame >= last - first:
            raise InputError(f"{name!r} has the frames 0 to {last - first - 1}, not {frame}; choose one of them")
        numbers = range(first, last) if frame is None else [first + frame]
        width, height = reader.header.size
        if len(numbers) * width * height > MAX_PIXELS:
            raise InputError(
                f"{name!r} has {len(numbers)} frames of {width} x {height}, more than {MAX_PIXELS / 1e6:.0f} million"
                " pixels; choose one of them, or cut it into parts"
            )
        decoded, durations = [], []
        for number in numbers:
            image.seek(number)
            image.load()
            decoded.append(image.convert("RGBA"))
            durations.append(float(image.info.get("duration", 0)))
        mode = "RGB" if all(_least_alpha(each) == 255 for each in decoded) else "RGBA"
        header, known = reader.header, reader.metadata
        frames = [Raster(np.asarray(each.convert(mode)), "rgb", metadata=known) for each in decoded]
        frames[0] = replace(frames[0], format=header.format, lossless=header.lossless)
        return Animation(frames, durations, _plays(image))


def read_frame(source: Source, number: int) -> Raster:
    """Read one frame of an animation, or one page of a TIFF file, from 0.

    Raises:
        InputError: The file cannot be read, or has no such frame or page.
    """
    format, count = count_frames(source)
    if format == "TIFF":
        return read_page(source, number)
    if count > 1:
        return read_animation(source, number).frames[0]
    if number:
        raise InputError(f"{name_of(source)!r} has a single image, number 0, not {number}; leave the frame out")
    return read_raster(source)


def encode_animation(
    animation: Animation, format: str, file: IO[bytes], output: Output, *, name: str, done: str
) -> Changes:
    """Write an animation.

    GIF gets 256 colours for each frame, and pixels that are transparent or opaque. WebP is lossy unless the animation
    was read from WebP without loss, or ``output`` says otherwise.

    Args:
        animation: What to write.
        format: One of `FORMATS`.
        file: Open for writing, seekable, at its start.
        output: Quality of WebP, and what becomes of metadata.
        name: Of the file, for the log.
        done: What was done to the image, for ``output.tag``.

    Returns:
        What became of the metadata of the first frame.
    """
    first = animation.frames[0]
    images = [
        _for_gif(frame.pixels) if format == "GIF" else Image.fromarray(frame.pixels) for frame in animation.frames
    ]
    options: dict[str, Any] = {"duration": list(animation.durations)}
    if format == "WEBP":
        options["duration"] = [round(each) for each in animation.durations]
        options |= output.encoding(format, first.format == format and first.lossless)
    options |= _gif_options(animation) if format == "GIF" else {"loop": animation.plays}
    options |= {"disposal": 0, "blend": 0} if format == "PNG" else {}
    encoded = io.BytesIO()
    images[0].save(encoded, format, save_all=True, append_images=images[1:], **options)
    if format == "WEBP" and first.has_alpha:
        encoded.getbuffer()[_WEBP_FLAGS] |= _WEBP_ALPHA  # libwebp omits it if all frames can be opaque rectangles
    metadata, changes = fitted_metadata(first, format, output, done, name)
    encoded.seek(0)
    if embeds(format):
        embed(encoded, file, format, metadata)
    else:
        file.write(encoded.getvalue())
    return changes


def _gif_options(animation: Animation) -> dict[str, Any]:
    clear = animation.frames[0].has_alpha  # each frame replaces the one before, where it is transparent, too
    loop = {} if animation.plays == 1 else {"loop": max(animation.plays - 1, 0)}
    transparent = {"disposal": 2, "transparency": _CLEAR} if clear else {"disposal": 1}
    return {"optimize": False} | transparent | loop


def _for_gif(pixels: np.ndarray[Any, Any]) -> Image.Image:
    """Choose the colours of a frame, the last of 256 being transparent if any pixel may be."""
    rgb = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    if pixels.shape[2] == 3:
        return rgb.quantize(256)
    few = rgb.quantize(_CLEAR)
    indices = np.where(pixels[..., 3] < _VISIBLE, np.uint8(_CLEAR), np.asarray(few))
    image = Image.frombytes("P", few.size, indices.tobytes())
    image.putpalette((few.getpalette() or [])[: 3 * _CLEAR])  # Pillow completes it
    return image


def _least_alpha(image: Image.Image) -> int:
    lowest, _ = image.getchannel("A").getextrema()
    return int(lowest)  # type: ignore[arg-type]  # an integer for 8 bits


def _first(image: ImageFile.ImageFile) -> int:
    """The number of the first frame: an APNG may begin with an image that is not one of its animation's."""
    return int(bool(getattr(image, "default_image", False)))


def _last(image: ImageFile.ImageFile) -> int:
    return int(getattr(image, "n_frames", 1))


def _plays(image: ImageFile.ImageFile) -> int:
    """GIF counts how often the animation is repeated, and says nothing where it is shown once."""
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else int(loop) + 1 if loop else 0
    return int(loop or 0)


@contextmanager
def _opened(source: Source, reader: ImageReader) -> Iterator[ImageFile.ImageFile | None]:
    """Open a file by Pillow if its format has animations; None for other formats."""
    if reader.header.format not in FORMATS:
        yield None
        return
    whole = buffered(source)
    with io.BytesIO(_all_of(whole)) if isinstance(whole, Buffered) else open(whole, "rb") as file:
        yield PLUGINS[reader.header.format](decodable(file, reader.header.format, reader.metadata))


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
