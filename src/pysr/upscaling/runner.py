"""A network prepared for one device and one precision.

Two rules come from measurements. The network's input is never rounded to bfloat16 (`unrounded.py`). Convolutions run in
channels-last memory order, which is up to 1.9 times as fast on a CPU.
"""

import copy
from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from ..ops.hardware import precision_context
from ..ops.resample import Resampler, resamples_natively
from .fusing import FusedConv, fused, packed
from .unrounded import Float32Layer, SplitConv

_REDUCED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # layers whose weights are stored in low precision
_SLACK = 1.5  # factor on a layer's input and output in the memory estimate: workspace of convolutions, fragmentation
_OWN_BYTES = 16  # per pixel in the memory estimate: the runner's float32 copies of the network's input and output


class PreparedNetwork:
    """A network on its device, in its precision. Any number of threads may share it.

    Attributes:
        runtime: What computes it.
        device: Where it computes.
        dtype: Its precision; float32 if a lower one would gain nothing.
        bytes_per_pixel: Estimate of the working memory per pixel of the network's input.
        parameters: Number of its parameters; None if another runtime than torch holds them.
        resampler: The network, if it is an interpolation that the native kernel computes here.

    Args:
        network: The network to prepare; it is copied and stays unchanged.
        device: Where to compute.
        dtype: torch.float32, torch.bfloat16 or torch.float16.
        probe_shape: (C, h, w) of an input on which the network is run once, for calibration.
    """

    runtime = "torch"

    def __init__(
        self, network: nn.Module, device: torch.device, dtype: torch.dtype, probe_shape: tuple[int, int, int]
    ) -> None:
        resampler = network if isinstance(network, Resampler) else None
        self.parameters: int | None = sum(value.numel() for value in network.parameters())
        network = copy.deepcopy(network).float().eval().requires_grad_(False)
        network = nn.Sequential(network)  # so that every layer has a parent
        readers, self.bytes_per_pixel = calibrate(network, probe_shape, dtype)
        if not readers or readers == ["0"]:  # nothing to gain: no layer has parameters, or the first is the last
            dtype = torch.float32
        self.device, self.dtype = device, dtype
        self.resampler: Resampler | None = resampler if resamples_natively(device) else None
        fast = fused(network, dtype, probe_shape) if device.type == "cpu" else None
        if dtype != torch.float32:
            for form in filter(None, (network, fast)):
                _reduce_precision(form, readers, dtype)
        self._network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._fast = packed(fast.to(memory_format=torch.channels_last)) if fast else self._network  # type: ignore[call-overload]

    @property
    def network(self) -> nn.Module:
        """The prepared copy of the network; with a lower precision, some of its layers are replaced."""
        network: nn.Module = self._network.get_submodule("0")
        return network

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Run the network on (N, C, h, w), on any device; returns float32 on the runner's device."""
        image = image.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)
        with precision_context(self.device, self.dtype):
            output: Tensor = self._fast(image)
        return output.float()

    @torch.inference_mode()
    def sample(self, low: Tensor, n: int, **options: Any) -> Tensor:
        """Call the network's own `sample`: (N, C, h, w) -> (N, n, C, h * scale, w * scale) float32 on the CPU."""
        with precision_context(self.device, self.dtype), torch.device("cpu"):
            output: Tensor = self._network.get_submodule("0").sample(low.to(self.device), n, **options)
        return output.float().cpu()

    @property
    def samples_together(self) -> bool:
        """Whether the network draws for inputs of several sizes in one call."""
        return hasattr(self._network.get_submodule("0"), "sample_each")

    @torch.inference_mode()
    def sample_each(self, lows: Sequence[Tensor], n: int, **options: Any) -> list[Tensor]:
        """Call the network's own `sample_each`: as `sample`, for inputs that may differ in size."""
        with precision_context(self.device, self.dtype), torch.device("cpu"):
            network: Any = self._network.get_submodule("0")
            outputs = network.sample_each([low.to(self.device) for low in lows], n, **options)
        return [output.float().cpu() for output in outputs]

    @torch.inference_mode()
    def log_likelihood(self, low: Tensor, high: Tensor) -> Tensor:
        """Call the network's own `log_likelihood`: (N,) in nats, on the CPU."""
        with precision_context(self.device, self.dtype), torch.device("cpu"):
            nats: Tensor = self._network.get_submodule("0").log_likelihood(low.to(self.device), high.to(self.device))
        return nats.cpu()


class ForeignNetwork(PreparedNetwork):
    """A network that another runtime than torch computes, in float32 on the CPU as far as torch can tell.

    Args:
        network: Wraps the runtime; it is used as it is.
        bytes_per_pixel: Working memory per pixel of its input, as far as the model's description knows.
    """

    def __init__(self, network: nn.Module, bytes_per_pixel: float) -> None:
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.bytes_per_pixel = bytes_per_pixel + _OWN_BYTES
        self.parameters, self.resampler = None, None
        self._network = network.eval()

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        output: Tensor = self._network(image.to(self.device, torch.float32).contiguous())
        return output.float()


def input_readers(network: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    """Return the names of the layers that read the network's input directly; ``shape`` is its (C, h, w)."""
    return calibrate(copy.deepcopy(network).eval(), shape, torch.float32)[0]


def calibrate(network: nn.Module, shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[list[str], float]:
    """Run a network once on a small input to find the layers that read it and estimate the memory needed.

    Args:
        network: In evaluation mode, on the CPU.
        shape: (C, h, w) of the input.
        dtype: The precision in which it will compute, for the memory estimate.

    Returns:
        The names of the layers that read the input directly (the first layer with parameters if none does, because the
        input is padded or scaled first), and an estimate of the working memory in bytes per pixel.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, *shape, generator=generator, dtype=torch.float32, device="cpu")
    inputs_so_far = [image]  # the input, and what layers without parameters make of it
    readers: list[str] = []
    first: list[str] = []
    widest = 1

    def watch(name: str, layer: nn.Module) -> None:
        def hook(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            nonlocal widest
            tensors = [t for t in (*inputs, output) if isinstance(t, Tensor)]
            widest = max(widest, sum(t.numel() for t in tensors))
            has_parameters = any(True for _ in layer.parameters())
            if has_parameters and not first:
                first.append(name)
            if any(t is seen for t in inputs for seen in inputs_so_far):
                if has_parameters:
                    readers.append(name)
                elif isinstance(output, Tensor):
                    inputs_so_far.append(output)

        handles.append(layer.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, layer in network.named_modules():
        if not any(layer.children()):
            watch(name, layer)
    try:
        with torch.inference_mode():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return readers or first, _SLACK * widest * dtype.itemsize / (shape[1] * shape[2]) + _OWN_BYTES


def _reduce_precision(network: nn.Module, readers: list[str], dtype: torch.dtype) -> None:
    """Store weights in the low precision, except in layers that read the network's input."""
    for name, layer in list(network.named_modules()):
        if name in readers and isinstance(layer, FusedConv):
            layer.split_input(dtype)
        elif name in readers:
            parent, _, child = name.rpartition(".")
            replacement = SplitConv(layer, dtype) if _can_split(layer, dtype) else Float32Layer(layer, dtype)
            setattr(network.get_submodule(parent), child, replacement)
        elif isinstance(layer, _REDUCED) and not layer._forward_pre_hooks and not is_parametrized(layer):
            layer.to(dtype)


def _can_split(layer: nn.Module, dtype: torch.dtype) -> TypeGuard[nn.Conv2d]:
    plain = type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and dtype == torch.bfloat16 and not layer._forward_pre_hooks
