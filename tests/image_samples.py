"""Small image files for tests: their formats, some pixels in every mode, and what to compare."""

import io
from typing import Any

import numpy as np
from PIL import Image

FORMATS = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "PPM": ".ppm",
}
ORIENTATION, MAKE, EXIF_IFD, TAKEN, THUMBNAIL_LENGTH = 0x0112, 0x010F, 0x8769, 0x9003, 0x0202


def make_image(mode: str = "RGB", width: int = 12, height: int = 8) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 10, y * 15, (x + y) * 6, 255 - x * 9], -1).astype(np.uint8)
    if mode == "I;16":
        return Image.frombytes("I;16", (width, height), (rgb[..., 0].astype("<u2") * 257).tobytes())
    if mode == "P":
        image = Image.fromarray(((x + y) % 16).astype(np.uint8))
        image.putpalette(bytes(range(7, 7 + 48)))
        return image
    return Image.fromarray(rgb, "RGBA").convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def same(a: Image.Image, b: Image.Image) -> bool:
    colours = not (a.mode == b.mode == "P") or a.convert("RGB").tobytes() == b.convert("RGB").tobytes()
    return (a.mode, a.size) == (b.mode, b.size) and a.tobytes() == b.tobytes() and colours
