"""What an ONNX file must be before ONNX Runtime sees it: plain operators, and tensors as large as their data.

A file may come from anyone. Nothing here allocates what a header promises, and nothing outside the file's folder is
opened. Imported only by `pysr_onnx.probe`. Messages of errors go on after the file's name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from pysr.errors import InputError, WeightsError

OWN_DOMAINS = {"", "ai.onnx", "com.microsoft"}  # of the operators that ONNX Runtime brings itself
OLDEST_OPSET = 7  # that ONNX Runtime reads
LARGEST_FILE = 2**31  # bytes: the limit of Protocol Buffers; larger networks have external data
DEEPEST = 16  # graphs inside graphs
MOST_NODES = 100_000  # with functions written out; the largest networks for super-resolution have 20,000
_BITS: dict[int, int] = {TensorProto.UINT4: 4, TensorProto.INT4: 4, TensorProto.FLOAT4E2M1: 4}
_PACKED: dict[
    int, tuple[str, int]
] = {  # where a tensor's numbers are if not in raw_data, and how many entries one number takes
    TensorProto.DOUBLE: ("double_data", 1),
    TensorProto.INT64: ("int64_data", 1),
    TensorProto.UINT32: ("uint64_data", 1),
    TensorProto.UINT64: ("uint64_data", 1),
    TensorProto.FLOAT: ("float_data", 1),
    TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.STRING: ("string_data", 1),
}


def read_model(path: Path) -> tuple[ModelProto, list[str]]:
    """Read and check a file.

    Returns:
        The model, and the files from which it takes data.

    Raises:
        WeightsError: It is no ONNX model, or contradicts itself.
        InputError: It holds something that is not read.
    """
    if path.stat().st_size >= LARGEST_FILE:
        raise WeightsError("is larger than an ONNX file can be (2 GB)")
    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, RecursionError) as error:
        raise WeightsError("is no ONNX model, or only a part of one, or nested too deeply") from error
    if not model.HasField("graph") or not model.graph.node:
        raise WeightsError("holds no network")
    _check_opsets(model)
    _check_size(model)
    beside: set[str] = set()
    for graph in _graphs(model):
        for tensor in _tensors(graph):
            beside |= _check_tensor(tensor, path)
        if graph.sparse_initializer:
            raise InputError("holds sparse tensors, which are not read")
    return model, sorted(beside)


def _check_opsets(model: ModelProto) -> None:
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    version, newest = versions.get("ai.onnx"), onnx.defs.onnx_opset_version()
    if version is None:
        raise WeightsError("does not say which operators it uses (opset_import)")
    if not OLDEST_OPSET <= version <= newest:
        raise InputError(f"is written in opset {version}, and {OLDEST_OPSET} to {newest} are read; convert it")


def _check_size(model: ModelProto) -> None:
    """Refuse foreign operators, loops without an end, and networks that functions make huge."""
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size_of(nodes: Iterator[NodeProto], depth: int) -> int:
        if depth > DEEPEST:
            raise InputError("has graphs or functions inside each other without an end, or too deeply")
        return sum(size(node, depth) for node in nodes)

    def size(node: NodeProto, depth: int) -> int:
        key = node.domain, node.op_type
        total = 1 + sum(size_of(iter(graph.node), depth + 1) for graph in _subgraphs(node))
        if key in functions:
            if key not in sizes:
                sizes[key] = size_of(iter(functions[key].node), depth + 1)
            total += sizes[key]
        elif node.domain not in OWN_DOMAINS:
            raise InputError(f"uses the operator {node.op_type!r} of {node.domain!r}, which ONNX Runtime does not have")
        elif node.op_type == "Loop":
            raise InputError("has a loop, which may not end; export it without")
        if total > MOST_NODES:
            raise InputError(f"has over {MOST_NODES:,} operators when its functions are written out")
        return total

    if size_of(iter(model.graph.node), 0) > MOST_NODES:
        raise InputError(f"has over {MOST_NODES:,} operators")


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _graphs(model: ModelProto) -> Iterator[GraphProto]:
    """Every graph, with those inside others, and functions as graphs; none is too deep, as `_check_size` was first."""
    waiting = [model.graph, *(GraphProto(node=function.node) for function in model.functions)]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            waiting.extend(_subgraphs(node))


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise InputError("holds sparse tensors, which are not read")


def _check_tensor(tensor: TensorProto, path: Path) -> set[str]:
    """Check that a tensor has the numbers that its shape asks for; return the other file that they are in, if any."""
    if any(side < 0 for side in tensor.dims):
        raise WeightsError(f"has a tensor {tensor.name!r} with negative sides")
    count = math.prod(tensor.dims)
    wanted = _bytes(tensor, count)
    if tensor.data_location == TensorProto.EXTERNAL:
        return _check_external(tensor, wanted, path)
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != wanted:
            raise WeightsError(
                f"has a tensor {tensor.name!r} of {'x'.join(map(str, tensor.dims))} with {len(tensor.raw_data):,} bytes"
                f" in place of {wanted:,}"
            )
        return set()
    field, entries = _PACKED.get(tensor.data_type, ("int32_data", 1))
    found = len(getattr(tensor, field))
    if found not in (count * entries, -(-count * _BITS.get(tensor.data_type, 8) // 8)):
        raise WeightsError(f"has a tensor {tensor.name!r} of {'x'.join(map(str, tensor.dims))} with {found:,} numbers")
    return set()


def _bytes(tensor: TensorProto, count: int) -> int:
    if tensor.data_type == TensorProto.STRING:
        return 0
    if bits := _BITS.get(tensor.data_type):
        return -(-count * bits // 8)
    try:
        return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"has a tensor {tensor.name!r} of an unknown type ({tensor.data_type})") from None


def _check_external(tensor: TensorProto, wanted: int, path: Path) -> set[str]:
    about = {entry.key: entry.value for entry in tensor.external_data}
    location = about.get("location", "")
    folder = os.path.realpath(path.parent)
    place = os.path.realpath(os.path.join(folder, location))
    parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
    outside = ".." in parts or PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    if not location or "\0" in location or outside or os.path.commonpath([folder, place]) != folder:
        raise InputError(f"takes data from {location!r}, which is not beside it; only files in its own folder are read")
    if not os.path.isfile(place):
        raise WeightsError(f"takes data from {location!r}, which is not beside it; put both files into one folder")
    try:
        offset, length = int(about.get("offset", 0)), int(about.get("length", wanted))
    except ValueError:
        raise WeightsError(f"has a tensor {tensor.name!r} whose place in {location!r} is no number") from None
    if offset < 0 or length != wanted or offset + length > os.path.getsize(place):
        raise WeightsError(f"has a tensor {tensor.name!r} of {wanted:,} bytes, which {location!r} does not hold")
    return {place}
