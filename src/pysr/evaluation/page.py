"""Comparison pages: images of one scene in a page of HTML that needs nothing but itself.

The page looks no file up and asks no server: images, style and script are in it, and its content security policy
forbids every request. Importing this module does not import torch.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..atomic import FilePath, file_name
from ..errors import InputError
from ..files import open_for_writing, read_image
from .comparison import as_rgb

if TYPE_CHECKING:
    from torch import Tensor

    from ..upscaling.opening import ImageLike

_SHOWN_BY_BROWSERS = (  # the start of a file, and its media type
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"....ftypavif", "image/avif"),
)
_ANIMATION = re.compile(rb"acTL|ANIM")  # the chunks of PNG and WebP that announce several images
_HEADER = 1024  # bytes from a file's start within which such a chunk stands
_NOTEBOOK_HEIGHT = 640  # pixels


@dataclass(frozen=True)
class ComparedImage:
    """One image of a comparison.

    Attributes:
        caption: One line about it.
        url: The encoded image as a data URL.
        size: (width, height) in pixels, upright.
        factor: How many times the largest image of the comparison is as wide and as high.
        scores: PSNR in dB and SSIM against the truth, by name; empty if there is none.
    """

    caption: str
    url: str
    size: tuple[int, int]
    factor: float = 1
    scores: Mapping[str, float] | None = None


class Comparison:
    """Images of one scene, as a page; made by `pysr.compare`. In a notebook it shows itself.

    Attributes:
        images: What is compared, in order.
    """

    def __init__(self, images: Sequence[ComparedImage]) -> None:
        self.images = tuple(images)

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(image.caption for image in self.images)}>"

    def html(self) -> str:
        """Return the page, a complete HTML document."""
        style, script = read_asset("viewer.css"), read_asset("viewer.js")
        return Template(read_asset("page.html")).substitute(
            policy=f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}",
            title=escape(" | ".join(image.caption for image in self.images)),
            style=style,
            script=script,
            figures="\n".join(_figure(image) for image in self.images),
            scores=_table(self.images),
        )

    def save(self, path: FilePath) -> None:
        """Write the page: completely, or not at all.

        Args:
            path: The file to create or replace, usually ``.html``.

        Raises:
            InputError: It cannot be written.
        """
        with open_for_writing(path) as file:
            file.write(self.html().encode())

    def _repr_html_(self) -> str:
        """Return the page in a frame, for notebooks."""
        return (
            f'<iframe title="Comparison of images" srcdoc="{escape(self.html())}" loading="lazy" allowfullscreen'
            f' style="width: 100%; height: {_NOTEBOOK_HEIGHT}px; border: 0"></iframe>'
        )


def compare(images: Mapping[str, ImageLike] | Sequence[ImageLike], *, truth: ImageLike | None = None) -> Comparison:
    """Compare images of one scene: results of several models, or an image before and after.

    ::

        pysr.compare({"bicubic": a, "vdsr x3, 0.8 s": b}, truth="photo.png").save("page.html")

    Image files that browsers show are put into the page as they are, with all that is noted in them, such as where a
    photograph was taken; everything else is put there as PNG.

    Args:
        images: Two or more images, each as `Upscaler.upscale` takes it (no batches): by caption, or in a list, whose
            files are called by their names. Smaller ones, such as the input of a model, are shown enlarged, every
            pixel as a rectangle.
        truth: What the images should look like, of the size of the largest. It is shown as well, and PSNR and SSIM of
            each image of that size are measured on luma of BT.601, rounded to 8 bits, with nothing shaved off.

    Returns:
        The comparison. It holds the encoded images, so that later changes to an image do not matter.

    Raises:
        InputError: There are fewer than two images, one cannot be used, or their sizes differ in shape.
    """
    named = dict(images) if isinstance(images, Mapping) else _called(images)
    if len(named) + (truth is not None) < 2:
        raise InputError(f"a comparison needs two images or more; {len(named)} given")
    sources = list(named.items())
    if truth is not None:
        sources.insert(0, ("truth", truth))
    pixels = [_pixels(source, caption) for caption, source in sources]
    factors = _factors([image.size for image in pixels], [caption for caption, _ in sources])
    reference = as_rgb(pixels[0]) if truth is not None else None
    if reference is not None and factors[0] > 1:
        raise InputError(
            f"the truth is {reference.width} x {reference.height} pixels, smaller than an image; give it at full size"
        )
    compared = []
    for (caption, source), image, factor in zip(sources, pixels, factors, strict=True):
        scores = None
        if reference is not None and caption != "truth" and factor == 1:
            scores = _scores(as_rgb(image), reference)
        compared.append(ComparedImage(caption, _data_url(source, image), image.size, factor, scores))
    return Comparison(compared)


@cache
def read_asset(name: str) -> str:
    """Read one of the page's parts, ``page.html``, ``viewer.css`` or ``viewer.js``."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def media_type(data: bytes) -> str | None:
    """Return the media type of an image file by its first 16 bytes or more; None if browsers do not show it."""
    return next((media for magic, media in _SHOWN_BY_BROWSERS if re.match(magic, data, re.DOTALL)), None)


def _called(images: Sequence[ImageLike]) -> dict[str, ImageLike]:
    """Name images by their files, or by their numbers; a number tells files of the same name apart."""
    named: dict[str, ImageLike] = {}
    for number, image in enumerate(images, 1):
        name = os.path.basename(os.fspath(image)) if isinstance(image, (str, os.PathLike)) else f"image {number}"
        named[f"{name} ({number})" if name in named else name] = image
    return named


def _factors(sizes: Sequence[tuple[int, int]], captions: Sequence[str]) -> list[float]:
    """Return how many times as large the largest is as each image."""
    largest = max(sizes)
    factors = []
    for caption, size in zip(captions, sizes, strict=True):
        if (factor := _factor(size, largest)) is None:
            name = captions[sizes.index(largest)]
            raise InputError(
                f"{caption} is {size[0]} x {size[1]} pixels and {name} {largest[0]} x {largest[1]}, which is another"
                " shape; crop or resize one of them"
            )
        factors.append(factor)
    return factors


def _factor(small: tuple[int, int], large: tuple[int, int]) -> float | None:
    """Return the factor by which one size is the other, but for rounding; None if there is none."""
    (w, h), (width, height) = small, large
    whole = max(1, round(width / w))
    if (math.ceil(width / whole), math.ceil(height / whole)) == small:  # a reduced side was rounded up
        return whole
    least, most = max((width - 0.5) / w, (height - 0.5) / h), min((width + 0.5) / w, (height + 0.5) / h)
    return width / w if 1 < least <= most else None  # an enlarged side was rounded to the nearest


# --- pixels ----------------------------------------------------------------------------------------------------------


def _pixels(image: ImageLike, caption: str) -> Image.Image:
    if isinstance(image, (str, os.PathLike)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return image
    return _from_array(image, caption)


def _from_array(image: Any, caption: str) -> Image.Image:
    """Convert an array (H, W) or (H, W, C), or a tensor (C, H, W), to a PIL image of 8 bits."""
    from ..imaging.image import open_image

    open_image(image)  # refuses what is no image
    if not isinstance(image, np.ndarray):
        if image.ndim == 4:
            raise InputError(f"{caption} is a batch of {len(image)} images; give one of them")
        levels = image.detach().cpu()
        levels = levels.float() if levels.is_floating_point() else levels
        image = np.moveaxis(levels.numpy(), 0, -1)
    white = {"uint8": 255, "uint16": 65535}.get(image.dtype.name, 1)
    values = (np.clip(image.astype(np.float64) / white, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values)


def _data_url(source: ImageLike, image: Image.Image) -> str:
    encoded = _shown_as_it_is(file_name(source), image) if isinstance(source, (str, os.PathLike)) else None
    media, data = encoded or ("image/png", _png(image))
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def _shown_as_it_is(name: str, image: Image.Image) -> tuple[str, bytes] | None:
    """Return a file's media type and bytes if browsers show it as pysr reads it; else None."""
    with open(name, "rb") as file:
        data = file.read()
    media = media_type(data)
    if media is None or image.mode == "CMYK" or _ANIMATION.search(data, 0, _HEADER):
        return None
    return media, data


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    (image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else as_rgb(image)).save(buffer, "PNG")
    return buffer.getvalue()


def _scores(image: Image.Image, truth: Image.Image) -> dict[str, float]:
    from . import metrics

    output, target = _luma(image), _luma(truth)
    scores = {"PSNR": metrics.psnr(output, target)}
    if min(truth.size) >= metrics.SSIM_WINDOW:
        scores["SSIM"] = metrics.ssim(output, target)
    return scores


def _luma(image: Image.Image) -> Tensor:
    import torch

    from ..imaging.colour import luma

    rgb = torch.from_numpy(np.array(image)).permute(2, 0, 1).double() / 255
    return (luma(rgb) * 255).round() / 255


# --- HTML ------------------------------------------------------------------------------------------------------------


def _digest(text: str) -> str:
    """Return what a content security policy calls a style or script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _figure(image: ComparedImage) -> str:
    width, height = (round(side * image.factor) for side in image.size)
    caption = escape(image.caption)
    return (
        f'<figure><img src="{image.url}" width="{width}" height="{height}" data-factor="{image.factor:g}"'
        f' alt="{caption}" decoding="async"><figcaption>{caption}</figcaption></figure>'
    )


def _table(images: Sequence[ComparedImage]) -> str:
    """Return a table of the sizes, and of the scores if there are any, with the best in bold."""
    measured = [image.scores for image in images if image.scores]
    names = [name for name in ("PSNR", "SSIM") if any(name in scores for scores in measured)]
    best = {name: max(scores[name] for scores in measured) for name in names} if len(measured) > 1 else {}
    heads = "".join(f'<th scope="col">{name}{" (dB)" if name == "PSNR" else ""}</th>' for name in names)
    rows = []
    for image in images:
        cells = [f"<td>{image.size[0]} x {image.size[1]}</td>"]
        for name in names:
            value = (image.scores or {}).get(name)
            text = "-" if value is None else f"{value:.{2 if name == 'PSNR' else 4}f}".replace("inf", "∞")
            is_best = value is not None and value == best.get(name)
            cells.append(f"<td>{f'<strong>{text}</strong>' if is_best else text}</td>")
        rows.append(f'<tr><th scope="row">{escape(image.caption)}</th>{"".join(cells)}</tr>')
    note = "<p>PSNR and SSIM of luma against the truth; the best in bold.</p>" if names else ""
    return (
        f'<table><thead><tr><th scope="col">image</th><th scope="col">pixels</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{note}"
    )
