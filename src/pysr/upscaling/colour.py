"""Images of wide or linear colour profiles, enlarged in values that networks know."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from ..files.conversion import Some
from ..files.metadata import holds_colours
from ..files.raster import to_depth
from ..imaging.profiles import as_srgb, curves_of, from_srgb, is_far_from_srgb

_log = logging.getLogger(__name__)


def upscale_in_colour(
    upscale: Callable[[Some], Some], raster: Some, colour: Literal["file", "srgb"] | None, format: str, name: str
) -> Some:
    """Enlarge an image in its own values or in those of sRGB's curve.

    It stays in those of sRGB's where the result's format has no place for the gamma that a PNG file gives.

    Args:
        upscale: Enlarges an image.
        raster: The image.
        colour: As `Output.colour`.
        format: The result's, such as "PNG".
        name: Of the file, for the log.

    Returns:
        The result in the depth of ``raster``.
    """
    metadata = raster.metadata
    if colour == "file" or raster.kind not in ("gray", "rgb"):
        return upscale(raster)
    channels = 1 if raster.kind == "gray" else 3
    curves = curves_of(metadata.icc, metadata.colours, channels)
    if curves is None or (colour is None and not is_far_from_srgb(curves)):
        return upscale(raster)
    _log.info("%r is enlarged in values of sRGB's curve in place of its own", name)
    depth = raster.dtype.type
    result = upscale(raster.mapped(lambda pixels: as_srgb(to_depth(pixels, np.float32), curves)))
    if metadata.icc or holds_colours(format):
        return result.mapped(lambda pixels: to_depth(from_srgb(pixels, curves), depth))
    _log.warning("%r: %s has no place for gAMA; the values become those of sRGB's curve", name, format)
    others = {key: value for key, value in result.metadata.colours.items() if key != "gAMA"}
    known = replace(result.metadata, colours=others).with_change("gAMA", "the values are now those of sRGB's curve")
    return result.mapped(lambda pixels: to_depth(pixels, depth)).changed(metadata=known)
