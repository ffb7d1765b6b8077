"""Checks of what a `PixelCNNSampler` is given: weights, levels, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError

MIN_CHANNELS = 4  # of a layer, so that each of three planes gets some: a half, a quarter, a quarter

Numbers = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def fill_in(images: Pixels, levels: Any, mask: Any) -> NDArray[np.bool_]:
    """Copy known levels into the images wherever the mask is True, and return these places, in the images' shape."""
    levels, mask = as_array(levels), as_array(mask)
    if levels.dtype != np.uint8 or mask.dtype != np.bool_:
        raise InputError(f"known levels are {levels.dtype} and their mask is {mask.dtype}; give uint8 and bool")
    try:
        observed = np.broadcast_to(mask[..., None] if mask.ndim == 3 else mask, images.shape)
        np.copyto(images, np.broadcast_to(levels, images.shape), where=observed)
    except ValueError:
        raise InputError(
            f"known levels have shape {levels.shape} and their mask {mask.shape}; the images are {images.shape}"
        ) from None
    return np.ascontiguousarray(observed)


def is_temperature(value: Any) -> bool:
    """Return whether a value is a sampling temperature: 0, or a number whose inverse times a logit is a float32."""
    return isinstance(value, Real) and (float(value) == 0 or 1e-6 <= float(value) <= 1e6)


def as_array(value: Any) -> NDArray[Any]:
    return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)


def as_floats(name: str, value: Any) -> Numbers:
    """Contiguous finite float32."""
    array = as_array(value.float() if isinstance(value, Tensor) else value)
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, dtype=np.float32) if array.dtype.kind == "f" else array
    if floats.dtype != np.float32 or not np.isfinite(floats).all():
        raise InputError(f"{name} must hold finite floats; got {array.dtype}, perhaps with NaN or infinity")
    return floats


def checked_ids(image_ids: Any, count: int) -> NDArray[np.uint64]:
    ids = np.asarray(image_ids)
    if ids.shape != (count,) or ids.dtype.kind not in "ui" or (ids.dtype.kind == "i" and ids.min() < 0):
        raise InputError(f"image_ids must be {count} whole numbers from 0; got {ids.dtype} of shape {ids.shape}")
    return ids.astype(np.uint64)


def sizes_of(numbers: Mapping[str, Numbers]) -> tuple[int, int, int]:
    """Return the numbers of planes, features and layers; the kernel checks every shape against them."""
    for name in ("first.weight", "widen.weight", "answer.weight"):
        if name not in numbers or numbers[name].ndim != 4:
            raise InputError(f"the weights lack {name} of four dimensions; are they those of a PixelCNN prior?")
    planes = numbers["first.weight"].shape[1]
    if planes not in (1, 3):
        raise InputError(f"the weights are for images of {planes} planes; the sampler draws 1 (gray) or 3 (RGB)")
    narrowest = min(len(numbers["first.weight"]), len(numbers["widen.weight"]))
    if narrowest < MIN_CHANNELS:
        raise InputError(f"the weights have a layer of {narrowest} channels; the sampler needs at least {MIN_CHANNELS}")
    layers = sum(name.startswith("layers.") and name.endswith(".vertical.weight") for name in numbers)
    condition = numbers.get("condition.weight")
    if condition is not None and condition.ndim != 4:
        raise InputError(f"condition.weight has shape {condition.shape}; it must be (planes * 256, features, 1, 1)")
    return planes, 0 if condition is None else condition.shape[1], layers
