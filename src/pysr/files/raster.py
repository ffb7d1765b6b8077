"""`Raster`: an image as a file holds it, in 8 or 16 bits or floats, with what the file says about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..imaging.palette import entries_of
from .metadata import Metadata, make_true

Pixels = NDArray[Any]
Kind = Literal["bilevel", "gray", "rgb", "palette", "cmyk"]
_DTYPES = ("uint8", "uint16", "float32")
_COLOURS = {"bilevel": 1, "gray": 1, "rgb": 3, "palette": 1, "cmyk": 4}
_DEPTHS = {"uint8": "", "uint16": ";16", "float32": ";F"}
_KINDS: dict[str, Kind] = {
    "1": "bilevel",
    "P": "palette",
    **dict.fromkeys(("L", "LA", "I;16", "I;16B", "I;16L", "F"), "gray"),
    **dict.fromkeys(("RGB", "RGBA"), "rgb"),
    "CMYK": "cmyk",
}
_log = logging.getLogger(__name__)


class Described:
    """What `Raster` and `RasterRows` know of their pixels; the attributes are those of `RasterRows`."""

    kind: Kind
    palette: NDArray[np.uint8] | None
    metadata: Metadata
    format: str
    lossless: bool

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """How many there are, alpha included."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""
        raise NotImplementedError

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.kind in ("gray", "rgb") and self.channels in (2, 4)

    @property
    def mode(self) -> str:
        """The kind and the depth as one word: Pillow's mode where there is one, else such as "RGB;16" or "LA;F"."""
        return mode_of(self.kind, self.channels, self.dtype.name)

    @property
    def transparent_palette(self) -> bool:
        """Whether a colour of the palette is transparent."""
        return self.palette is not None and bool((self.palette[:, 3] < 255).any())

    def changed(self, **changes: Any) -> Self:
        """Return the image with other attributes."""
        return replace(self, **changes)  # type: ignore[type-var]

    def mapped(self, function: Callable[[Pixels], Pixels], **changes: Any) -> Self:
        """Return an image of other pixels, which a function makes of these row by row, and of other attributes."""
        raise NotImplementedError

    def every(self, holds: Callable[[Pixels], bool]) -> bool:
        """Tell whether something holds of the pixels."""
        raise NotImplementedError

    def cropped(self, size: tuple[int, int]) -> Self:
        """Return the upper left part, (width, height), of the image."""
        raise NotImplementedError


@dataclass(frozen=True)
class Raster(Described):
    """An image decoded from a file, or to be written to one.

    Attributes:
        pixels: (H, W) for "bilevel" (0 or 255), "palette" (indices) and "gray"; (H, W, 2) for gray and alpha; (H, W, 3)
            or (H, W, 4) for "rgb", the fourth being alpha; (H, W, 4) for "cmyk", 0 being no ink. uint8, uint16 or
            float32, the last with black at 0 and white at 1; "bilevel" and "palette" are uint8. Colours are not
            multiplied by alpha.
        kind: What the channels mean.
        palette: (n, 4) uint8 RGBA of a "palette" image, n being at most 256; None for other kinds.
        metadata: What the file says beside the pixels, and of which image that is true.
        format: Name of the format that it was read from, such as "PNG"; "" if it comes from no file.
        lossless: Whether that file held the pixels without loss.
    """

    pixels: Pixels
    kind: Kind
    palette: NDArray[np.uint8] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str = ""
    lossless: bool = True

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype.name
        channels = shape[2] if len(shape) == 3 else 1
        alpha = self.kind in ("gray", "rgb") and channels == _COLOURS[self.kind] + 1
        if self.kind not in get_args(Kind) or not (channels == _COLOURS[self.kind] or alpha) or dtype not in _DTYPES:
            raise ValueError(f"no raster of kind {self.kind!r} has pixels of shape {shape} and type {dtype}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def channels(self) -> int:
        """As `Described.channels`."""
        return self.pixels.shape[2] if self.pixels.ndim == 3 else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """As `Described.dtype`."""
        return self.pixels.dtype

    def with_pixels(self, pixels: Pixels) -> Raster:
        """Return an image of the same kind with other pixels and the same metadata."""
        return replace(self, pixels=pixels)

    def mapped(self, function: Callable[[Pixels], Pixels], **changes: Any) -> Raster:
        """As `Described.mapped`."""
        return replace(self, pixels=function(self.pixels), **changes)

    def every(self, holds: Callable[[Pixels], bool]) -> bool:
        """As `Described.every`."""
        return holds(self.pixels)

    def cropped(self, size: tuple[int, int]) -> Raster:
        """As `Described.cropped`."""
        return self.with_pixels(self.pixels[: size[1], : size[0]])

    @classmethod
    def from_pil(cls, image: Image.Image, *, lossless: bool = True) -> Raster:
        """Convert a PIL image of mode 1, L, LA, P, I;16, RGB, RGBA, CMYK or F.

        One transparent colour of a gray or RGB image becomes alpha.

        Raises:
            InputError: It has another mode.
        """
        info, mode, metadata = image.info, image.mode, Metadata.from_info(image.info, image.size)
        if mode == "I;16" and "transparency" in info:
            gray = np.asarray(image)
            visible = np.where(gray == info["transparency"], np.uint16(0), np.uint16(65535))
            return cls(np.stack([gray, visible], axis=-1), "gray", None, metadata, image.format or "", lossless)
        if mode in ("1", "L", "RGB") and "transparency" in info:
            image = image.convert("RGBA" if mode == "RGB" else "LA")
        elif mode in ("I;16B", "I;16L"):
            image = image.convert("I").convert("I;16")
        elif mode == "1":
            image = image.convert("L")
        palette = entries_of(image) if mode == "P" else None
        if mode not in _KINDS:
            raise InputError(
                f"PIL images of mode {mode!r} are not supported; convert the image first, for example with"
                ' image.convert("RGB")'
            )
        kind = "gray" if image.mode == "LA" else _KINDS[mode]
        return cls(np.asarray(image), kind, palette, metadata, image.format or "", lossless)

    def to_pil(self) -> Image.Image:
        """Convert to a PIL image.

        Its ``info`` has the metadata that Pillow knows of, true of this image. Where Pillow has no mode for the depth
        (16 bits or floats in colour or with alpha, floats in gray), the result has 8 bits, and a warning is logged.
        """
        pixels, mode = self.pixels, self.mode
        if mode not in ("1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK"):
            bits = "16 bits" if pixels.dtype == np.uint16 else "floats"
            _log.warning("Pillow cannot hold %s per colour of this kind of image; it is rounded to 8 bits", bits)
            pixels = to_depth(pixels, np.uint8)
            mode = {"F": "L"}.get(mode, mode.partition(";")[0])
        raw = {"I;16": "I;16N", "1": "L"}.get(mode, mode)
        start = "L" if mode == "1" else mode
        pixels = np.ascontiguousarray(pixels)
        image = Image.frombuffer(start, self.size, pixels, "raw", raw, 0, 1)
        if mode == "1":
            image = image.convert("1", dither=Image.Dither.NONE)
        image.info = make_true(self.metadata, self.size).to_info()
        if self.palette is not None:
            image.putpalette(self.palette[:, :3].tobytes(), "RGB")
            if self.transparent_palette:
                image.info["transparency"] = _transparency(self.palette[:, 3])
        return image


def mode_of(kind: Kind, channels: int, dtype: str) -> str:
    """Name a kind, a number of channels (alpha included) and a depth by one word, as `Raster.mode`."""
    if kind in ("bilevel", "palette"):
        return "1" if kind == "bilevel" else "P"
    base = "CMYK" if kind == "cmyk" else ("L", "LA", "RGB", "RGBA")[channels - 1]
    mode = base + _DEPTHS[dtype]
    return {"L;16": "I;16", "L;F": "F"}.get(mode, mode)


def to_depth(pixels: Pixels, dtype: type[np.generic]) -> Pixels:
    """Convert between depths, black and white staying what they are; integers are rounded, floats clipped to [0, 1].

    Args:
        pixels: uint8, uint16 or float32.
        dtype: One of them.
    """
    if pixels.dtype == dtype:
        return pixels
    white = {"u1": 255, "u2": 65535}.get(np.dtype(dtype).str[1:], 1)
    if pixels.dtype.kind == "f":
        return (pixels.clip(0, 1) * white).round().astype(dtype)
    if dtype is np.float32:
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    if white == 65535:
        return pixels.astype(dtype) * np.asarray(257, dtype)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(dtype)


def _transparency(alpha: NDArray[np.uint8]) -> int | bytes:
    """Return a palette's alpha as Pillow's ``info["transparency"]``: one index if only that entry is transparent."""
    if (found := np.flatnonzero(alpha < 255)).size == 1 and alpha[found[0]] == 0:
        return int(found[0])
    return alpha.tobytes()
