"""Conversion of every kind of image to planes for the upscaler, and of planes back to the same kind of image.

Planes are (C, H, W) views of the user's own pixels wherever possible. The result's memory is allocated once, in its
final layout, and filled in place through views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError, format_error
from .alpha import bleed
from .palette import colours_of, entries_of, with_palette
from .planes import Array, OpenedImage, Pixels, Planes, Split

_ARRAY_DTYPES = ("uint8", "uint16", "float16", "float32")
_TENSOR_DTYPES = (*_ARRAY_DTYPES, "bfloat16")
_FLOAT_RANGE = -0.5, 1.5  # overshoots of filters lie within; an image in 0 to 255 does not, unless nearly black


def open_image(image: Any) -> OpenedImage:
    """Open a user's image as planes; the image itself is never modified.

    Where alpha is 0, the colour planes hold nearby colours instead of the hidden ones.

    Args:
        image: A PIL image of mode 1, L, LA, P, I;16, RGB, RGBA or CMYK; a NumPy array (H, W) or (H, W, C); or a tensor
            (C, H, W) or (N, C, H, W) on any device. C is 1 for gray, 2 for gray and alpha, 3 for RGB, 4 for RGB and
            alpha. Values are uint8, uint16, or float16, bfloat16 (torch) or float32 in [0, 1], with some overshoot.

    Returns:
        The open image. Of its results, PIL images keep mode, palette and ``info``, but one transparent colour of L or
        RGB (PNG's tRNS) becomes alpha, that is LA or RGBA, and every byte order of I;16 becomes I;16. Arrays have
        native byte order; tensors are contiguous and detached.

    Raises:
        InputError: Anything else, an empty image, NaN, infinity, or floats beyond [-0.5, 1.5].
    """
    if isinstance(image, Image.Image):
        return _open_pil(image)
    if isinstance(image, Tensor):
        return _open_tensor(image)
    if isinstance(image, np.ndarray):
        return _open_array(image)
    raise InputError(
        f"an image is a PIL image, a NumPy array, a torch tensor or a file's path, not {type(image).__name__};"
        " convert it to one of them"
    )


# --- NumPy -----------------------------------------------------------------------------------------------------------


def _open_array(array: Pixels) -> OpenedImage:
    return open_pixels(array, split_array, lambda memory: memory)


def open_pixels(array: Pixels, split: Split, finish: Callable[[Pixels], Any]) -> OpenedImage:
    """Open pixels as `open_image` does an array.

    Args:
        array: (H, W) or (H, W, C) as for `open_image`.
        split: `split_array` or `split_cmyk`.
        finish: Makes the result from its pixels, an array like ``array``.

    Raises:
        InputError: As for `open_image`.
    """
    check_array(array)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    check_values(array)

    def empty(height: int, width: int) -> Pixels:
        return np.empty((height, width, *array.shape[2:]), array.dtype)

    return OpenedImage(array.shape[:2], tuple(map(_bled, split(array))), empty, split, finish)


def check_array(array: Pixels) -> None:
    """Check the shape and the dtype of an array as `open_image` does."""
    shape = array.shape
    if isinstance(array, np.ma.MaskedArray):
        raise InputError("a masked array has pixels without a value; fill them first, with image.filled(0)")
    _check_dtype(array.dtype.name, _ARRAY_DTYPES, "image.astype(np.float32)", "image.astype(np.uint8) * 255")
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 2, 3, 4) and shape[2] != 0):
        hint = "pass one image of (H, W, C)"
        if array.ndim == 3 and shape[0] in (1, 2, 3, 4):
            hint = "for (C, H, W) pass image.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = "pass the images one by one, images[0] first"
        raise InputError(f"a NumPy image has the shape (H, W) or (H, W, C) with C from 1 to 4, not {shape}; {hint}")
    _check_not_empty(shape)


def split_array(array: Pixels) -> tuple[Planes, ...]:
    """Return the planes of (H, W) or (H, W, C) pixels as views."""
    if array.ndim == 2:
        return (Planes(array[None]),)
    return (_split_channels(array.transpose(2, 0, 1)),)


def _split_channels(channels: Array) -> Planes:
    colours = 1 if len(channels) < 3 else 3
    return Planes(channels[:colours], channels[colours:] if len(channels) in (2, 4) else None)


def _bled(planes: Planes) -> Planes:
    return planes if planes.alpha is None else Planes(bleed(planes.colour, planes.alpha), planes.alpha)


# --- torch -----------------------------------------------------------------------------------------------------------


def _open_tensor(tensor: Tensor) -> OpenedImage:
    _check_tensor(tensor)
    tensor = tensor.detach().resolve_neg()
    check_values(tensor)

    def empty(height: int, width: int) -> Tensor:
        with torch.inference_mode(False):  # an ordinary tensor, whatever mode the caller is in
            return torch.empty((*tensor.shape[:-2], height, width), dtype=tensor.dtype, device=tensor.device)

    shape = tensor.shape[-2], tensor.shape[-1]
    return OpenedImage(shape, tuple(map(_bled, _split_tensor(tensor))), empty, _split_tensor, lambda memory: memory)


def _check_tensor(tensor: Tensor) -> None:
    shape = tuple(tensor.shape)
    if tensor.layout != torch.strided or tensor.is_meta:
        raise InputError("a sparse or meta tensor has no pixels to enlarge; pass a dense one, with image.to_dense()")
    _check_dtype(
        str(tensor.dtype).removeprefix("torch."), _TENSOR_DTYPES, "image.float()", "image.to(torch.uint8) * 255"
    )
    if tensor.ndim not in (3, 4) or (shape[-3] not in (1, 2, 3, 4) and shape[-3] != 0):
        hint = "pass one image, or a batch of them"
        if tensor.ndim == 2:
            hint = "for one gray plane pass image[None]"
        elif tensor.ndim == 3 and shape[-1] in (1, 2, 3, 4):
            hint = "for (H, W, C) pass image.permute(2, 0, 1)"
        raise InputError(
            f"a tensor image has the shape (C, H, W) or (N, C, H, W) with C from 1 to 4, not {shape}; {hint}"
        )
    _check_not_empty(shape)


def _split_tensor(tensor: Tensor) -> tuple[Planes, ...]:
    return tuple(_split_channels(item) for item in (tensor if tensor.ndim == 4 else tensor[None]))


# --- checks ----------------------------------------------------------------------------------------------------------


def _check_dtype(name: str, allowed: Sequence[str], to_float: str, from_bool: str) -> None:
    if name in allowed:
        return
    if name == "bool":
        hint = from_bool
    elif name.startswith(("float", "bfloat")):
        hint = to_float
    else:
        hint = f"{to_float} / maximum, where maximum is the value of white"
    raise InputError(f"images of {name} are not supported, only {', '.join(allowed)}; use {hint}")


def _check_not_empty(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise InputError(f"the image is empty (shape {shape}); every side needs at least one pixel")


def check_values(values: Array, first_row: int = 0) -> None:
    """Check the range of floats as `open_image` does; of an array, it may be a band that begins at a row."""
    if isinstance(values, Tensor):
        if not values.is_floating_point():
            return
        low, high = (float(extreme) for extreme in torch.aminmax(values))
    else:
        if values.dtype.kind != "f":
            return
        with np.errstate(invalid="ignore"):
            low, high = float(values.min()), float(values.max())
    if not (isfinite(low) and isfinite(high)):
        raise _not_finite(values, first_row)
    if low < _FLOAT_RANGE[0] or high > _FLOAT_RANGE[1]:
        raise InputError(
            f"float images range from 0 (black) to 1 (white), and this one from {low:g} to {high:g}; divide it by 255,"
            " or by the value of white"
        )


def _not_finite(values: Array, first_row: int) -> InputError:
    if isinstance(values, Tensor):
        where = (~torch.isfinite(values)).nonzero().tolist()
    else:
        where = np.argwhere(~np.isfinite(values)).tolist()
        where[0][0] += first_row
    return InputError(
        f"{len(where)} values of the image are NaN or infinite, the first is image{where[0]}; replace them first, for"
        " example with nan_to_num of NumPy or torch"
    )


# --- Pillow ----------------------------------------------------------------------------------------------------------


def _open_pil(image: Image.Image) -> OpenedImage:
    if image.mode not in _PIL_MODES:
        better = 'image.convert("I;16")' if image.mode == "I" else 'image.convert("RGB")'
        if image.mode == "F":  # which Pillow would cut off at 255, and leave images of white 1 black
            better = "numpy.asarray(image), divided by the value of white"
        raise InputError(
            f"PIL images of mode {image.mode!r} are not supported, only 1, L, LA, P, I;16, RGB, RGBA and CMYK;"
            f" use {better}"
        )
    _check_not_empty((image.height, image.width))
    read, write = _PIL_MODES[image.mode]
    split = split_cmyk if image.mode == "CMYK" else split_array
    try:
        pixels = read(image)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # PIL decodes lazily
        raise InputError(
            f"the PIL image cannot be decoded ({format_error(error)}): its file is damaged; use another copy of it"
        ) from error
    return open_pixels(pixels, split, partial(write, image))


def _read_keyed(image: Image.Image) -> Pixels:
    if "transparency" in image.info:
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    elif image.mode == "1":
        image = image.convert("L")
    return np.asarray(image)


def _read_gray16(image: Image.Image) -> Pixels:
    if "transparency" in image.info:
        raise InputError(
            "a 16-bit gray image with a transparent colour cannot be enlarged, as no PIL mode holds the result; delete"
            ' image.info["transparency"] first'
        )
    return np.asarray(image)


def _read_palette(image: Image.Image) -> Pixels:
    return colours_of(np.asarray(image), entries_of(image))


def _read_cmyk(image: Image.Image) -> Pixels:
    pixels: Pixels = np.invert(np.asarray(image))
    return pixels


def split_cmyk(pixels: Pixels) -> tuple[Planes, ...]:
    """Return the planes of inverted CMYK, (H, W, 4), as views: one image of C, M, Y and one of K."""
    planes = pixels.transpose(2, 0, 1)
    return Planes(planes[:3]), Planes(planes[3:])


def _write(source: Image.Image, pixels: Pixels) -> Image.Image:
    """Make a PIL image, its mode by dtype and channels: (H, W) uint16 is I;16; uint8 is L, LA, RGB or RGBA."""
    if pixels.dtype == np.uint16:
        mode, raw = "I;16", "I;16N"
    else:
        mode = raw = "L" if pixels.ndim == 2 else ("LA", "RGB", "RGBA")[pixels.shape[2] - 2]
    result = Image.frombuffer(mode, (pixels.shape[1], pixels.shape[0]), pixels, "raw", raw, 0, 1)
    return _with_info(result, source)


def _write_binary(source: Image.Image, pixels: Pixels) -> Image.Image:
    if pixels.ndim == 3:  # a transparent colour has made it LA
        return _write(source, pixels)
    return _with_info(_write(source, pixels).convert("1", dither=Image.Dither.NONE), source)


def _write_cmyk(source: Image.Image, pixels: Pixels) -> Image.Image:
    np.invert(pixels, out=pixels)
    size = pixels.shape[1], pixels.shape[0]
    return _with_info(Image.frombuffer("CMYK", size, pixels, "raw", "CMYK", 0, 1), source)


def _with_info(result: Image.Image, source: Image.Image) -> Image.Image:
    """Copy the metadata; a transparent colour has become alpha, except in a palette."""
    kept = source.info if result.mode == "P" else {k: v for k, v in source.info.items() if k != "transparency"}
    result.info = dict(kept)
    return result


def _write_palette(source: Image.Image, pixels: Pixels) -> Image.Image:
    return _with_info(with_palette(source, pixels), source)


_PIL_MODES: dict[str, tuple[Callable[[Image.Image], Pixels], Callable[[Image.Image, Pixels], Image.Image]]] = {
    "1": (_read_keyed, _write_binary),
    "L": (_read_keyed, _write),
    "LA": (np.asarray, _write),
    "P": (_read_palette, _write_palette),
    "I;16": (_read_gray16, _write),
    "I;16B": (_read_gray16, _write),
    "I;16L": (_read_gray16, _write),
    "RGB": (_read_keyed, _write),
    "RGBA": (np.asarray, _write),
    "CMYK": (_read_cmyk, _write_cmyk),
}
