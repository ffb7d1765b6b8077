"""ONNX files that were made to do harm, or are damaged: for tests, and for benchmarks/model_files.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def model(*nodes: NodeProto, values: tuple[TensorProto, ...] = (), opset: int = 18, **more: Any) -> ModelProto:
    ends = [helper.make_tensor_value_info(name, FLOAT, (1, 3, "h", "w")) for name in ("input", "output")]
    graph = helper.make_graph(list(nodes) or [node("Identity")], "hostile", ends[:1], ends[1:], list(values))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **more)
    made.ir_version = 10
    return made


def node(
    kind: str, inputs: tuple[str, ...] = ("input",), outputs: tuple[str, ...] = ("output",), **more: Any
) -> NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), **more)


def with_value(dims: tuple[int, ...], data: bytes = b"\0" * 4, **external: str) -> ModelProto:
    value = TensorProto(name="value", dims=dims, data_type=FLOAT)
    if external:
        value.data_location = TensorProto.EXTERNAL
        for key, text in external.items():
            value.external_data.add(key=key, value=text)
    else:
        value.raw_data = data
    return model(node("Add", ("input", "value")), values=(value,))


def nested(depth: int) -> GraphProto:
    out = [helper.make_tensor_value_info("output", FLOAT, None)]
    inner = helper.make_graph([node("Identity")], "g", [], out)
    for _ in range(depth):
        branch = node("If", ("input",), then_branch=inner, else_branch=inner_of(out))
        inner = helper.make_graph([branch], "g", [], out)
    return inner


def deep(levels: int) -> bytes:
    """Graphs in operators in graphs, deeper than Protocol Buffers build or read them."""
    data = b""
    for field in (6, 5, 1) * levels:  # AttributeProto.g, NodeProto.attribute, GraphProto.node
        length, size = len(data), b""
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        data = bytes([field << 3 | 2]) + size + bytes([length]) + data
    return b"\x08\x0a" + data


def inner_of(out: list[onnx.ValueInfoProto]) -> GraphProto:
    return helper.make_graph([node("Identity")], "g", [], out)


def calling(*calls: tuple[str, tuple[str, ...]]) -> ModelProto:
    """A model whose functions call each other: (function, the functions that it calls)."""
    functions = [
        helper.make_function(
            "own",
            name,
            ["input"],
            ["output"],
            [node(called, domain="own") for called in names],
            [helper.make_opsetid("", 18)],
        )
        for name, names in calls
    ]
    return model(node(calls[0][0], domain="own"), functions=functions)


def bomb(*factors: int) -> ModelProto:
    """Asks for a huge tensor at once."""
    sides = numpy_helper.from_array(np.array(factors, np.int64), "sides")
    return model(
        node("ConstantOfShape", ("sides",), ("huge",)),
        node("ReduceSum", ("huge",), ("sum",), keepdims=0),
        node("Add", ("input", "sum")),
        values=(sides,),
    )


def tensor_in_attribute() -> ModelProto:
    value = TensorProto(name="value", dims=(1 << 40,), data_type=FLOAT, raw_data=b"\0\0\0\0")
    return model(node("Constant", (), ("huge",), value=value), node("Add", ("input", "huge")))


def unversioned() -> ModelProto:
    made = model()
    del made.opset_import[:]
    return made


HEADERS: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "data above the folder": (lambda: with_value((1,), location="../secret"), "not beside it"),
    "data far above": (lambda: with_value((1,), location="a/../../secret"), "not beside it"),
    "data at an absolute path": (lambda: with_value((1,), location="/etc/passwd"), "not beside it"),
    "data on another drive": (lambda: with_value((1,), location="C:\\secret"), "not beside it"),
    "data above, as Windows writes it": (lambda: with_value((1,), location="..\\secret"), "not beside it"),
    "data behind a link": (lambda: with_value((1,), location="link"), "not beside it"),
    "data in a linked folder": (lambda: with_value((1,), location="folder/secret"), "not beside it"),
    "data nowhere": (lambda: with_value((1,), offset="0"), "not beside it"),
    "data at no number": (lambda: with_value((1,), location="data", offset="x"), "is no number"),
    "data before the file": (lambda: with_value((1,), location="data", offset="-4"), "does not hold"),
    "data beyond the file": (lambda: with_value((1,), location="data", offset="2"), "does not hold"),
    "data of another length": (lambda: with_value((1,), location="data", length="1"), "does not hold"),
    "huge data elsewhere": (lambda: with_value((1 << 40, 1 << 20), location="data"), "does not hold"),
    "data that is missing": (lambda: with_value((1,), location="missing"), "put both files into one folder"),
    "a huge tensor": (lambda: with_value((1 << 40, 1 << 40)), "4 bytes in place of"),
    "a huge tensor in an operator": (tensor_in_attribute, "4 bytes in place of"),
    "negative sides": (lambda: with_value((-1, -4)), "negative sides"),
    "too few numbers": (
        lambda: model(values=(TensorProto(name="v", dims=[9], data_type=FLOAT, float_data=[1.0]),)),
        "1 num",
    ),
    "an unknown type": (
        lambda: model(values=(TensorProto(name="v", dims=[1], data_type=99, raw_data=b"1"),)),
        "unknown type",
    ),
    "a custom operator": (lambda: model(node("Run", domain="evil")), "'Run' of 'evil', which ONNX Runtime does not"),
    "a custom operator inside": (
        lambda: model(
            node("If", then_branch=inner_of([]), else_branch=helper.make_graph([node("X", domain="e")], "", [], []))
        ),
        "'X' of 'e'",
    ),
    "Python in an operator": (lambda: model(node("PythonOp", domain="ai.onnx.contrib")), "which ONNX Runtime does not"),
    "a loop": (lambda: model(node("Loop", ("", "", "input"), body=inner_of([]))), "has a loop"),
    "graphs inside each other": (
        lambda: model(node("If", then_branch=nested(25), else_branch=inner_of([]))),
        "too deeply",
    ),
    "a function that calls itself": (lambda: calling(("a", ("a",))), "without an end"),
    "functions that call each other": (lambda: calling(("a", ("b",)), ("b", ("a",))), "without an end"),
    "functions that grow": (
        lambda: calling(*((f"f{i}", (f"f{i + 1}",) * 100) for i in range(9)), ("f9", ())),
        "when its functions are written out",
    ),
    "an opset of the future": (lambda: model(opset=999), "opset 999, and 7 to"),
    "an opset of the past": (lambda: model(opset=1), "opset 1, and 7 to"),
    "no opset": (unversioned, "which operators"),
    "no network": (ModelProto, "no network|no ONNX model"),
}

GREEDY = {
    "more memory than there is": (bomb(100_000, 100_000), "memory"),
    "a network that grows with its input": (
        model(
            node("Concat", ("input",) * 64, ("a",), axis=2),
            node("Concat", ("a",) * 64, ("b",), axis=3),
            node("Concat", ("b",) * 64, ("c",), axis=2),
            node("Concat", ("c",) * 64, axis=3),
        ),
        "memory",
    ),
    "more time than it is worth": (
        model(
            node("ConstantOfShape", ("sides",), ("zeros",)),
            node("ReduceMean", ("input",), ("level",), keepdims=0),
            node("Add", ("zeros", "level"), ("huge",)),  # hangs on the input: no product is kept as a constant
            *(node("MatMul", (f"product{i}" if i else "huge", "huge"), (f"product{i + 1}",)) for i in range(200)),
            node("ReduceSum", ("product200",), ("sum",), keepdims=0),
            node("Add", ("input", "sum")),
            values=(numpy_helper.from_array(np.array([2500, 2500], np.int64), "sides"),),
        ),
        "more time or memory",
    ),
    "sides that do not fit": (
        model(
            node("Resize", ("input", "", "by")), values=(numpy_helper.from_array(np.full(4, 2.5, np.float32), "by"),)
        ),
        "whole number|keeps the channels",
    ),
}


def prepare(folder: Path) -> Path:
    """Make a folder beside a secret file, with links to it, and return it."""
    (folder / "secret").write_bytes(b"\0" * 8)
    inner = folder / "folder"
    inner.mkdir()
    (inner / "link").symlink_to(folder / "secret")
    (inner / "folder").symlink_to(folder, target_is_directory=True)
    (inner / "data").write_bytes(b"\0" * 4)
    return inner


def make_all(folder: Path) -> dict[str, Path]:
    """Write all files into a folder; returns them by what they are."""
    place = prepare(folder)
    contents = {what: make().SerializeToString() for what, (make, _) in HEADERS.items()}
    contents |= {what: made.SerializeToString() for what, (made, _) in GREEDY.items()}
    contents |= {"graphs nested deeply": deep(1000), "a part of a file": model().SerializeToString()[:-9]}
    made = {}
    for number, (what, content) in enumerate(contents.items()):
        made[f"ONNX, {what}"] = place / f"{number:02d}.onnx"
        made[f"ONNX, {what}"].write_bytes(content)
    return made
