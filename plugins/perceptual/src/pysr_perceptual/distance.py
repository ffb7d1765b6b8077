"""A perceptual distance in the form of LPIPS, without its fitted heads."""

from functools import cache

import torch
from torch import Tensor

from .features import Features, unit_distance

NETWORK = "squeezenet"  # not the one that trainings use: their outputs are made to please that
LAYERS = ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")


@cache
def _features() -> Features:
    return Features(NETWORK, LAYERS)


@torch.inference_mode()
def perceptual_distance(output: Tensor, target: Tensor) -> float:
    """How unlike two images look to SqueezeNet: 0 for equal images, up to 2, lower is better.

    Features are scaled to length one over the channels; the squared differences are summed over the channels, and
    averaged over the places and then the seven layers. The form of LPIPS (Zhang et al., CVPR 2018, equation 1) with
    equal weights for all channels, and with other numbers in SqueezeNet: not to be compared with published LPIPS.
    output, target: (C, H, W) of the same shape in [0, 1], C being 1 or 3. Raises InputError for less than 31 pixels.
    """
    found, wanted = (_features()(images[None].cpu()) for images in (output, target))
    layers = [unit_distance(found[layer], wanted[layer]) for layer in LAYERS]
    return float(torch.stack(layers).mean())
