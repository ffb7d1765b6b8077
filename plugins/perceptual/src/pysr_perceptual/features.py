"""Feature networks: their architecture, how an image is normalised, and where their weights come from."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pysr.errors import InputError, WeightsError
from pysr.plugin import Weights, load_weights

from .trunks import efficientnet_lite0, smallest_side, squeezenet, vgg


@dataclass(frozen=True)
class Download:
    """A state dict in torchvision's format that is not shipped. The file's name ends in the start of its sha256.

    Attributes:
        url: Its public address.
        megabytes: Its size in MB.
        licence: Its terms, as far as they are stated.
    """

    url: str
    megabytes: int
    licence: str

    @property
    def file(self) -> Path:
        """Its path on this machine: in the cache of torch.hub, which torchvision uses too."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """The first hexadecimal digits of its sha256."""
        return self.file.stem.rpartition("-")[2]


@dataclass(frozen=True)
class FeatureNetwork:
    """A network whose inner layers are used as features.

    Attributes:
        name: How losses ask for it.
        trunk: Builds it untrained; children whose names start with "relu" or "fire" are its layers.
        order: Order of the channels that it was trained on.
        mean: Of each channel, subtracted from values in [0, 1].
        std: Of each channel; the difference is divided by it.
        weights: Its weights.
    """

    name: str
    trunk: Callable[[], nn.Sequential]
    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: Weights | Download

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, from the image to the deepest."""
        with torch.device("meta"):
            names = [name for name, _ in self.trunk().named_children()]
        return tuple(name for name in names if name.startswith(("relu", "fire")))


CAFFE_MEAN = (103.939 / 255, 116.779 / 255, 123.68 / 255)  # blue, green, red
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)  # to 0..255
TORCHVISION_MEAN, TORCHVISION_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION_LICENCE = "torchvision's code is BSD-3-Clause; trained on ImageNet"

NETWORKS = {
    network.name: network
    for network in (
        FeatureNetwork(  # its conv0 converts to BGR in 0..255 less the mean
            "vgg19-distilled",
            lambda: vgg(((16, 2), (32, 2), (64, 4), (128, 4), (128, 1)), "reflect", first=nn.Conv2d(3, 3, 1)),
            "RGB",
            (0, 0, 0),
            (1, 1, 1),
            Weights.shipped(
                "pysr_perceptual",
                "vgg19-distilled.safetensors",
                sha256="236aa36c18b5b7ea970b6c6205e29d90170ba7c38ba7116c680265dd9c9f2f1a",
                licence="MIT, Copyright (c) 2020 Huan Wang",
                trained_on="MS-COCO, from a VGG-19 trained on ImageNet (Wang et al., CVPR 2020)",
            ),
        ),
        FeatureNetwork(
            "squeezenet",
            squeezenet,
            "BGR",
            CAFFE_MEAN,
            CAFFE_STD,
            Weights.shipped(
                "pysr_perceptual",
                "squeezenet.safetensors",
                sha256="230abba2a1f40c0369feec72735a285e7a8bbcc6f7467b62974b08c786d8e688",
                licence="MIT, Copyright (c) 2016 Jesper Wohlert",
                trained_on="ImageNet",
            ),
        ),
        FeatureNetwork(
            "efficientnet-lite0",
            efficientnet_lite0,
            "RGB",
            (127 / 255, 127 / 255, 127 / 255),
            (128 / 255, 128 / 255, 128 / 255),
            Weights.shipped(
                "pysr_perceptual",
                "efficientnet-lite0.safetensors",
                sha256="be09ed8249d843fa4cdbff86fd3a7b9e3860300f47ff6e007d378e49e160d613",
                licence="Apache-2.0, Copyright 2020 The TensorFlow Authors",
                trained_on="ImageNet",
            ),
        ),
        FeatureNetwork(
            "vgg16",
            lambda: vgg(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))),
            "RGB",
            TORCHVISION_MEAN,
            TORCHVISION_STD,
            Download("https://download.pytorch.org/models/vgg16-397923af.pth", 528, TORCHVISION_LICENCE),
        ),
        FeatureNetwork(
            "vgg19",
            lambda: vgg(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))),
            "RGB",
            TORCHVISION_MEAN,
            TORCHVISION_STD,
            Download("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", 548, TORCHVISION_LICENCE),
        ),
    )
}


class Features(nn.Module):
    """The outputs of some layers of a feature network. Frozen; computes in float32 even under autocast.

    Its weights never change, so its state dict is empty.

    Args:
        network: Name of one of `NETWORKS`.
        layers: Names of some of its layers.
        file: A state dict in torchvision's format, safetensors or .pth, instead of the network's own weights.

    Raises:
        InputError: There is no such network or layer.
        WeightsError: Weights are missing or damaged.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: str, layers: Sequence[str], file: Path | None = None) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise InputError(f"there is no feature network {network!r}; use {', '.join(NETWORKS)}")
        spec = NETWORKS[network]
        if wrong := [name for name in layers if name not in spec.layers]:
            raise InputError(f"{network} has no layer {wrong[0]!r}; it has {', '.join(spec.layers)}")
        trunk = spec.trunk()
        _fill(spec, trunk, file)
        children = list(trunk.named_children())
        deepest = max(index for index, (name, _) in enumerate(children) if name in layers)
        self.layers = tuple(layers)
        self.trunk = nn.Sequential(OrderedDict(children[: deepest + 1]))
        self.eval().requires_grad_(False)
        self._flipped = spec.order == "BGR"
        self._smallest = smallest_side(self.trunk)
        self.register_load_state_dict_post_hook(lambda _, keys: keys.missing_keys.clear())  # type: ignore[no-untyped-call]
        self.register_buffer("mean", torch.tensor(spec.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(3, 1, 1), persistent=False)

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        return {} if destination is None else destination

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the layers.

        Args:
            images: (N, 1 or 3, H, W) gray or RGB in [0, 1].

        Returns:
            (N, C, h, w) float32 by layer.

        Raises:
            InputError: The images are too small for the deepest layer.
        """
        if min(images.shape[-2:]) < self._smallest:
            raise InputError(
                f"an image of {images.shape[-1]} x {images.shape[-2]} pixels is too small for"
                f" {', '.join(self.layers)}; give at least {self._smallest} per side, or an earlier layer"
            )
        found = {}
        with torch.autocast(images.device.type, enabled=False):
            planes = self._normalised(images.float())
            for name, layer in self.trunk.named_children():
                planes = layer(planes)
                if name in self.layers:
                    found[name] = planes
        return {name: found[name] for name in self.layers}

    def _normalised(self, images: Tensor) -> Tensor:
        planes = images.expand(-1, 3, -1, -1)
        return ((planes.flip(1) if self._flipped else planes) - self.mean) / self.std


def unit_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of two feature maps whose vectors are scaled to length one, averaged over positions.

    Vectors shorter than a tenth stay shorter than one, and zero stays zero.

    Args:
        found: (N, C, h, w) features.
        wanted: The same shape.

    Returns:
        A scalar, 0 to 2 for non-negative features.
    """
    return (_unit(found) - _unit(wanted)).square().sum(1).mean()


def _unit(planes: Tensor) -> Tensor:
    return planes * (planes.square().sum(1, keepdim=True) + 1e-2).rsqrt()


def _fill(spec: FeatureNetwork, trunk: nn.Sequential, file: Path | None) -> None:
    """Load the network's weights."""
    if isinstance(spec.weights, Weights) and not file:
        load_weights(trunk, spec.weights)
        return
    path = file or _downloaded(spec)
    tensors = _read(path)
    try:
        trunk.load_state_dict(dict(zip(trunk.state_dict(), _of_convolutions(tensors), strict=True)))
    except (RuntimeError, ValueError, LookupError, AttributeError, TypeError) as error:  # other names, shapes, no dict
        raise WeightsError(f"{path} is not for {spec.name} in torchvision's format: {error!r}") from None


def _downloaded(spec: FeatureNetwork) -> Path:
    """Return the file of a network that is not shipped, after checking its digest."""
    assert isinstance(spec.weights, Download)
    path = spec.weights.file
    if not path.is_file():
        raise WeightsError(
            f"the weights of {spec.name} are not on this machine; `python -m pysr_perceptual.fetch {spec.name}`"
            f" downloads {spec.weights.megabytes} MB from {spec.weights.url}; or put that file into"
            f" {path.parent} yourself"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(spec.weights.digest):
        raise WeightsError(
            f"{path} has sha256 {found}, which does not start with the digits that end its name; delete it and"
            " download it again"
        )
    return path


def _read(path: Path) -> Any:
    """Read a weights file; nothing in it can run code."""
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch raises anything for a damaged file: KeyError, struct.error, AssertionError, ...
        raise WeightsError(f"{path} cannot be read as a state dict ({error!r:.200}); use another copy of it") from None


def _of_convolutions(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Return weight and bias of each convolution of a torchvision state dict, in order."""
    indices = {int(key.split(".")[1]) for key in tensors if key.startswith("features.")}
    return [tensors[f"features.{index}.{kind}"] for index in sorted(indices) for kind in ("weight", "bias")]
