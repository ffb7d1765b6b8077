"""A perceptual distance in the form of LPIPS, without its fitted heads."""

from functools import cache

import torch
from torch import Tensor

from .features import Features, unit_distance

NETWORK = "squeezenet"  # not the network used in training, for which outputs are optimised
LAYERS = ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")


@cache
def _features() -> Features:
    return Features(NETWORK, LAYERS)


@torch.inference_mode()
def perceptual_distance(output: Tensor, target: Tensor) -> float:
    """Measure how different two images look to SqueezeNet.

    Features are scaled to length one over the channels; squared differences are summed over the channels, then averaged
    over positions and over the seven layers. This is the form of LPIPS (Zhang et al., CVPR 2018, equation 1) with equal
    weights for all channels and other weights of SqueezeNet: not comparable with published LPIPS.

    Args:
        output: (C, H, W) float in [0, 1], C being 1 or 3.
        target: The same shape and range.

    Returns:
        0 for equal images, up to 2; lower is better.

    Raises:
        InputError: A side is shorter than 31 pixels.
    """
    found, wanted = (_features()(images[None].cpu()) for images in (output, target))
    layers = [unit_distance(found[layer], wanted[layer]) for layer in LAYERS]
    return float(torch.stack(layers).mean())
