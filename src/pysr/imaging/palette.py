"""Palette images: convert to colours, and back to the nearest colour of the same palette, without dithering."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, Any]

CHUNK = 2**16  # colours compared with the palette at a time: 64 MiB of float32 distances to 256 entries
_STRIP = 2**20  # pixels converted at a time: 4 MiB of RGBA


def entries_of(image: Image.Image) -> Pixels:
    """Return the palette of a "P" image as (n, 4) uint8 RGBA."""
    image.load()
    mode = _mode(image)
    entries = np.array(image.getpalette(mode) or [0, 0, 0], np.uint8).reshape(-1, len(mode))
    if mode == "RGB":
        entries = np.concatenate([entries, np.full((len(entries), 1), 255, np.uint8)], axis=1)
    transparency = image.info.get("transparency")
    if isinstance(transparency, int) and transparency < len(entries):
        entries[transparency, 3] = 0
    elif isinstance(transparency, bytes):
        alpha = np.frombuffer(transparency, np.uint8)[: len(entries)]
        entries[: len(alpha), 3] = alpha
    return entries


def colours_of(index: Pixels, entries: Pixels) -> Pixels:
    """Look up the colours of a palette image.

    Args:
        index: (H, W) uint8; an index beyond the palette is black.
        entries: The palette, (n, 4) uint8 RGBA.

    Returns:
        (H, W, 3) uint8 RGB, or (H, W, 4) RGBA if the palette has transparent colours.
    """
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    table[: len(entries)] = entries
    opaque = entries[:, 3].min(initial=255) == 255
    colours: Pixels = table[:, : 3 if opaque else 4][index]
    return colours


def nearest_entries(pixels: Pixels, entries: Pixels) -> Pixels:
    """Find the nearest entry of a palette for each pixel.

    Distances are Euclidean between colours multiplied by alpha. If the palette has only opaque and fully transparent
    entries, alpha is rounded to one of the two first, at one half.

    Args:
        pixels: (H, W, 3) RGB or (H, W, 4) RGBA, uint8.
        entries: The palette, (n, 4) uint8 RGBA.

    Returns:
        (H, W) uint8 indices.
    """
    index = np.empty(pixels.shape[:2], np.uint8)
    rows = max(1, _STRIP // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        strip = np.ascontiguousarray(pixels[top : top + rows])
        index[top : top + rows] = _nearest(strip.reshape(-1, strip.shape[2]), entries).reshape(strip.shape[:2])
    return index


def with_palette(source: Image.Image, pixels: Pixels) -> Image.Image:
    """Convert (H, W, 3 or 4) uint8 colours to a "P" image with the palette of another; see `nearest_entries`."""
    index = nearest_entries(pixels, entries_of(source))
    result = Image.frombuffer("P", (index.shape[1], index.shape[0]), index, "raw", "P", 0, 1)
    mode = _mode(source)
    result.putpalette(source.getpalette(mode) or [], mode)
    return result


def _mode(image: Image.Image) -> str:
    return "RGBA" if image.palette and image.palette.mode == "RGBA" else "RGB"


def _nearest(colours: Pixels, entries: Pixels) -> Pixels:
    """Find the index of the entry nearest to each of the colours, (n, 3 or 4)."""
    distinct, index = np.unique(_packed(colours), return_inverse=True)
    channels = distinct[:, None] >> np.array([0, 8, 16, 24], np.uint32) & 255
    if set(np.unique(entries[:, 3])) <= {0, 255}:
        channels[:, 3] = np.where(channels[:, 3] < 128, 0, 255)
    points, targets = _premultiplied(channels), _premultiplied(entries)
    best = np.empty(len(points), np.uint8)
    for first in range(0, len(points), CHUNK):
        part = slice(first, first + CHUNK)
        best[part] = ((targets**2).sum(1) - 2 * points[part] @ targets.T).argmin(1)
    return best[index]


def _packed(colours: Pixels) -> Pixels:
    rgba = np.full((len(colours), 4), 255, np.uint8)
    rgba[:, : colours.shape[1]] = colours
    return rgba.view("<u4")[:, 0]


def _premultiplied(rgba: Pixels) -> Pixels:
    """Multiply colours by alpha, as (n, 4) float32; alpha counts double.

    So every opaque colour is nearer to any other, at most 3 * 255**2, than to transparent, at least 510**2.
    """
    values = rgba.astype(np.float32)
    values[:, :3] *= values[:, 3:] / 255
    values[:, 3] *= 2
    return values
