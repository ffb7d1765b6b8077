"""The degradation `photo`: another random chain of artefacts for every training patch.

The kinds of damage, and the two rounds in which they may come, are those of Wang et al., "Real-ESRGAN: Training
Real-World Blind Super-Resolution with Pure Synthetic Data", ICCV workshops 2021, section 3. The probabilities and
ranges are milder: a network as small as SRResNet is to be right on average, and not to invent. They were chosen so that
`pysr.imaging.degrade.FixedDegradation` of every strength lies well within them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..imaging.artefacts import blur, compress, gaussian_kernel, round_to_8_bits, sharpen, sinc_kernel
from ..imaging.degrade import bicubic

CLEAN_SHARE = 0.2  # of the patches, which are only reduced: clean images must stay as good as they are
CORRELATED_SHARE = 0.7  # of the others: bad photographs are bad in more than one way
SECOND_ROUND_SHARE = 0.15
BLOCK = 16  # pixels: JPEG's coding unit with 4:2:0 subsampling


def photo(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    """Degrade an image like a photograph that was processed, published and saved again.

    Args:
        high: (C, H, W) float in [0, 1], C being 1 or 3, its sides multiples of ``scale``.
        scale: Reduction per side.
        rng: Where every random choice comes from.

    Returns:
        (C, H / scale, W / scale) float32 in [0, 1], multiples of 1 / 255.
    """
    planes = high.float()
    if rng.random() < CLEAN_SHARE:
        return round_to_8_bits(bicubic(planes, scale))
    severity = rng.random()
    blur_severity, noise_severity, loss_severity = (
        [severity] * 3 if rng.random() < CORRELATED_SHARE else rng.random(3).tolist()
    )
    if rng.random() < 0.9:
        planes = blur(planes, _random_kernel(0.2 + 2.6 * blur_severity, rng))
    if rng.random() < SECOND_ROUND_SHARE:
        planes = _earlier_round(planes, scale, rng)
    planes = _resize(planes, (high.shape[-2] // scale, high.shape[-1] // scale), rng)
    if rng.random() < 0.12:
        planes = sharpen(planes, rng.uniform(0.5, 1.5), rng.uniform(0.2, 1.5))
    if rng.random() < 0.85:
        planes = _add_noise(planes, noise_severity, rng)
    if rng.random() < 0.06:
        planes = blur(planes, sinc_kernel(rng.uniform(math.pi / 2, math.pi), 7))
    return _compress(planes, loss_severity, rng) if rng.random() < 0.92 else round_to_8_bits(planes)


def _earlier_round(planes: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
    """What befell an image before it was reduced once more."""
    factor = math.exp(rng.uniform(math.log(1 / scale), math.log(1.2)))
    planes = _resize(planes, (round(planes.shape[-2] * factor), round(planes.shape[-1] * factor)), rng)
    if rng.random() < 0.6:
        planes = _add_noise(planes, rng.uniform(0, 0.7), rng)
    if rng.random() < 0.7:
        planes = _compress(planes, rng.uniform(0, 0.7), rng)
    if rng.random() < 0.5:
        planes = blur(planes, _random_kernel(0.2 + 1.2 * factor * rng.random(), rng))
    return planes


def _random_kernel(sigma: float, rng: np.random.Generator) -> Tensor:
    """Draw one of the paper's blurs (sections 3.1 and 3.5), of about that standard deviation in pixels."""
    kind, angle = rng.random(), rng.uniform(0, math.pi)
    sigmas = (sigma * rng.uniform(0.6, 1.4), sigma * rng.uniform(0.6, 1.4))
    if kind < 0.5:
        return gaussian_kernel((sigmas[0], sigmas[0]))
    if kind < 0.85:
        return gaussian_kernel(sigmas, angle)
    if kind < 0.91:
        return gaussian_kernel(sigmas, angle, power=rng.uniform(0.5, 2.0))
    if kind < 0.96:
        return gaussian_kernel(sigmas, angle, power=rng.uniform(1.0, 2.0), plateau=True)
    return sinc_kernel(math.pi * max(0.2, 1 / (1 + sigma)), 10)


def _resize(planes: Tensor, shape: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Resize (C, H, W) by area, bilinear or bicubic, all antialiased, as programs do; bicubic is the commonest."""
    kernel = str(rng.choice(["area", "bilinear", "bicubic", "bicubic"]))
    if kernel == "area":
        return interpolate(planes[None], shape, mode="area")[0]
    return interpolate(planes[None], shape, mode=kernel, antialias=True, align_corners=False)[0]


def _add_noise(planes: Tensor, severity: float, rng: np.random.Generator) -> Tensor:
    """Add Gaussian noise, Poisson and Gaussian noise, or noise that is stronger in the dark, as phones have it.

    Mild noise is mostly the same in all channels, strong noise mostly differs between them.

    Args:
        planes: (C, H, W), clipped to [0, 1] first.
        severity: 0 to 1.
        rng: Where the noise comes from.
    """
    planes = planes.clamp(0, 1)
    signal = planes.mean(0, keepdim=True) if rng.random() < 0.6 - 0.4 * severity else planes
    sigma = (1 + 10 * severity) * rng.uniform(0.5, 1.5) / 255
    gaussian = torch.from_numpy(rng.standard_normal(tuple(signal.shape), dtype=np.float32)) * sigma
    kind = rng.random()
    if kind < 0.5 - 0.2 * severity:
        return planes + gaussian
    if kind < 0.75:
        photons = rng.uniform(30, 90) / (0.1 + 0.9 * severity) ** 2  # at white
        counted = torch.from_numpy(rng.poisson(signal.numpy() * photons).astype(np.float32)) / photons
        return planes + counted - signal + gaussian * 0.6
    return planes + gaussian * (0.7 + rng.uniform(0, 1.5) * (1 - signal) ** 2)


def _compress(planes: Tensor, severity: float, rng: np.random.Generator) -> Tensor:
    """Compress as JPEG or, seldom, WebP, of a quality of about 93 (severity 0) to 30 (severity 1), cropped anywhere."""
    offset = (int(rng.integers(BLOCK)), int(rng.integers(BLOCK)))
    quality = round(min(max(93 - 66 * severity + rng.uniform(-12, 12), 27), 96))
    if rng.random() < 0.07:
        return compress(planes, "WEBP", quality, block_offset=offset)
    subsampling = rng.random() < 0.75
    return compress(planes, "JPEG", quality, subsampling="4:2:0" if subsampling else "4:4:4", block_offset=offset)
