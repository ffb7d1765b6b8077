"""What the samples of a TIFF image mean, and how they become pixels: the same whichever library decodes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .cielab import lab_to_srgb
from .depth import divided_by_alpha, from_signed, full_range
from .raster import Kind, Pixels
from .tiff_header import (
    COEFFICIENTS,
    COMPRESSION,
    EXTRA_SAMPLES,
    INK_SET,
    LARGEST_SAMPLE,
    PHOTOMETRIC,
    PLANAR,
    RANGES,
    SUBSAMPLING,
    Directory,
)

Numbers = Literal["unsigned", "signed", "float"]
_NUMBERS: dict[int | None, Numbers] = {1: "unsigned", 2: "signed", 3: "float"}
_COLOURS: dict[int, tuple[Kind, int]] = {  # PhotometricInterpretation
    0: ("gray", 1),
    1: ("gray", 1),
    2: ("rgb", 3),
    3: ("palette", 1),
    5: ("cmyk", 4),
    6: ("rgb", 3),
    8: ("rgb", 3),
    9: ("rgb", 3),
}
_DEPTHS = {"unsigned": (1, 2, 4, 8, 10, 12, 14, 16, 32), "signed": (8, 16, 32), "float": (16, 32, 64)}
MIN_IS_WHITE, RGB, PALETTE, YCBCR, LAB, ICC_LAB = 0, 2, 3, 6, 8, 9
JPEG = 7  # of the tag Compression
LOSSY = {  # kinds of compression
    **dict.fromkeys((6, 7, 34892), "JPEG"),
    **dict.fromkeys((33003, 33005, 34712), "JPEG 2000"),
    50001: "WebP",
    50002: "JPEG XL",
}
_NAMES = {7: "JPEG", 34712: "JPEG 2000", 34887: "LERC", 32809: "ThunderScan", 34676: "SGILog", 34677: "SGILog24"}


@dataclass(frozen=True)
class TiffLayout:
    """How one image of a TIFF file is stored.

    Attributes:
        kind: Of the pixels, as `Raster.kind`.
        photometric: The tag PhotometricInterpretation.
        numbers: What the samples are.
        bits: Per sample.
        white: The value of white of floats: the largest sample that the file states, or 1.
        alpha: Whether the sample after the colours is alpha, and whether colours are multiplied by it.
        dropped: Number of samples per pixel that are left out.
    """

    kind: Kind
    photometric: int
    numbers: Numbers
    bits: int
    white: float
    alpha: Literal["none", "straight", "associated"]
    dropped: int

    @property
    def channels(self) -> int:
        """Of the pixels, alpha included."""
        return {"rgb": 3, "cmyk": 4}.get(self.kind, 1) + (self.alpha != "none")

    @property
    def dtype(self) -> str:
        """Of the pixels."""
        if self.numbers == "float":
            return "float32"
        return "uint8" if self.bits <= 8 else "uint16"


def layout_of(page: Directory, name: str) -> TiffLayout:
    """Describe how an image is stored.

    Args:
        page: The image.
        name: Of the file, for messages.

    Raises:
        InputError: pysr does not know what its samples mean.
    """
    photometric = page.one(PHOTOMETRIC, -1)
    numbers = _NUMBERS.get(page.sample_format)
    bits = page.bits
    if page.sample_format == 4:  # "undefined", which older programs write
        numbers = "unsigned"
    if numbers is None or bits is None or bits not in _DEPTHS[numbers]:
        what = "several depths" if bits is None else f"{bits} bits per sample"
        raise unsupported(name, f"{what}" + ("" if numbers else " of an unknown kind"))
    if photometric not in _COLOURS:
        raise unsupported(name, f"an unusual colour space (photometric interpretation {photometric})")
    kind, colours = _COLOURS[photometric]
    if photometric == 5 and page.one(INK_SET, 1) != 1:
        raise unsupported(name, "inks other than CMYK")
    extra = page.samples - colours
    if extra < 0:
        raise InputError(f"{name!r} has too few samples for its colours: it is damaged; use another copy of it")
    if bits == 1 and kind == "gray":
        kind = "bilevel"
    allowed: dict[int, tuple[tuple[str, ...], tuple[int, ...]]] = {
        MIN_IS_WHITE: (("unsigned", "signed"), (1, 2, 4, 8, 10, 12, 14, 16, 32)),
        PALETTE: (("unsigned",), (1, 2, 4, 8)),
        YCBCR: (("unsigned",), (8,)),
        **dict.fromkeys((LAB, ICC_LAB), (("unsigned",), (8, 16))),
    }
    if page.one(COMPRESSION, 1) == JPEG:
        photometric = _photometric_of_jpeg(page, photometric, name)
    if photometric == YCBCR and not _is_plain_ycbcr(page):
        raise unsupported(name, "YCbCr with reduced chroma or unusual coefficients")
    kinds, depths = allowed.get(photometric, ((numbers,), (bits,)))
    if numbers not in kinds or bits not in depths:
        raise unsupported(name, f"{numbers} samples of {bits} bits in this colour space")
    meaning = page.tags.get(EXTRA_SAMPLES, ())[:1]
    alpha: Literal["none", "straight", "associated"] = "none"
    if (
        extra
        and kind in ("gray", "rgb")
        and (meaning in ((1,), (2,)) or (kind == "rgb" and extra == 1 and not meaning))
    ):
        alpha = "associated" if meaning == (1,) else "straight"  # many programs leave the tag out
    largest = page.tags.get(LARGEST_SAMPLE, (1.0,))[0]
    white = float(largest) if numbers == "float" and largest > 0 else 1.0
    return TiffLayout(kind, photometric, numbers, bits, white, alpha, extra - (alpha != "none"))


def _photometric_of_jpeg(page: Directory, photometric: int, name: str) -> int:
    """Tell what decoders of JPEG return: RGB for YCbCr."""
    apart = page.one(PLANAR, 1) == 2 and page.samples > 1
    if page.bits != 8 or photometric in (PALETTE, LAB, ICC_LAB) or (photometric == YCBCR and apart):
        raise unsupported(name, f"JPEG compression and {page.bits} bits per sample in this colour space")
    return RGB if photometric == YCBCR else photometric


def _is_plain_ycbcr(page: Directory) -> bool:
    """Whether every pixel has its own chroma, and the conversion is that of JPEG (TIFF 6.0, section 21: defaults)."""
    return (
        page.tags.get(SUBSAMPLING) == (1, 1)
        and all(abs(a - b) < 1e-3 for a, b in zip(page.tags.get(COEFFICIENTS, ()), (0.299, 0.587, 0.114), strict=False))
        and page.tags.get(RANGES, (0, 255, 128, 255, 128, 255)) == (0, 255, 128, 255, 128, 255)
    )


def unsupported(name: str, what: str) -> InputError:
    """An error for a file that is sound, but of a variant that pysr does not read."""
    return InputError(
        f"{name!r} is a TIFF of {what}, which pysr does not read; save it with 8 or 16 bits as gray or RGB, for example"
        " with ImageMagick"
    )


def describe_compression(page: Directory) -> str:
    """Name how an image is compressed, for messages."""
    number = page.one(COMPRESSION, 1)
    return f"{_NAMES[number]} compression" if number in _NAMES else f"compression {number}"


def to_pixels(samples: Pixels, layout: TiffLayout) -> Pixels:
    """Make pixels of samples.

    Args:
        samples: (H, W) or (H, W, S) as stored, S including samples that are left out.
        layout: Of the image.

    Returns:
        As `Raster.pixels`.

    Raises:
        InputError: Floats are beyond what the file says is white.
    """
    if samples.ndim == 3:
        samples = samples[..., 0] if layout.channels == 1 else samples[..., : layout.channels]
    if layout.photometric in (LAB, ICC_LAB):
        return _from_lab(samples, layout)
    if layout.photometric == YCBCR:
        return _from_ycbcr(samples)
    if layout.numbers == "float":
        pixels = samples.astype(np.float32)
        pixels = pixels if layout.white == 1 else pixels / np.float32(layout.white)
    elif layout.kind == "bilevel":
        pixels = np.where(samples.astype(bool), np.uint8(255), np.uint8(0))
    elif layout.kind == "palette":
        return samples.astype(np.uint8)
    else:
        pixels = full_range(from_signed(samples) if layout.numbers == "signed" else samples, (1 << layout.bits) - 1)
    if layout.photometric == MIN_IS_WHITE:
        pixels = _inverted(pixels, layout)
    return divided_by_alpha(pixels) if layout.alpha == "associated" else pixels


def _inverted(pixels: Pixels, layout: TiffLayout) -> Pixels:
    if layout.alpha == "none":
        return np.invert(pixels)
    pixels = pixels.copy()
    pixels[..., 0] = np.invert(pixels[..., 0])
    return pixels


def _from_ycbcr(samples: Pixels) -> Pixels:
    """Convert full-range YCbCr of BT.601 (JFIF) to RGB, alpha staying what it is."""
    luma, blue, red = (samples[..., channel].astype(np.float64) for channel in range(3))
    blue, red = blue - 128, red - 128
    rgb = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)
    colours = np.rint(rgb.clip(0, 255)).astype(np.uint8)
    return np.concatenate([colours, samples[..., 3:4]], axis=-1)


def _from_lab(samples: Pixels, layout: TiffLayout) -> Pixels:
    """Convert L*a*b*: a and b are signed (CIELab), or unsigned around the middle (ICCLab: TIFF Technical Note 4)."""
    values = samples.astype(np.float64)
    unit = 1 if layout.bits == 8 else 256
    span = 1 << layout.bits
    lab: NDArray[np.float64] = values[..., :3]
    if layout.photometric == LAB:
        lab[..., 1:] -= np.where(lab[..., 1:] >= span / 2, span, 0)
        lightest = span - 1
    else:
        lab[..., 1:] -= span / 2
        lightest = 255 * unit
    lab[..., 1:] /= unit
    lab[..., 0] *= 100 / lightest
    dtype = np.dtype(layout.dtype)
    colours = lab_to_srgb(lab, dtype)
    return np.concatenate([colours, samples[..., 3:4]], axis=-1)


def palette_of(colormap: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Convert a TIFF's ColorMap to a palette.

    Args:
        colormap: (3, n) uint16: red, green and blue. Old programs wrote 8 bits into them.

    Returns:
        (n, 4) uint8 RGBA.
    """
    colours = colormap if colormap.max(initial=0) < 256 else colormap >> 8
    opaque = np.full((colormap.shape[1], 1), 255, np.uint8)
    return np.concatenate([colours.T.astype(np.uint8), opaque], axis=1)
