"""Feature networks: what each is, how an image goes in, and where its numbers come from, as data."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pysr.errors import InputError, WeightsError
from pysr.plugin import Weights
from pysr.upscaling.weights import load_weights

from .trunks import smallest_side, squeezenet, vgg

FOLDER = Path(__file__).with_name("weights")


@dataclass(frozen=True)
class Download:
    """A state dict in torchvision's format that is not shipped. The file's name ends in the start of its sha256.

    url: where it is public. megabytes: its size. licence: terms, as far as they are stated.
    """

    url: str
    megabytes: int
    licence: str

    @property
    def file(self) -> Path:
        """Its place on this machine: where torch.hub, and so torchvision, keeps it too."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """The first hexadecimal digits of its sha256."""
        return self.file.stem.rpartition("-")[2]


@dataclass(frozen=True)
class FeatureNetwork:
    """A network whose inner layers tell what is in an image.

    trunk: builds it without numbers; children that start with "relu" or "fire" are its layers. order, mean, std: what
    it was trained on: planes in this order, each (value - mean) / std of values in [0, 1]. weights: its numbers.
    """

    name: str
    trunk: Callable[[], nn.Sequential]
    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: Weights | Download

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, from the image inwards."""
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
        FeatureNetwork(  # its conv0 makes BGR of 0..255 less the mean
            "vgg19-distilled",
            lambda: vgg(((16, 2), (32, 2), (64, 4), (128, 4), (128, 1)), "reflect", first=nn.Conv2d(3, 3, 1)),
            "RGB",
            (0, 0, 0),
            (1, 1, 1),
            Weights(
                file=FOLDER / "vgg19-distilled.safetensors",
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
            Weights(
                file=FOLDER / "squeezenet.safetensors",
                sha256="230abba2a1f40c0369feec72735a285e7a8bbcc6f7467b62974b08c786d8e688",
                licence="MIT, Copyright (c) 2016 Jesper Wohlert",
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
    """An image -> what a feature network's layers make of it. Frozen; computes in float32 under autocast, too.

    Its numbers never change, so they are no part of its state dict.

    network: one of `NETWORKS`. layers: some of its names. file: a state dict in torchvision's format, safetensors or
    .pth, instead of the network's own. Raises InputError for unknown names, WeightsError where numbers are missing.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: str, layers: Sequence[str], file: Path | None = None) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise InputError(f"there is no feature network {network!r}; use {', '.join(NETWORKS)}")
        about = NETWORKS[network]
        if wrong := [name for name in layers if name not in about.layers]:
            raise InputError(f"{network} has no layer {wrong[0]!r}; it has {', '.join(about.layers)}")
        trunk = about.trunk()
        _fill(about, trunk, file)
        children = list(trunk.named_children())
        deepest = max(place for place, (name, _) in enumerate(children) if name in layers)
        self.layers = tuple(layers)
        self.trunk = nn.Sequential(OrderedDict(children[: deepest + 1]))
        self.eval().requires_grad_(False)
        self._flipped = about.order == "BGR"
        self._smallest = smallest_side(self.trunk)
        self.register_load_state_dict_post_hook(lambda _, keys: keys.missing_keys.clear())  # type: ignore[no-untyped-call]
        self.register_buffer("mean", torch.tensor(about.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(about.std).view(3, 1, 1), persistent=False)

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        return {} if destination is None else destination

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 1 or 3, H, W) gray or RGB in [0, 1] -> (N, C, h, w) float32 by layer. InputError for too small images."""
        if min(images.shape[-2:]) < self._smallest:
            raise InputError(
                f"an image of {images.shape[-1]} x {images.shape[-2]} pixels is too small for"
                f" {', '.join(self.layers)}; give {self._smallest} a side, or an earlier layer"
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
    """Squared distance of two (N, C, h, w) once the vector at each place has length one; the mean over places.

    0 to 2 for features that are not negative. Lengths under a tenth stay below one, and nothing stays nothing.
    """
    return (_unit(found) - _unit(wanted)).square().sum(1).mean()


def _unit(planes: Tensor) -> Tensor:
    return planes * (planes.square().sum(1, keepdim=True) + 1e-2).rsqrt()


def _fill(about: FeatureNetwork, trunk: nn.Sequential, file: Path | None) -> None:
    """Put the network's numbers in."""
    if isinstance(about.weights, Weights) and not file:
        load_weights(trunk, about.weights)
        return
    path = file or _downloaded(about)
    tensors = _read(path)
    try:
        trunk.load_state_dict(dict(zip(trunk.state_dict(), _of_convolutions(tensors), strict=True)))
    except (RuntimeError, ValueError, LookupError, AttributeError) as error:  # other names, shapes, or no dict at all
        raise WeightsError(f"{path} is not for {about.name} in torchvision's format: {error!r}") from None


def _downloaded(about: FeatureNetwork) -> Path:
    """The file of a network that is not shipped, once its digest has been checked."""
    assert isinstance(about.weights, Download)
    path = about.weights.file
    if not path.is_file():
        raise WeightsError(
            f"the numbers of {about.name} are not on this machine. `python -m pysr_perceptual.fetch {about.name}` gets"
            f" {about.weights.megabytes} MB from {about.weights.url}; or put that file into {path.parent} yourself"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(about.weights.digest):
        raise WeightsError(f"{path} has sha256 {found}, which does not begin as its name ends; delete and get it again")
    return path


def _read(path: Path) -> Any:
    """What a file of weights holds; nothing in it can run code."""
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(f"{path} cannot be read as a state dict: {error}") from None


def _of_convolutions(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Weight and bias of each convolution of a torchvision state dict, in order."""
    places = {int(key.split(".")[1]) for key in tensors if key.startswith("features.")}
    return [tensors[f"features.{place}.{kind}"] for place in sorted(places) for kind in ("weight", "bias")]
