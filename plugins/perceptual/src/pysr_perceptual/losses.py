"""The losses of Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from pysr.errors import InputError
from pysr.imaging.datasets import read_planes
from pysr.imaging.resize import resize
from pysr.training.losses import random_shift

from .features import Features, unit_distance

NETWORK = "vgg19-distilled"
STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
SHIFT = re.compile("shift[1-9][0-9]*")
STYLE_SIDE = 512  # pixels: the longer side of the picture whose style is taken


class FeatureReconstruction(nn.Module):
    """Squared distance of features (section 3.1, equation 2), per layer divided by C * H * W, summed over the layers.

    Called with an output and a target, (N, 1 or 3, H, W) in [0, 1]; gives the mean over N.
    shift: both are first moved by up to so many pixels, as `pysr.training.moved` does. unit: at each place the features
    are scaled to length one, and squared differences summed over the channels, as LPIPS does: what is faint in the
    target counts like what is strong, and no layer more because its features are larger. Equation 2 takes them as they
    are.
    """

    def __init__(self, features: Features, shift: int = 0, *, unit: bool = False) -> None:
        super().__init__()
        self.features, self.shift, self.unit = features, shift, unit

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        if self.shift:
            output, target = random_shift((output, target), self.shift)
        with torch.no_grad():
            wanted = self.features(target)
        found = self.features(output)
        distance = unit_distance if self.unit else mse_loss
        return torch.stack([distance(found[layer], wanted[layer]) for layer in wanted]).sum()


class StyleReconstruction(nn.Module):
    """Squared Frobenius distance of Gram matrices (section 3.1, equations 3 and 4), summed over the layers.

    The style is the picture's, (3, H, W) in [0, 1]; without a picture it is the target's, image by image.
    Called with an output and a target, (N, 1 or 3, H, W) in [0, 1]; gives the mean over N.
    """

    def __init__(self, features: Features, picture: Tensor | None = None) -> None:
        super().__init__()
        self.features = features
        self._of_picture = picture is not None
        if picture is not None:
            for layer, matrix in self._grams(picture[None]).items():
                self.register_buffer(layer, matrix, persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        if self._of_picture:
            wanted = {layer: self.get_buffer(layer) for layer in self.features.layers}
        else:
            with torch.no_grad():
                wanted = self._grams(target)
        found = self._grams(output)
        return torch.stack([(found[layer] - wanted[layer]).square().sum((1, 2)).mean() for layer in wanted]).sum()

    def _grams(self, images: Tensor) -> dict[str, Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            return {layer: gram(planes) for layer, planes in self.features(images).items()}


def gram(planes: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C): inner products of the channels, divided by C * H * W (equation 3)."""
    flat = planes.flatten(2)
    return flat @ flat.mT / flat[0].numel()


def total_variation(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of neighbours, down plus across (section 3.2). The target does not matter."""
    return output.diff(dim=-2).square().mean() + output.diff(dim=-1).square().mean()


def perceptual(*options: str) -> FeatureReconstruction:
    """The loss called "perceptual". options: layers, as `features_of` takes them; default: relu2_2. And ``shift4``, for
    example, where images are to be moved by up to 4 pixels, and ``unit``; see `FeatureReconstruction`.
    """
    if repeated := [option for number, option in enumerate(options) if option in options[:number]]:
        raise InputError(f"perceptual was given {repeated[0]} twice; name each layer and option once")
    shifts = [option for option in options if SHIFT.fullmatch(option)]
    if len(shifts) > 1:
        raise InputError(f"perceptual takes one shift; got {' and '.join(shifts)}")
    layers = [option for option in options if option not in (*shifts, "unit")]
    shift = int(shifts[0].removeprefix("shift")) if shifts else 0
    return FeatureReconstruction(features_of(layers or ("relu2_2",)), shift, unit="unit" in options)


def style(*options: str) -> StyleReconstruction:
    """The loss called "style". options: the picture's file, if any, then layers; default: the paper's four.

    What has an extension, such as picture.jpg, is a file. InputError where it cannot be read.
    """
    picture = None
    if options and Path(options[0]).suffix:
        picture, options = _picture(Path(options[0])), options[1:]
    return StyleReconstruction(features_of(options or STYLE_LAYERS), picture)


def features_of(options: Sequence[str]) -> Features:
    """The features that options name: "LAYER", or "NETWORK/LAYER" for another network than vgg19-distilled.

    All layers are of one network: "squeezenet/fire3", "squeezenet/fire5". InputError otherwise.
    """
    parts = [option.rpartition("/") for option in options]
    networks = {network or NETWORK for network, _, _ in parts}
    if len(networks) > 1:
        raise InputError(f"{', '.join(options)} are layers of {' and '.join(sorted(networks))}; use one network a loss")
    (network,) = networks
    return Features(network, [layer for _, _, layer in parts])


def _picture(path: Path) -> Tensor:
    """An image file as (C, H, W) in [0, 1], shrunk to `STYLE_SIDE`."""
    planes = read_planes(path)
    shrink = min(Fraction(1), Fraction(STYLE_SIDE, max(planes.shape[-2:])))
    return resize(planes, shrink).clamp(0, 1)
