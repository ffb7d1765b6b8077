"""Artefacts of photographs: blur, ringing, sharpening, and lossy compression by real encoders.

The kinds of damage are those of Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure
Synthetic Data", ICCV workshops 2021, section 3.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, JpegImagePlugin, WebPImagePlugin
from torch import Tensor
from torch.nn.functional import pad

_TAIL = 4  # standard deviations, beyond which a Gaussian is cut off: less than 1 / 10,000 of it
_GENERALIZED_REACH = 10  # pixels; the paper's largest kernels are 21 x 21
_DECODERS = {"JPEG": JpegImagePlugin.JpegImageFile, "WEBP": WebPImagePlugin.WebPImageFile}
_WEBP_METHOD = 2  # of 0 to 6, fastest to smallest file; 4, the default, takes a third longer for a 40 x 40 patch


def gaussian_kernel(
    sigmas: tuple[float, float], angle: float = 0.0, *, power: float = 1.0, plateau: bool = False
) -> Tensor:
    """Make a blur kernel: an anisotropic Gaussian, or one of its generalisations (section 3.1 of the paper).

    With q the squared distance from the centre in standard deviations, the kernel is exp(-(q ** power) / 2), or
    1 / (1 + q ** power) with a plateau, normalised.

    Args:
        sigmas: Standard deviations along the two axes, in pixels.
        angle: Rotation in radians; at 0 the first axis is that of the columns.
        power: Shape of a generalised Gaussian: below 1 it has a sharp peak and long tails, above 1 a flat top.
        plateau: The kernel with a plateau.

    Returns:
        A square of odd sides, float64, whose sum is 1.
    """
    reach = math.ceil(_TAIL * max(sigmas)) if power == 1 and not plateau else _GENERALIZED_REACH
    position = torch.arange(-reach, reach + 1, dtype=torch.float64)
    down, right = position[:, None], position[None]
    first = (math.cos(angle) * right + math.sin(angle) * down) / sigmas[0]
    second = (math.cos(angle) * down - math.sin(angle) * right) / sigmas[1]
    distance: Tensor = (first**2 + second**2) ** power
    kernel: Tensor = 1 / (1 + distance) if plateau else torch.exp(-distance / 2)
    return kernel / kernel.sum()


def sinc_kernel(cutoff: float, reach: int) -> Tensor:
    """Make an ideal low-pass filter, which rings (section 3.5 of the paper).

    Args:
        cutoff: Radius of the disc of frequencies that it keeps, in radians per pixel, up to pi.
        reach: Half width in pixels, where it is cut off.

    Returns:
        (2 * reach + 1, 2 * reach + 1) float64, whose sum is 1.
    """
    position = torch.arange(-reach, reach + 1, dtype=torch.float64)
    radius = torch.hypot(position[:, None], position[None])
    radius[reach, reach] = 1  # any number but 0; the centre is set below
    kernel: Tensor = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[reach, reach] = cutoff**2 / (4 * math.pi)  # the limit
    return kernel / kernel.sum()


def blur(planes: Tensor, kernel: Tensor) -> Tensor:
    """Convolve an image with a kernel; border pixels are repeated beyond the border.

    Args:
        planes: (C, H, W) float32 or float64.
        kernel: A square of odd sides.

    Returns:
        A tensor of the shape and dtype of ``planes``.
    """
    reach = kernel.shape[-1] // 2
    padded = pad(planes, [reach] * 4, mode="replicate")
    shape = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel.to(planes), s=shape)
    result: Tensor = torch.fft.irfft2(spectrum, s=shape)[..., 2 * reach :, 2 * reach :]
    return result


def sharpen(planes: Tensor, sigma: float, amount: float) -> Tensor:
    """Apply an unsharp mask: add ``amount`` times what a Gaussian blur removes.

    Args:
        planes: (C, H, W) float32 or float64.
        sigma: Standard deviation of the Gaussian in pixels.
        amount: 0 changes nothing; 1 is strong.

    Returns:
        A tensor of the shape and dtype of ``planes``, not clipped: it overshoots at edges.
    """
    return planes + amount * (planes - blur(planes, gaussian_kernel((sigma, sigma))))


def compress(
    planes: Tensor,
    kind: Literal["JPEG", "WEBP"],
    quality: int,
    *,
    subsampling: Literal["4:2:0", "4:4:4"] = "4:2:0",
    block_offset: tuple[int, int] = (0, 0),
) -> Tensor:
    """Encode an image with a loss and decode it again.

    Args:
        planes: (C, H, W) float, C being 1 or 3; it is clipped to [0, 1] and rounded to 8 bits.
        kind: The file format.
        quality: The encoder's, 1 to 100.
        subsampling: Of chroma, in JPEG; WebP always has 4:2:0.
        block_offset: (down, right) from a corner of the encoder's blocks to the first pixel. An image that was cropped
            after it had been compressed has any.

    Returns:
        (C, H, W) float32 in [0, 1], multiples of 1 / 255.
    """
    down, right = block_offset
    padded = pad(planes, [right, 0, down, 0], mode="replicate") if down or right else planes
    pixels = (padded.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if len(planes) == 1 else pixels))
    options: dict[str, Any] = {"subsampling": subsampling} if kind == "JPEG" else {"method": _WEBP_METHOD}
    file = BytesIO()
    image.save(file, kind, quality=quality, **options)
    file.seek(0)
    decoded = np.array(_DECODERS[kind](file).convert(image.mode))
    result = torch.from_numpy(decoded[None] if len(planes) == 1 else decoded.transpose(2, 0, 1))
    return result[:, down:, right:].float() / 255


def round_to_8_bits(planes: Tensor) -> Tensor:
    """Clip an image to [0, 1] and round it to multiples of 1 / 255."""
    return (planes.clamp(0, 1) * 255).round() / 255
