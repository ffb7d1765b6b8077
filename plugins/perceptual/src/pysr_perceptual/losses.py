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
from pysr.plugin import resize
from pysr.training import random_shift, read_planes

from .features import Features, unit_distance

NETWORK = "vgg19-distilled"
STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
SHIFT = re.compile("shift[1-9][0-9]*")
STYLE_SIDE = 512  # pixels: limit on the style image's longer side, enough for its texture


class FeatureReconstruction(nn.Module):
    """Squared distance of features (section 3.1, equation 2), per layer divided by C * H * W, summed over the layers.

    Called with an output and a target, (N, 1 or 3, H, W) in [0, 1]; returns the mean over N.

    Args:
        features: The feature network and its layers.
        shift: Both images are first shifted by up to this many pixels; see `pysr.training.random_shift`.
        unit: Scale the features at each position to length one, and sum squared differences over the channels, as LPIPS
            does: faint and strong features of the target then count the same, and no layer dominates because its
            features are larger. Equation 2 takes them unscaled.
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

    Called with an output and a target, (N, 1 or 3, H, W) in [0, 1]; returns the mean over N.

    Args:
        features: The feature network and its layers.
        style: The image whose style to take, (1 or 3, H, W) in [0, 1]; by default each target's own.
        unit: Divide each layer's distance by the squared norm of the style's matrix, so that all layers count alike:
            else those with the largest features decide, which are the shallow ones.
        shift: Output and target are first shifted by up to this many pixels; see `pysr.training.random_shift`.
    """

    def __init__(self, features: Features, style: Tensor | None = None, *, unit: bool = False, shift: int = 0) -> None:
        super().__init__()
        self.features, self.unit, self.shift = features, unit, shift
        self._is_fixed = style is not None
        if style is not None:
            for layer, matrix in self._grams(style[None]).items():
                self.register_buffer(layer, matrix, persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        if self.shift:
            output, target = random_shift((output, target), self.shift)
        if self._is_fixed:
            wanted = {layer: self.get_buffer(layer) for layer in self.features.layers}
        else:
            with torch.no_grad():
                wanted = self._grams(target)
        found = self._grams(output)
        return torch.stack([self._distance(found[layer], wanted[layer]) for layer in wanted]).sum()

    def _distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        """The mean over N of the distance of two layers, (N, C, C)."""
        distance = (found - wanted).square().sum((1, 2))
        return (distance / wanted.square().sum((1, 2)) if self.unit else distance).mean()

    def _grams(self, images: Tensor) -> dict[str, Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            return {layer: gram(planes) for layer, planes in self.features(images).items()}


def gram(planes: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, C): inner products of the channels, divided by C * H * W (equation 3)."""
    flat = planes.flatten(2)
    return flat @ flat.mT / flat[0].numel()


def total_variation(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of vertical plus horizontal neighbours (section 3.2). The target is ignored."""
    return output.diff(dim=-2).square().mean() + output.diff(dim=-1).square().mean()


def perceptual(*options: str) -> FeatureReconstruction:
    """Build the loss "perceptual".

    Args:
        options: Layers, as `features_of` takes them (default relu2_2); ``unit``; and ``shiftN`` to shift the images by
            up to N pixels; see `FeatureReconstruction`.

    Raises:
        InputError: An option is given twice, or unknown.
    """
    layers, shift, unit = _split_options("perceptual", options)
    return FeatureReconstruction(features_of(layers or ("relu2_2",)), shift, unit=unit)


def style(*options: str) -> StyleReconstruction:
    """Build the loss "style".

    Args:
        options: The style image's file, if any (recognised by its extension), then layers (default: the paper's four)
            and the options ``unit`` and ``shiftN``; see `StyleReconstruction`.

    Raises:
        InputError: The file cannot be read, or an option is given twice, or unknown.
    """
    image = None
    if options and Path(options[0]).suffix:
        image, options = _style_image(Path(options[0])), options[1:]
    layers, shift, unit = _split_options("style", options)
    return StyleReconstruction(features_of(layers or STYLE_LAYERS), image, unit=unit, shift=shift)


def _split_options(loss: str, options: Sequence[str]) -> tuple[list[str], int, bool]:
    """Split the options of a loss into layers, the pixels of ``shiftN``, and whether ``unit`` is given."""
    if repeated := [option for number, option in enumerate(options) if option in options[:number]]:
        raise InputError(f"{loss} was given {repeated[0]} twice; name each layer and option once")
    shifts = [option for option in options if SHIFT.fullmatch(option)]
    if len(shifts) > 1:
        raise InputError(f"{loss} takes one shift; got {' and '.join(shifts)}")
    layers = [option for option in options if option not in (*shifts, "unit")]
    return layers, int(shifts[0].removeprefix("shift")) if shifts else 0, "unit" in options


def features_of(options: Sequence[str]) -> Features:
    """Build the features that a loss's options name.

    Args:
        options: "LAYER", or "NETWORK/LAYER" for a network other than vgg19-distilled; all of the same network.

    Raises:
        InputError: They name several networks, or something unknown.
    """
    parts = [option.rpartition("/") for option in options]
    networks = {network or NETWORK for network, _, _ in parts}
    if len(networks) > 1:
        names = " and ".join(sorted(networks))
        raise InputError(f"{', '.join(options)} are layers of {names}; use one network per loss")
    (network,) = networks
    return Features(network, [layer for _, _, layer in parts])


def _style_image(path: Path) -> Tensor:
    """Read an image file as (C, H, W) in [0, 1], reduced to sides of at most `STYLE_SIDE`."""
    planes = read_planes(path)
    shrink = min(Fraction(1), Fraction(STYLE_SIDE, max(planes.shape[-2:])))
    return resize(planes, shrink).clamp(0, 1)
