"""Networks with fewer passes over memory, on x86 CPUs: a convolution also normalises, and activates or adds.

oneDNN, which computes torch's convolutions there, does more with a result before it leaves the registers, and takes
weights that are packed once. torch reaches both by the operators that its own compiler puts in place of convolutions;
used directly, they need no C++ compiler and no time to compile.
"""

from __future__ import annotations

import logging
import operator
from collections import Counter
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

from .unrounded import doubled_inputs, two_parts

logger = logging.getLogger("pysr")

_TOLERANCE = 1e-5  # root mean square by which a fused network may differ, in float32, where values are around 1
_TYPICAL_SIDE = 256  # pixels; weights are packed as is best for inputs of about that size
_RELUS = (functional.relu, torch.relu, "relu")  # functions, and the method
_ADDITIONS = (operator.add, torch.add)


class FusedConv(nn.Module):
    """A convolution and the activation after it, or what is added to it, in one pass over memory.

    Args:
        conv: The convolution, in one group; it is shared, not copied.
        slope: What the activation multiplies negative results by: 0 for ReLU, 1 without an activation.
    """

    def __init__(self, conv: nn.Conv2d, slope: float = 1.0) -> None:
        super().__init__()
        self.conv, self.slope, self.splits_input = conv, slope, False
        self._packed: Tensor | None = None

    def split_input(self, dtype: torch.dtype) -> None:
        """Read the input in two parts of a low precision; for layers that read the network's input."""
        self.conv, self.splits_input = doubled_inputs(self.conv).to(dtype), True

    def pack(self) -> None:
        """Put the weights, which must not change any more, into the order that oneDNN computes in."""
        size = [1, self.conv.in_channels, _TYPICAL_SIDE, _TYPICAL_SIDE]
        weight = self.conv.weight.detach()
        self._packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *_geometry(self.conv), size)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}  # it cannot be copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.pack()

    def forward(self, image: Tensor, added: Tensor | None = None) -> Tensor:
        conv, dtype = self.conv, self.conv.weight.dtype
        image = two_parts(image, dtype) if self.splits_input else image.to(dtype)
        if conv.padding_mode != "zeros":
            with torch.autocast("cpu", enabled=False):  # it would pad in float32
                image = functional.pad(image, conv._reversed_padding_repeated_twice, conv.padding_mode)
        image = image.contiguous(memory_format=torch.channels_last)
        layer = conv.weight if self._packed is None else self._packed, conv.bias, *_geometry(conv)
        result: Tensor
        if added is None:
            activation = {0.0: "relu", 1.0: "none"}.get(self.slope, "leaky_relu")
            slope = [self.slope] if activation == "leaky_relu" else []
            result = torch.ops.mkldnn._convolution_pointwise(image, *layer, activation, slope, "")
        elif added.dtype == dtype and added.shape == (len(image), conv.out_channels, *image.shape[2:]):
            added = added.contiguous(memory_format=torch.channels_last)
            result = torch.ops.mkldnn._convolution_pointwise.binary(image, added, *layer, "add", 1, None, [], None)
        else:  # in another precision, or to be spread over the result
            result = torch.ops.mkldnn._convolution_pointwise(image, *layer, "none", [], "") + added
        return result


def fused(network: nn.Module, dtype: torch.dtype, probe_shape: tuple[int, int, int]) -> nn.Module | None:
    """Return a network that computes the same in float32 by fused convolutions, as far as its layers allow.

    Args:
        network: On the CPU, in float32 and evaluation mode; it is shared, layer by layer, and stays as it is.
        dtype: The precision to which it will be reduced.
        probe_shape: (C, h, w) of an input to compare both with.

    Returns:
        The network; layers that are modules have the same names as before, but those that were fused into others. None
        where nothing can be fused: on other hardware, or if its `forward` cannot be followed.
    """
    if not _available(dtype) or not any(_is_fusible(layer) for layer in network.modules()):
        return None
    probe = torch.rand(1, *probe_shape, generator=torch.Generator().manual_seed(2), device="cpu")
    try:
        graph = fx.GraphModule(network, _Follower().follow(network))
        _fuse(graph)
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            off, exact = graph(probe), network(probe)
            off -= exact
    except Exception as error:  # whatever a `forward` does with values that it cannot compute with
        logger.debug("convolutions are not fused (%s)", str(error).strip().partition("\n")[0])
        return None
    return graph if float(off.square().mean().sqrt()) <= _TOLERANCE * max(1, float(exact.abs().max())) else None


def packed(network: nn.Module) -> nn.Module:
    """Pack the weights of all fused convolutions of a network, in place; they must not change any more."""
    for layer in network.modules():
        if isinstance(layer, FusedConv):
            layer.pack()
    return network


def _available(dtype: torch.dtype) -> bool:
    """Whether torch has the operators here; on other processors than those of x86 they are untried."""
    if not (torch.backends.cpu.get_cpu_capability().startswith("AVX") and torch.backends.mkldnn.is_available()):
        return False
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _geometry(conv: nn.Conv2d) -> tuple[list[int], list[int], list[int], int]:
    assert not isinstance(conv.padding, str)
    padding = list(conv.padding) if conv.padding_mode == "zeros" else [0, 0]
    return padding, list(conv.stride), list(conv.dilation), conv.groups


def _is_fusible(layer: nn.Module) -> bool:
    """Whether a layer is a convolution and nothing else."""
    if type(layer) is not nn.Conv2d or layer._forward_pre_hooks or layer._forward_hooks or is_parametrized(layer):
        return False
    return layer.groups == 1 and not isinstance(layer.padding, str)


def _keeps_size(conv: nn.Conv2d) -> bool:
    """Whether a convolution with zero padding gives as many pixels as it takes."""
    padding, stride, dilation, _ = _geometry(conv)
    kernel = conv.kernel_size
    return stride == [1, 1] and all(2 * p == d * (k - 1) for p, d, k in zip(padding, dilation, kernel, strict=True))


class _Follower(fx.Tracer):
    """Records what a network does, like `fx.symbolic_trace`, which disturbs networks in other threads."""

    def follow(self, network: nn.Module) -> fx.Graph:
        """Return the graph of a network whose nodes are its modules without children, and functions."""
        self.root, self.graph, self.tensor_attrs = network, fx.Graph(tracer_cls=type(self)), {}
        layers = {name: layer for name, layer in network.named_modules() if not any(layer.children())}
        own = {layer: layer.forward for layer in layers.values() if "forward" in vars(layer)}
        try:
            for name, layer in layers.items():
                layer.forward = partial(self._call, name)
            result = network(self.create_proxy("placeholder", "image", (), {}))
        finally:
            for layer in layers.values():
                vars(layer).pop("forward", None)
                vars(layer).update({"forward": own[layer]} if layer in own else {})
        self.create_node("output", "output", (self.create_arg(result),), {})
        return self.graph

    def _call(self, name: str, *inputs: Any, **named: Any) -> fx.Proxy:
        return self.create_proxy("call_module", name, inputs, named)


def _fuse(network: fx.GraphModule) -> None:
    """Fuse every plain convolution that is used once with what follows it, in place."""
    uses = Counter(node.target for node in network.graph.nodes if node.op == "call_module")
    for node in list(network.graph.nodes):
        conv = _layer(network, node)
        if uses[node.target] != 1 or not isinstance(conv, nn.Conv2d) or not _is_fusible(conv):
            continue
        norm = _layer(network, user := _only_user(node))
        if user and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            conv = fuse_conv_bn_eval(deepcopy(conv).double(), deepcopy(norm).double()).float()
            _replace(user, node)
        user = _only_user(node)
        slope = _slope(network, user)
        network.set_submodule(str(node.target), FusedConv(conv, 1 if slope is None else slope))
        if user and slope is not None:
            _replace(user, node)
        elif user and _keeps_size(conv) and (added := _added(user, node)):
            with network.graph.inserting_before(user):
                _replace(user, network.graph.call_module(str(node.target), (*node.args, added)))
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()


def _layer(network: fx.GraphModule, node: fx.Node | None) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node and node.op == "call_module" else None


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _replace(node: fx.Node, other: fx.Node) -> None:
    """Put one node of a graph in the place of another, whose value it now computes."""
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)


def _slope(network: fx.GraphModule, node: fx.Node | None) -> float | None:
    """Return what a node multiplies negative values by, if it is an activation that does only that."""
    layer = _layer(network, node)
    if isinstance(layer, nn.ReLU) or (node and node.op != "call_module" and node.target in _RELUS):
        return 0
    if isinstance(layer, nn.LeakyReLU):
        return layer.negative_slope
    return layer.weight.item() if isinstance(layer, nn.PReLU) and layer.num_parameters == 1 else None


def _added(node: fx.Node, conv: fx.Node) -> fx.Node | None:
    """Return what a node adds to the output of a convolution; None if it does not, or does more."""
    if node.op != "call_function" or node.target not in _ADDITIONS or node.kwargs or len(node.args) != 2:
        return None
    (other,) = [arg for arg in node.args if arg is not conv] or [None]
    return other if isinstance(other, fx.Node) else None
