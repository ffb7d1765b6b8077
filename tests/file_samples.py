"""Image files made byte by byte, or by libraries that pysr does not write with, and independent readers of pixels."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]
ORIENTATION = 274
PROFILE = b"\0\0\0\x80 any colour profile " + bytes(range(200))


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> Pixels:
    """Random pixels of the full range."""
    random = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return random.random(shape).astype(dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return random.integers(low, high, shape, dtype, endpoint=True)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: Pixels, *, bits: int = 0, colour: int | None = None, before: bytes = b"") -> bytes:
    """A PNG file of (H, W) or (H, W, C) pixels, unfiltered; ``before`` are chunks before the pixels."""
    bits = bits or 8 * pixels.dtype.itemsize
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if bits < 8:
        spread = np.unpackbits(pixels[..., None], axis=2)[..., 8 - bits :].reshape(len(pixels), -1)
        rows = [row.tobytes() for row in np.packbits(spread, axis=1)]
    else:
        rows = [row.astype(">u2" if bits == 16 else "u1").tobytes() for row in pixels]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if colour is None else colour
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))


def exif_of(orientation: int) -> bytes:
    """An EXIF block that says nothing but how the image must be turned."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels upright, by the table of EXIF 2.32: where the first row and the first column are seen."""
    turn = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    if orientation in (2, 4):
        pixels = pixels[:, ::-1]
    if orientation in (5, 7):
        pixels = pixels[:, ::-1]
    return np.rot90(pixels, turn)


def read_independently(data: bytes, format: str, *, deep: bool) -> Pixels:
    """Decode by a library that did not write the file; ``deep``: keep more than 8 bits."""
    import imagecodecs
    import tifffile

    if format == "TIFF":
        return tifffile.imread(io.BytesIO(data))
    if format == "PNG" and deep:
        return imagecodecs.png_decode(data)
    if format == "PPM":
        kind, size, white, body = data.split(b"\n", 3)
        width, height = map(int, size.split())
        values = np.frombuffer(body, "u1" if white == b"255" else ">u2").astype(np.uint16 if deep else np.uint8)
        return values.reshape((height, width, 3) if kind == b"P6" else (height, width))
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
