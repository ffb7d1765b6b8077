"""Networks that OpenVINO computes, on CPUs: faster than torch at the same precision.

A converted network must take images of any size and be as exact as in torch; `choose_backend` checks both.
"""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .runner import ForeignNetwork, PreparedNetwork, calibrate
from .unrounded import SplitConv

logger = logging.getLogger("pysr")

BACKENDS = ("auto", "torch", "openvino")
_SLACK = 1.25  # factor on the error of torch at the same precision that a converted network may have
_FLOAT32_ERROR = 1e-5  # root mean square that any converted network may have
_CPU = torch.device("cpu")


class OpenVINONetwork(PreparedNetwork):
    """A network that OpenVINO computes on the CPU. Any number of threads may share it, and it can be pickled.

    Args:
        model: The network as an ``openvino.Model`` of any size.
        prepared: The same as it is computed without OpenVINO, which a forked child does: OpenVINO's threads do not
            survive a fork, and their work would be waited for without end.
    """

    runtime = "OpenVINO"

    def __init__(self, model: Any, prepared: PreparedNetwork) -> None:
        self._in_forks, self.bytes_per_pixel, self.resampler = prepared, prepared.bytes_per_pixel, None
        self.parameters = prepared.parameters
        self.device, self.dtype = _CPU, prepared.dtype
        self._use(model)

    @property
    def network(self) -> nn.Module:
        """The copy of the network that was prepared for torch."""
        return self._in_forks.network

    def with_model(self, model: Any, dtype: torch.dtype) -> OpenVINONetwork:
        """Return a copy with another ``openvino.Model`` of the network, in another precision."""
        other = copy.copy(self)
        other.dtype = dtype
        other._use(model)
        return other

    def _use(self, model: Any) -> None:
        floats = self._in_forks.dtype if self.dtype == torch.int8 else self.dtype
        self.model, self._compiled, self._of_thread = model, _compiled(model, floats), threading.local()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        own = ("model", "_compiled", "_of_thread", "_process")
        return {name: value for name, value in vars(self).items() if name not in own} | {"ir": _to_bytes(self.model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        model = _from_bytes(*state.pop("ir"))
        vars(self).update(state)
        self._use(model)

    def __copy__(self) -> OpenVINONetwork:
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __call__(self, image: Tensor) -> Tensor:
        """Run the network on (N, C, h, w), on any device; returns float32 on the CPU."""
        if os.getpid() != self._process:
            return self._in_forks(image)
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        values = image.detach().to(_CPU, torch.float32).contiguous().numpy()
        return torch.from_numpy(self._of_thread.request.infer([values], share_inputs=True)[0])


def choose_backend(
    network: nn.Module, prepared: PreparedNetwork, probe_shape: tuple[int, int, int], backend: str, name: str
) -> PreparedNetwork:
    """Choose what computes a network.

    Args:
        network: The network, as it was prepared.
        prepared: The network prepared for torch, or computed by its own runtime.
        probe_shape: (C, h, w) of an input on which it can be run.
        backend: "torch"; "openvino", without effect on networks that have no parameters; or "auto": OpenVINO if it is
            installed, computes on that device and is exact enough. Only "openvino" moves a network of another runtime
            than torch, in which its file was tried.
        name: The model's, for messages.

    Returns:
        ``prepared``, or the same network computed by OpenVINO in the same precision.

    Raises:
        InputError: The backend is unknown or not installed, or it cannot compute this network here.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; use {', '.join(map(repr, BACKENDS))}")
    foreign = isinstance(prepared, ForeignNetwork)
    if (backend != "openvino") if foreign else (backend == "torch" or not any(True for _ in network.parameters())):
        return prepared
    found: PreparedNetwork | str = _unavailable(prepared)
    if not found:
        found = _exact_openvino(network, prepared, probe_shape)
    if isinstance(found, PreparedNetwork):
        logger.debug("%s is computed by OpenVINO", name)
        return found
    if backend == "openvino":
        remedy = "leave out what asks for it: backend='openvino' or precision='int8'"
        raise InputError(f"{name} cannot be computed by OpenVINO: {found}; {remedy}")
    logger.debug("%s is computed by torch; not by OpenVINO: %s", name, found)
    return prepared


def _unavailable(prepared: PreparedNetwork) -> str:
    """Return why OpenVINO is not to be used here, whatever the network; "" if it is."""
    if find_spec("openvino") is None:
        return "it is not installed (pip install 'pysr-sdk[openvino]')"
    if prepared.device.type != "cpu":
        return f"it computes on the CPU, not on {prepared.device}"
    return ""


def _exact_openvino(
    network: nn.Module, prepared: PreparedNetwork, probe_shape: tuple[int, int, int]
) -> OpenVINONetwork | str:
    """Return the network computed by OpenVINO, or why it is not to be used."""
    try:
        converted = OpenVINONetwork(_converted(network, prepared, probe_shape), prepared)
        channels, height, width = probe_shape
        inputs = torch.rand(1, channels, 2 * height, width, generator=torch.Generator().manual_seed(1))
        found = converted(inputs)
    except Exception as error:  # whatever a converter raises about a network that it does not know
        return f"it cannot convert the network ({str(error).strip().splitlines()[-1]})"
    with torch.inference_mode():
        exact = network(inputs)
    if found.shape != exact.shape:
        return f"it gives {tuple(found.shape)} for an input of {tuple(inputs.shape)}"
    off, allowed = _rms(found - exact), max(_SLACK * _rms(prepared(inputs) - exact), _FLOAT32_ERROR)
    return converted if off <= allowed else f"its error is {off:.1e}, and {allowed:.1e} is allowed"


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _split_input(network: nn.Module, readers: list[str]) -> None:
    for name in readers:
        layer = network.get_submodule(name)
        if type(layer) is nn.Conv2d and layer.groups == 1:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, SplitConv(layer, torch.bfloat16).float())


def _converted(network: nn.Module, prepared: PreparedNetwork, probe_shape: tuple[int, int, int]) -> Any:
    """Return a network as an ``openvino.Model`` of any size.

    The layers that read the input get it in two parts if the precision is bfloat16, as `SplitConv` describes.
    """
    import openvino

    if isinstance(prepared, ForeignNetwork):
        hand_over: Callable[[], Any] | None = getattr(network, "to_openvino", None)
        if hand_over is None:
            raise NotImplementedError("its runtime has no way to hand it over")
        return hand_over()
    network = nn.Sequential(copy.deepcopy(network).float().eval().requires_grad_(False))
    if prepared.dtype == torch.bfloat16:
        _split_input(network, calibrate(network, probe_shape, prepared.dtype)[0])
    probe = torch.rand(1, *probe_shape, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch advises against what OpenVINO takes
        traced = torch.jit.trace(network, probe, check_trace=False)
        return openvino.convert_model(traced, input=[(-1, probe_shape[0], -1, -1)], extension=[_pixel_shuffle()])


def _pixel_shuffle() -> Any:
    """How torch's pixel shuffle is converted: without this, for inputs of any size, in three slower steps."""
    from openvino import opset13
    from openvino.frontend.pytorch import ConversionExtension

    def convert(node: Any) -> list[Any]:
        factor = node.get_values_from_const_input(1)
        return [opset13.depth_to_space(node.get_input(0), "depth_first", factor).output(0)]

    return ConversionExtension("aten::pixel_shuffle", convert)


def _to_bytes(model: Any) -> tuple[bytes, bytes]:
    """Return OpenVINO's description of a model, in XML, and its weights."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.xml")
        openvino.save_model(model, file, compress_to_fp16=False)
        return file.read_bytes(), file.with_suffix(".bin").read_bytes()


def _from_bytes(description: bytes, weights: bytes) -> Any:
    import openvino

    return openvino.Core().read_model(description, weights)


def _compiled(model: Any, dtype: torch.dtype) -> Any:
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # other programs run beside it
    }
    return openvino.Core().compile_model(model, "CPU", options)
