"""A network made ready for one device and one precision.

Two rules come from measurement. The network's input is never rounded to bfloat16: that alone costs VDSR 0.15 dB at
scale 4. Convolutions run in channels-last order, which is up to 1.9 times as fast on a CPU.
"""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from .errors import InputError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_REDUCED = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # layers whose weights are stored in the low precision


def choose_device(device: str | torch.device) -> torch.device:
    """For "auto" the first of CUDA, XPU, MPS and the CPU that works here; else what torch calls by that name."""
    if device == "auto":
        if torch.accelerator.is_available() and (found := torch.accelerator.current_accelerator()):
            return found
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {str(device)!r} cannot be used here ({reason}); use 'auto' or 'cpu'") from None
    return chosen


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """For "auto" bfloat16 where the hardware multiplies it natively, else float32."""
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bfloat16(device) else torch.float32
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; use 'auto', {', '.join(map(repr, PRECISIONS))}")
    if precision == "float16" and device.type == "cpu":
        raise InputError("precision 'float16' is for GPUs; on a CPU use 'auto', 'float32' or 'bfloat16'")
    return PRECISIONS[precision]


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and any(_cpu_has(feature) for feature in ("avx512_bf16", "amx_tile"))


def _cpu_has(feature: str) -> bool:
    supported = getattr(torch.cpu, f"_is_{feature}_supported", None)  # torch has no public name for it before 2.13
    return bool(supported and supported())


def arithmetic(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """The context in which a network computes in that precision, and in float32 without TF32's rounding."""
    if dtype != torch.float32:
        return torch.autocast(device.type, dtype=dtype)
    if device.type == "cuda":
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return nullcontext()


class _Unrounded(nn.Module):
    """A layer that reads the network's input: computes in float32, hands on the low precision."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = layer, dtype

    def forward(self, planes: Tensor) -> Tensor:
        return _unrounded(self.layer)(planes).to(self.dtype)


class _Split(nn.Module):
    """The same for a plain convolution at low-precision speed: the input in two parts, 16 bits together."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.conv = copy.deepcopy(conv)
        self.conv.in_channels *= 2
        self.conv.weight = nn.Parameter(torch.cat([conv.weight, conv.weight], 1), requires_grad=False)
        self.conv.to(dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, planes: Tensor) -> Tensor:
        planes = planes.float()
        high = planes.to(self.dtype)
        low = (planes - high).to(self.dtype)
        output: Tensor = self.conv(torch.cat([high, low], 1).contiguous(memory_format=torch.channels_last))
        return output


class Runner:
    """A network on its device, in its precision, ready for any number of threads.

    Calling it takes (N, C, h, w) float32 on any device and returns float32 on the runner's device.
    ``bytes_per_pixel``: an estimate of the working memory per pixel of the network's input.
    The network given is left as it was.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, dtype: torch.dtype, probe: tuple[int, int, int]
    ) -> None:
        self.device, self.dtype = device, dtype
        network = nn.Sequential(copy.deepcopy(network).eval().requires_grad_(False))  # so that every layer has a parent
        readers, self.bytes_per_pixel = _probe(network, probe, dtype)
        if dtype != torch.float32:
            _reduce(network, readers, dtype)
        self._network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, planes: Tensor) -> Tensor:
        planes = planes.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)
        with arithmetic(self.device, self.dtype):
            output: Tensor = self._network(planes)
        return output.float()


def input_readers(network: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    """Names of the layers that read the network's input, (C, h, w), itself."""
    return _probe(copy.deepcopy(network).eval(), shape, torch.float32)[0]


def keep_unrounded(network: nn.Module, readers: list[str]) -> None:
    """Make these layers compute in float32 under autocast, in place; the state dict's keys stay as they are."""
    for layer in map(network.get_submodule, readers):
        layer.forward = _unrounded(layer.forward)


def _unrounded(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def in_float32(planes: Tensor) -> Tensor:
        with torch.autocast(planes.device.type, enabled=False):
            return forward(planes.float())

    return in_float32


def _probe(network: nn.Module, shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[list[str], float]:
    """Run once on a small (C, h, w) input: which layers read the input itself, and bytes per pixel of the widest."""
    unrounded = [torch.rand(1, *shape)]  # the input, and what layers without parameters make of it
    readers: list[str] = []
    widest = 1

    def watch(name: str, layer: nn.Module) -> None:
        def hook(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            nonlocal widest
            tensors = [t for t in (*inputs, output) if isinstance(t, Tensor)]
            widest = max(widest, sum(t.numel() for t in tensors))
            if any(t is seen for t in inputs for seen in unrounded):
                if any(True for _ in layer.parameters()):
                    readers.append(name)
                elif isinstance(output, Tensor):
                    unrounded.append(output)

        handles.append(layer.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, layer in network.named_modules():
        if not any(layer.children()):
            watch(name, layer)
    try:
        with torch.inference_mode():
            network(unrounded[0])
    finally:
        for handle in handles:
            handle.remove()
    return readers, 1.5 * widest * dtype.itemsize / (shape[1] * shape[2]) + 16


def _reduce(network: nn.Module, readers: list[str], dtype: torch.dtype) -> None:
    """Store weights in the low precision, except in layers that read the network's input."""
    for name, layer in list(network.named_modules()):
        if name in readers:
            parent, _, child = name.rpartition(".")
            plain = type(layer) is nn.Conv2d and layer.groups == 1 and dtype == torch.bfloat16
            kept = _Split(layer, dtype) if plain else _Unrounded(layer, dtype)
            setattr(network.get_submodule(parent), child, kept)
        elif isinstance(layer, _REDUCED):
            layer.to(dtype)
