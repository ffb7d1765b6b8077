"""A network prepared for one device and one precision.

Two rules come from measurements. The network's input is never rounded to bfloat16: that alone costs VDSR 0.15 dB at
scale 4. Convolutions run in channels-last memory order, which is up to 1.9 times as fast on a CPU.
"""

import copy
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from ..ops.hardware import precision_context
from ..ops.resample import Resampler, resamples_natively

_REDUCED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # layers whose weights are stored in low precision
_SLACK = 1.5  # factor on a layer's input and output in the memory estimate: workspace of convolutions, fragmentation
_OWN_BYTES = 16  # per pixel in the memory estimate: the runner's float32 copies of the network's input and output


class Float32Layer(nn.Module):
    """A layer that reads the network's input: it computes in float32 and outputs the low precision."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = layer, dtype

    def forward(self, *inputs: Any, **named: Any) -> Any:
        output = _in_float32(self.layer)(*inputs, **named)
        return output.to(self.dtype) if isinstance(output, Tensor) else output


class SplitConv(nn.Module):
    """A plain convolution that reads the network's input, at low-precision speed: the input is split into two parts.

    The input rounded to bfloat16 and its rounding error, also in bfloat16, together hold 16 significant bits.
    """

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.conv = copy.deepcopy(conv)
        self.conv.in_channels *= 2
        self.conv.weight = nn.Parameter(torch.cat([conv.weight, conv.weight], 1), requires_grad=False)
        self.conv.to(dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> Tensor:
        image = image.float()
        high = image.to(self.dtype)
        low = (image - high).to(self.dtype)
        parts = torch.cat([high, low], 1).to(self.conv.weight.dtype)
        output: Tensor = self.conv(parts.contiguous(memory_format=torch.channels_last))
        return output


class PreparedNetwork:
    """A network on its device, in its precision. Any number of threads may share it.

    Attributes:
        device: Where it computes.
        dtype: Its precision; float32 if a lower one would gain nothing.
        bytes_per_pixel: Estimate of the working memory per pixel of the network's input.
        resampler: The network, if it is an interpolation that the native kernel computes here.

    Args:
        network: The network to prepare; it is copied and stays unchanged.
        device: Where to compute.
        dtype: torch.float32, torch.bfloat16 or torch.float16.
        probe_shape: (C, h, w) of an input on which the network is run once, for calibration.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, dtype: torch.dtype, probe_shape: tuple[int, int, int]
    ) -> None:
        resampler = network if isinstance(network, Resampler) else None
        network = copy.deepcopy(network).float().eval().requires_grad_(False)
        network = nn.Sequential(network)  # so that every layer has a parent
        readers, self.bytes_per_pixel = calibrate(network, probe_shape, dtype)
        if not readers or readers == ["0"]:  # nothing to gain: no layer has parameters, or the first is the last
            dtype = torch.float32
        self.device, self.dtype = device, dtype
        self.resampler: Resampler | None = resampler if resamples_natively(device) else None
        if dtype != torch.float32:
            _reduce_precision(network, readers, dtype)
        self._network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

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
            output: Tensor = self._network(image)
        return output.float()

    @torch.inference_mode()
    def sample(self, low: Tensor, n: int, **options: Any) -> Tensor:
        """Call the network's own `sample`: (N, C, h, w) -> (N, n, C, h * scale, w * scale) float32 on the CPU."""
        with precision_context(self.device, self.dtype), torch.device("cpu"):
            output: Tensor = self._network.get_submodule("0").sample(low.to(self.device), n, **options)
        return output.float().cpu()

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
        self.resampler = None
        self._network = network.eval()

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        output: Tensor = self._network(image.to(self.device, torch.float32).contiguous())
        return output.float()


def input_readers(network: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    """Return the names of the layers that read the network's input directly; ``shape`` is its (C, h, w)."""
    return calibrate(copy.deepcopy(network).eval(), shape, torch.float32)[0]


def keep_unrounded(network: nn.Module, readers: list[str]) -> None:
    """Make these layers compute in float32 under autocast, in place; the keys of the state dict stay the same."""
    for layer in map(network.get_submodule, readers):
        layer.forward = _in_float32(layer.forward)


def _in_float32(forward: Callable[..., Any]) -> Callable[..., Any]:
    def widened(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    def wrapped(*inputs: Any, **named: Any) -> Any:
        device = next((value.device.type for value in (*inputs, *named.values()) if isinstance(value, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return forward(*map(widened, inputs), **{name: widened(value) for name, value in named.items()})

    return wrapped


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
        if name in readers:
            parent, _, child = name.rpartition(".")
            replacement = SplitConv(layer, dtype) if _can_split(layer, dtype) else Float32Layer(layer, dtype)
            setattr(network.get_submodule(parent), child, replacement)
        elif isinstance(layer, _REDUCED) and not layer._forward_pre_hooks and not is_parametrized(layer):
            layer.to(dtype)


def _can_split(layer: nn.Module, dtype: torch.dtype) -> TypeGuard[nn.Conv2d]:
    plain = type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and dtype == torch.bfloat16 and not layer._forward_pre_hooks
