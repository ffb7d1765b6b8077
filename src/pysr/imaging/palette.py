"""Palette images: their colours, and back to the nearest colour of the same palette, without dither."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, Any]

CHUNK = 2**16  # colours that are compared with the palette at a time


def colours_of(image: Image.Image) -> Pixels:
    """A "P" image as (H, W, 3) uint8 RGB, or as (H, W, 4) RGBA if its palette has transparent colours."""
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    entries = _entries(image)
    table[: len(entries)] = entries
    opaque = entries[:, 3].min(initial=255) == 255
    colours: Pixels = table[:, : 3 if opaque else 4][np.asarray(image)]
    return colours


def with_palette(source: Image.Image, pixels: Pixels) -> Image.Image:
    """(H, W, 3 or 4) uint8 colours as a "P" image with the palette of ``source``.

    Each pixel gets the nearest entry; distances are those of colours multiplied by alpha. If the palette knows only
    opaque and transparent, alpha is one or the other first, with the border at one half.
    """
    entries = _entries(source)
    index = np.empty(pixels.shape[:2], np.uint8)
    rows = max(1, 2**20 // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        strip = np.ascontiguousarray(pixels[top : top + rows])
        index[top : top + rows] = _nearest(strip.reshape(-1, strip.shape[2]), entries).reshape(strip.shape[:2])
    result = Image.frombuffer("P", (index.shape[1], index.shape[0]), index, "raw", "P", 0, 1)
    mode = _mode(source)
    result.putpalette(source.getpalette(mode) or [], mode)
    return result


def _entries(image: Image.Image) -> Pixels:
    """The palette as (n, 4) uint8 RGBA."""
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


def _mode(image: Image.Image) -> str:
    return "RGBA" if image.palette and image.palette.mode == "RGBA" else "RGB"


def _nearest(colours: Pixels, entries: Pixels) -> Pixels:
    """Index of the nearest entry for (n, 3 or 4) colours."""
    distinct, place = np.unique(_packed(colours), return_inverse=True)
    channels = distinct[:, None] >> np.array([0, 8, 16, 24], np.uint32) & 255
    if set(np.unique(entries[:, 3])) <= {0, 255}:
        channels[:, 3] = np.where(channels[:, 3] < 128, 0, 255)
    points, targets = _premultiplied(channels), _premultiplied(entries)
    best = np.empty(len(points), np.uint8)
    for first in range(0, len(points), CHUNK):
        part = slice(first, first + CHUNK)
        best[part] = ((targets**2).sum(1) - 2 * points[part] @ targets.T).argmin(1)
    return best[place]


def _packed(colours: Pixels) -> Pixels:
    rgba = np.full((len(colours), 4), 255, np.uint8)
    rgba[:, : colours.shape[1]] = colours
    return rgba.view("<u4")[:, 0]


def _premultiplied(rgba: Pixels) -> Pixels:
    """(n, 4) float32 in which alpha counts so much that opaque never turns into transparent."""
    values = rgba.astype(np.float32)
    values[:, :3] *= values[:, 3:] / 255
    values[:, 3] *= 2
    return values
