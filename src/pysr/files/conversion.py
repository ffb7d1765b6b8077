"""What a format cannot hold is converted to what it can, as a person would do it, and said in the log.

Colours are converted before an image is enlarged (`converted`), its depth afterwards (`fitted`).
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ..imaging.palette import colours_of
from .depth import white_of_dtype
from .formats import Format
from .metadata import holds_profile
from .output import Output
from .raster import Described, Pixels, mode_of, to_depth

_log = logging.getLogger(__name__)
Some = TypeVar("Some", bound=Described)


def converted(raster: Some, kind: Format, output: Output, name: str) -> Some:
    """Convert an image to colours that a format holds, before it is enlarged.

    A palette gives way to full colour, unless ``output`` keeps it; where the format has none of them, transparency is
    laid over the background, CMYK becomes sRGB by its colour profile, and black-and-white gray.

    Args:
        raster: The image.
        kind: The format of the result.
        output: Names the background, and whether a palette is kept.
        name: Of the file, for the log. A loss is a warning.

    Returns:
        The image, in a kind that the format holds, if perhaps not in that depth.
    """
    if raster.kind == "palette":
        raster = _without_palette(raster, kind, output, name)
    if raster.has_alpha and not any(mode.startswith(("LA", "RGBA")) for mode in kind.modes):
        raster = _without_alpha(raster, kind, output, name)
    if raster.kind == "cmyk" and not any(mode.startswith("CMYK") for mode in kind.modes):
        raster = _without_inks(raster, kind, name)
    if raster.kind == "bilevel" and "1" not in kind.modes:
        _log.info("%r: %s has no black-and-white images; the result is gray", name, kind.name)
        raster = _noted(raster.changed(kind="gray"), "black and white became gray", kind)
    return raster


def fitted_mode(raster: Described, kind: Format) -> str:
    """Return the mode of the deepest pixels of an image that a format holds, if it holds such images at all."""
    depths = [raster.dtype.name, *(["uint16"] if raster.dtype == np.float32 else []), "uint8"]
    modes = [mode_of(raster.kind, raster.channels, depth) for depth in depths]
    return next((mode for mode in modes if mode in kind.modes), modes[0])


def fitted(raster: Some, kind: Format, name: str) -> Some:
    """Round the pixels of a result to the deepest that a format holds, with a warning."""
    mode = fitted_mode(raster, kind)
    if mode == raster.mode:
        return raster
    bits, dtype = (16, np.uint16) if mode.endswith(";16") else (8, np.uint8)
    before = "floats" if raster.dtype.kind == "f" else "16 bits"
    _log.warning("%r: %s cannot hold %s per channel here; they are rounded to %d bits", name, kind.name, before, bits)
    rounded = raster.mapped(partial(to_depth, dtype=dtype))
    return _noted(rounded, f"{before} per channel became {bits} bits", kind)


def _noted(raster: Some, what: str, kind: Format) -> Some:
    """Note for the report what was done."""
    return raster.changed(metadata=raster.metadata.with_change(what, f"{kind.name} cannot hold the image otherwise"))


def in_full_colour(raster: Some) -> Some:
    """Return an image with a palette as RGB, or RGB and alpha, and any other as it is."""
    if raster.palette is None:
        return raster
    return raster.mapped(partial(colours_of, entries=raster.palette), kind="rgb", palette=None)


def _without_palette(raster: Some, kind: Format, output: Output, name: str) -> Some:
    if output.keep_palette:
        what = "palettes with transparent colours" if "P" in kind.modes else "palettes"
        if "P" in kind.modes and (kind.name in ("PNG", "WEBP") or not raster.transparent_palette):
            return raster
        _log.warning("%r: %s has no %s; the result is in full colour", name, kind.name, what)
    else:
        _log.info("%r has a palette, and is enlarged in full colour", name)
    coloured = in_full_colour(raster)
    return coloured.changed(metadata=raster.metadata.with_change("palette", "the result is in full colour"))


def _without_alpha(raster: Some, kind: Format, output: Output, name: str) -> Some:
    white = white_of_dtype(raster.dtype)
    if raster.every(lambda pixels: bool((pixels[..., -1] == white).all())):  # nothing shows through
        return _with_colours(raster, lambda pixels: pixels[..., :-1])
    _log.warning("%r: %s has no transparency; it is laid over %s", name, kind.name, output.background)
    opaque = _with_colours(raster, partial(flattened, background=output.background_colour()))
    return _noted(opaque, f"transparency was laid over {output.background}", kind)


def flattened(pixels: Pixels, background: tuple[int, int, int]) -> Pixels:
    """Lay transparent pixels over a colour.

    Args:
        pixels: (H, W, 2) gray and alpha or (H, W, 4) RGB and alpha, uint8, uint16 or float32.
        background: 8-bit RGB.

    Returns:
        (H, W, 1) if pixels and background are gray, else (H, W, 3); of the same dtype.
    """
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    gray = len(set(background)) == 1
    dtype, white = pixels.dtype, 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    behind = np.array(background[: 1 if gray else 3], np.float64) * (white / 255)
    result = np.empty((*pixels.shape[:2], max(colours.shape[2], len(behind))), dtype)
    for row in range(len(pixels)):  # in float64, which a whole image would need too much memory for
        share = alpha[row] / white
        mixed = colours[row] * share + behind * (1 - share)
        result[row] = mixed if dtype.kind == "f" else np.rint(mixed)
    return result


def _with_colours(raster: Some, colours_only: Callable[[Pixels], Pixels]) -> Some:
    """Return an opaque image of (H, W, 1) or (H, W, 3), without a profile that is not for such colours."""
    metadata = raster.metadata
    gray = colours_only(np.zeros((1, 1, raster.channels), raster.dtype)).shape[2] == 1
    if raster.kind == "gray" and not gray and metadata.icc:
        metadata = replace(metadata, icc=b"").with_change("colour profile", "it was of gray, the result has colours")

    def opaque(pixels: Pixels) -> Pixels:
        colours = colours_only(pixels)
        return np.ascontiguousarray(colours[..., 0] if gray else colours)

    return raster.mapped(opaque, kind="gray" if gray else "rgb", metadata=metadata)


def _without_inks(raster: Some, kind: Format, name: str) -> Some:
    profile, becomes = raster.metadata.icc, b""
    convert: Callable[[NDArray[np.uint8]], Pixels] = _roughly_srgb
    try:
        becomes = by_profile(np.zeros((1, 1, 4), np.uint8), profile)[1]
        convert = partial(_srgb_by_profile, profile=profile)
        _log.info("%r: %s has no CMYK images; the colours become sRGB by its profile", name, kind.name)
    except (ImageCms.PyCMSError, OSError, ValueError):
        _log.warning(
            "%r: %s has no CMYK images, and %s; the colours become roughly sRGB",
            *(name, kind.name, "its colour profile cannot be used" if profile else "the file has no colour profile"),
        )
    metadata = replace(raster.metadata, icc=becomes if holds_profile(kind.name) else b"")  # without one, it is sRGB
    coloured = raster.mapped(lambda pixels: convert(to_depth(pixels, np.uint8)), kind="rgb", metadata=metadata)
    return _noted(coloured, "CMYK became sRGB", kind)


def _roughly_srgb(inks: NDArray[np.uint8]) -> Pixels:
    return np.array(_cmyk_image(inks).convert("RGB"))


def _srgb_by_profile(inks: NDArray[np.uint8], profile: bytes) -> Pixels:
    return by_profile(inks, profile)[0]


def _cmyk_image(inks: NDArray[np.uint8]) -> Image.Image:
    size = inks.shape[1], inks.shape[0]
    return Image.frombuffer("CMYK", size, np.ascontiguousarray(inks), "raw", "CMYK", 0, 1)


def by_profile(inks: NDArray[np.uint8], profile: bytes) -> tuple[NDArray[np.uint8], bytes]:
    """Convert CMYK to sRGB by an ICC profile: relative colorimetric, with black point compensation.

    Args:
        inks: (H, W, 4) uint8, 0 being no ink.
        profile: The profile of these inks.

    Returns:
        (H, W, 3) uint8, and the profile of sRGB.

    Raises:
        PyCMSError: The profile is damaged or for other colours (or OSError, ValueError).
    """
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    result = ImageCms.profileToProfile(
        _cmyk_image(inks),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        srgb,
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        "RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert result is not None  # as it is for inPlace=True
    return np.array(result), srgb.tobytes()
