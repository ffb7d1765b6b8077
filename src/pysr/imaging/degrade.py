"""Degradation: how low-resolution inputs are made from ground-truth images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .artefacts import blur, compress, gaussian_kernel
from .resize import resize

Degrade = Callable[[Tensor, int, np.random.Generator], Tensor]
"""What a `pysr.plugin.Degradation` builds: called as ``degrade(high, scale, rng)``."""


def crop_to_multiple(planes: Tensor, multiple: int) -> Tensor:
    """Crop an image so that ``multiple`` divides its sides.

    Args:
        planes: (..., H, W) of any dtype.
        multiple: A positive number of pixels.

    Returns:
        A view without the excess rows at the bottom and columns on the right.

    Raises:
        InputError: A side is shorter than ``multiple``.
    """
    height, width = (side - side % multiple for side in planes.shape[-2:])
    if not height or not width:
        raise InputError(
            f"an image of {planes.shape[-1]} x {planes.shape[-2]} pixels is too small for x{multiple}; leave it out"
        )
    return planes[..., :height, :width]


def bicubic(planes: Tensor, scale: int) -> Tensor:
    """Reduce an image by MATLAB's antialiased bicubic, the degradation of the literature.

    Args:
        planes: (..., H, W) float32 or float64 of any range.
        scale: Reduction per side.

    Returns:
        (..., ceil(H / scale), ceil(W / scale)) of the same dtype and device, neither rounded nor clipped.
    """
    return resize(planes, Fraction(1, scale))


@dataclass(frozen=True)
class FixedDegradation:
    """Blur, reduction by `bicubic`, noise and JPEG of one strength, to evaluate models by.

    Only the noise and the angle of the blur are random. An instance is a `Degrade`.

    Attributes:
        blur: Standard deviations of a Gaussian along its two axes, in pixels of the large image. A Gaussian with
            different ones is rotated at random.
        noise: Standard deviation of the Gaussian noise in the small image, in levels of 255.
        quality: Quality of the JPEG encoder, with 4:2:0 chroma subsampling.
        photons: Photons at white, for Poisson noise beside the Gaussian; None for no Poisson noise.
        gray_noise: Whether the Gaussian noise is the same in all channels.
    """

    blur: tuple[float, float]
    noise: float
    quality: int
    photons: int | None = None
    gray_noise: bool = False

    def __call__(self, high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
        """Degrade an image, (C, H, W) in [0, 1]; see `pysr.plugin.Degradation`."""
        angle = 0.0 if self.blur[0] == self.blur[1] else rng.uniform(0, math.pi)
        low = bicubic(blur(high.double(), gaussian_kernel(self.blur, angle)), scale).clamp(0, 1)
        if self.photons:
            low = torch.from_numpy(rng.poisson(low.numpy() * self.photons)) / self.photons
        shape = (1, *low.shape[1:]) if self.gray_noise else tuple(low.shape)
        low = low + torch.from_numpy(rng.standard_normal(shape)) * self.noise / 255
        return compress(low, "JPEG", self.quality)


def photo_mild() -> FixedDegradation:
    """Build the degradation `photo-mild`: a good camera, a careful editor."""
    return FixedDegradation(blur=(0.6, 0.6), noise=3, quality=80, gray_noise=True)


def photo_medium() -> FixedDegradation:
    """Build the degradation `photo-medium`: a soft, noisy photograph, compressed for the web."""
    return FixedDegradation(blur=(1.6, 1.6), noise=7, quality=55)


def photo_strong() -> FixedDegradation:
    """Build the degradation `photo-strong`: an old phone in a dark room, shaken and heavily compressed."""
    return FixedDegradation(blur=(2.8, 1.6), noise=6, quality=35, photons=60)
