"""A network that ncnn computes, as torch sees it, and what is found out about one in a process with limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import torch
from torch import Tensor, nn

from pysr.errors import InputError, PluginError, WeightsError

from .network_text import Layer, read_network

_SIDES = (33, 35)  # pixels of the image that is tried: odd, so that a network that needs multiples is seen
_MULTIPLES = (1, 2, 4, 8, 16, 32)


class NcnnNetwork(nn.Module):
    """Maps (N, C, h, w) float32 on the CPU to (N, C, h * scale, w * scale). Threads may share it.

    Args:
        text: The network (.param), which `read_network` has accepted.
        weights: Its weights (.bin).

    Raises:
        WeightsError: ncnn cannot load it.
    """

    def __init__(self, text: Path, weights: Path) -> None:
        super().__init__()
        self._net = ncnn.Net()
        options = self._net.opt
        options.use_vulkan_compute = False
        options.num_threads = torch.get_num_threads()
        # float32 throughout: lower precisions depend on the CPU, and patches would differ from the whole image
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = options.use_bf16_packed = False
        if self._net.load_param(str(text)) != 0 or self._net.load_model(str(weights)) != 0:
            raise WeightsError(f"{text} and {weights.name} do not belong together, or are damaged; get both again")
        if len(self._net.input_names()) != 1 or len(self._net.output_names()) != 1:
            raise InputError(f"{text} is no upscaler: it has several inputs or outputs; look for another model")
        (self._input,), (self._output,) = self._net.input_names(), self._net.output_names()

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([self._forward_one(one) for one in image])

    def _forward_one(self, image: Tensor) -> Tensor:
        pixels = image.contiguous().numpy()
        with self._net.create_extractor() as extractor:
            extractor.input(self._input, ncnn.Mat(pixels).clone())
            failed, output = extractor.extract(self._output)
            if failed:
                raise PluginError(f"ncnn failed on an image of {pixels.shape[2]} x {pixels.shape[1]} (code {failed})")
            return torch.from_numpy(np.array(output, dtype=np.float32, copy=True))


def examine_file(text: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """Load a network, try it, and return its channels, scale, and the multiples that the sides of its input must be.

    Args:
        text: The network (.param).
        weights: Its weights (.bin).
        folder: Not used.

    Raises:
        InputError: It is no upscaler.
        WeightsError: It is damaged.
    """
    torch.set_num_threads(1)
    layers = read_network(text, weights)
    if unknown := {layer.kind for layer in layers if ncnn.layer_to_index(layer.kind) < 0}:
        raise InputError(f"{text} has layers that ncnn does not know ({', '.join(sorted(unknown)[:3])}); update ncnn")
    channels = _channels(layers)
    if channels not in (1, 3):
        raise InputError(f"{text} takes {channels} channels; pysr takes networks from 3 to 3 channels, or 1 to 1")
    with _quiet():
        network = NcnnNetwork(text, weights)
        for multiple_of in _MULTIPLES:
            height, width = (-(-side // multiple_of) * multiple_of for side in _SIDES)
            try:
                shape = tuple(network(torch.full((1, channels, height, width), 0.5))[0].shape)
            except (PluginError, ValueError):
                continue
            scale = shape[-1] // width
            if scale >= 1 and shape == (channels, height * scale, width * scale):
                return {"channels": channels, "scale": scale, "multiple_of": multiple_of}
    raise InputError(
        f"{text} is no upscaler: its output is not its input, enlarged by a whole number; look for another"
    )


def _channels(layers: list[Layer]) -> int:
    """The channels of the input, from the first convolution."""
    for layer in layers:
        if layer.kind in ("Convolution", "Deconvolution"):
            kernel = int(layer.numbers.get(1, 1) * layer.numbers.get(11, layer.numbers.get(1, 1)))
            return layer.weights // max(int(layer.numbers[0]) * kernel, 1)
    return 3


@contextmanager
def _quiet() -> Iterator[None]:
    """What ncnn prints about a file that it cannot load is not for users."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
