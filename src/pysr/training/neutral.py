"""Training images without colour, which photographs hardly contain: patterns, halftones, text, and gray photographs.

A network that has seen none of them gives them coloured edges.
"""

from __future__ import annotations

import math
import string
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_LETTERS = list(string.ascii_letters + string.digits + ".,;:-()&" + " " * 5)  # a space after 14 letters or so
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) * 16 + 8  # thresholds (Bayer 1973)
_LINE_SPACING = 1.2  # in font sizes, as typesetters have it
_FONT_SIZES = (6, 18)  # in low-resolution pixels: barely legible to a heading


def neutral(photograph: NDArray[np.uint8], scale: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a random image without colour.

    Args:
        photograph: (H, W), gray: it may be returned as it is, or as a halftone.
        scale: Upscaling factor of the training: patterns are fine in low-resolution pixels.
        rng: Where every random choice comes from.

    Returns:
        (H, W) gray: the photograph in 40 % of the calls, else, about as often each, a halftone of it, a checkerboard,
        lines or text.
    """
    kind = rng.random()
    if kind < 0.4:
        return photograph
    if kind < 0.55:
        return halftone(photograph, _random_width(scale, rng))
    shape = photograph.shape
    if kind < 0.7:
        mask = checkerboard(shape, (_random_width(scale, rng), _random_width(scale, rng)), rng)
    elif kind < 0.85:
        mask = lines(shape, _random_width(scale, rng), rng)
    else:
        return text(shape, scale, rng)
    dark, light = random_levels(rng)
    return np.where(mask, light, dark).astype(np.uint8)


def random_levels(rng: np.random.Generator) -> tuple[int, int]:
    """Draw a dark and a light level, 0 to 255: black and white in half of the calls."""
    if rng.random() < 0.5:
        return 0, 255
    dark, light = sorted(rng.integers(0, 256, 2))
    return int(dark), int(light)


def checkerboard(shape: tuple[int, ...], cell: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a checkerboard, (H, W), of cells of a (height, width) in pixels, with a random phase."""
    down, right = (
        (np.arange(side) + rng.integers(0, 2 * width)) // width for side, width in zip(shape, cell, strict=True)
    )
    mask: NDArray[np.bool_] = (down[:, None] + right) % 2 == 0
    return mask


def lines(shape: tuple[int, ...], width: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw parallel lines, (H, W), of a width in pixels and at least as far apart: level, upright or at any angle."""
    angle = rng.choice([0.0, math.pi / 2, rng.uniform(0, math.pi)])
    down, right = np.mgrid[: shape[0], : shape[1]]
    position = math.cos(angle) * down + math.sin(angle) * right + rng.integers(0, 4 * width)
    mask: NDArray[np.bool_] = position % (width * rng.integers(2, 6)) < width
    return mask


def halftone(photograph: NDArray[np.uint8], dot: int) -> NDArray[np.uint8]:
    """Render a photograph, (H, W), by ordered dithering with black and white dots of a width in pixels."""
    coarse = photograph[::dot, ::dot]
    height, width = coarse.shape
    thresholds = np.tile(_BAYER, (-(-height // 4), -(-width // 4)))[:height, :width]
    dots = np.where(coarse > thresholds, 255, 0).astype(np.uint8)
    return dots.repeat(dot, 0).repeat(dot, 1)[: photograph.shape[0], : photograph.shape[1]]


def text(shape: tuple[int, ...], scale: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw lines of random letters, (H, W), in a random size: mostly dark on light, else light on dark."""
    dark, light = random_levels(rng)
    ink, paper = (dark, light) if rng.random() < 0.7 else (light, dark)
    image = Image.new("L", (shape[1], shape[0]), paper)
    draw, size = ImageDraw.Draw(image), int(rng.integers(_FONT_SIZES[0] * scale, _FONT_SIZES[1] * scale))
    for top in range(-int(rng.integers(size)), shape[0], round(_LINE_SPACING * size)):
        words = "".join(rng.choice(_LETTERS, 2 + 2 * shape[1] // size))
        draw.text((-int(rng.integers(size)), top), words, ink, font=_font(size))
    return np.array(image)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _random_width(scale: int, rng: np.random.Generator) -> int:
    """Draw a width in high-resolution pixels: one, two or three low-resolution pixels, or any up to four."""
    return int(rng.choice([scale, scale, 2 * scale, 3 * scale, int(rng.integers(1, 4 * scale))]))
