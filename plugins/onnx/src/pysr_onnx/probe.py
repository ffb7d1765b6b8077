"""What the network of an ONNX file is, found by running it, in the process that `pysr.plugin.examine` limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from pysr.errors import InputError, WeightsError

from .check import read_model
from .session import TYPES, Layout, open_session, run

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)  # tried in turn as what sides must be multiples of
LEAST_SIDES = (1, 2, 4, 8, 16)  # tried in turn as the smallest side
LONGEST_TEXT = 2000  # characters of a text in the metadata
_SLACK = 1.5  # factor on a layer's input and output, as pysr's own estimate has


@dataclass
class Facts:
    """What the network of a file is; the names are those of `pysr.plugin.Model` where there is one.

    Attributes:
        scale: Output pixels per input pixel and side.
        channels: 1 or 3.
        layout: Where the channels are.
        peak: White in the output.
        batched: Whether it takes several images at once.
        input_size: The only (height, width) that it takes, if there is one.
        multiple_of: What sides must be multiples of.
        minimum_size: The shortest side that it takes.
        bytes_per_pixel: Of the input: estimate of the working memory.
        opset: Version of the operators.
        metadata: Texts in the file.
    """

    channels: int
    layout: Layout
    batched: bool
    opset: int
    scale: int = 0
    peak: float = 1
    input_size: tuple[int, int] | None = None
    multiple_of: int = 1
    minimum_size: int = 1
    bytes_per_pixel: float = 0
    metadata: dict[str, str] = field(default_factory=dict)


def examine_file(path: Path, *rest: Path) -> dict[str, Any]:
    """Check a file and run its network on small images.

    Args:
        path: The file.
        rest: The files beside it from which it takes data, and last a folder, which is not used.

    Returns:
        `Facts`; or if it takes data from other files and these are not given, their paths as "beside".

    Raises:
        WeightsError: The file is damaged.
        InputError: It is no upscaler of 1 or 3 channels, or uses what is not read.
    """
    try:
        model, beside = read_model(path)
        if beside and len(rest) == 1:
            return {"beside": beside}
        return asdict(_probe(path, model))
    except (InputError, WeightsError) as error:
        raise type(error)(f"{path} {error}") from error


def _probe(path: Path, model: onnx.ModelProto) -> Facts:
    facts, sides = _describe(model)
    try:
        session = open_session(path, threads=1, cpu=True)
    except MemoryError:
        raise
    except Exception as error:  # ONNX Runtime has an exception for each of its codes, and no common base
        _raise_if_out_of_memory(error)
        raise WeightsError(f"cannot be opened by ONNX Runtime {onnxruntime.__version__} ({_line(error)})") from error
    sides = _find_sizes(session, facts, sides)
    _find_peak(session, facts, sides)
    facts.bytes_per_pixel = _bytes_per_pixel(model, facts, sides)
    return facts


def _describe(model: onnx.ModelProto) -> tuple[Facts, tuple[int, int]]:
    """What the file declares, and the sides of its input; 0 for those that may vary."""
    values = {tensor.name for tensor in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in values]
    outputs = model.graph.output
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"takes {len(inputs)} inputs and gives {len(outputs)} outputs; an upscaler has one of each")
    kinds = [_type_name(entry) for entry in (inputs[0], outputs[0])]
    if any(kind not in TYPES.values() for kind in kinds):
        raise InputError(f"takes {kinds[0]} and gives {kinds[1]}; what is read are {', '.join(TYPES.values())}")
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or min(dims) < 0:
        raise InputError(f"takes an input of {len(dims)} axes; that of an upscaler is (n, channels, height, width)")
    layout: Layout = "nhwc" if dims[3] in (1, 3) and dims[1] not in (1, 3) else "nchw"
    number, channels, *sides = dims if layout == "nchw" else (dims[0], dims[3], *dims[1:3])
    if channels not in (0, 1, 3):
        raise InputError(f"takes {channels} channels; upscalers of 1 (gray or luma) and 3 (RGB) are read")
    if number > 1:
        raise InputError(f"takes {number} images at once; export it with one, or with any number")
    opset = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    texts = {entry.key: entry.value[:LONGEST_TEXT] for entry in model.metadata_props if entry.value}
    facts = Facts(channels=channels or 3, layout=layout, batched=number == 0, opset=opset, metadata=texts)
    return facts, (sides[0], sides[1])


def _type_name(entry: onnx.ValueInfoProto) -> str:
    kind = entry.type.tensor_type.elem_type
    names: dict[int, str] = {
        onnx.TensorProto.FLOAT: "float32",
        onnx.TensorProto.FLOAT16: "float16",
        onnx.TensorProto.UINT8: "uint8",
    }
    return names.get(kind, f"numbers of ONNX's type {kind}")


def _find_sizes(session: onnxruntime.InferenceSession, facts: Facts, fixed: tuple[int, int]) -> tuple[int, int]:
    """Find the scale and which sizes the network takes; returns one of these."""
    if any(fixed):
        sides = fixed[0] or fixed[1], fixed[1] or fixed[0]
        facts.input_size = sides
        facts.scale = _scale_at(session, facts, sides)
        return sides
    failure: InputError | None = None
    for facts.multiple_of in MULTIPLES:
        least = max(1, 16 // facts.multiple_of)
        sides = (least + 1) * facts.multiple_of, (2 * least + 1) * facts.multiple_of
        try:
            facts.scale = _scale_at(session, facts, sides)
        except InputError as error:
            failure = failure or error
            continue
        facts.minimum_size = _least_side(session, facts, min(sides))
        return sides
    assert failure is not None
    raise failure


def _least_side(session: onnxruntime.InferenceSession, facts: Facts, known: int) -> int:
    for side in (side for side in LEAST_SIDES if side % facts.multiple_of == 0 and side < known):
        try:
            if _scale_at(session, facts, (side, side)) == facts.scale:
                return side
        except InputError:
            continue
    return known


def _scale_at(session: onnxruntime.InferenceSession, facts: Facts, sides: tuple[int, int]) -> int:
    """Run the network at a size and return its scale. Raises InputError if it does not enlarge both sides alike."""
    what = f"{sides[1]} x {sides[0]} pixels"
    output = _try(session, facts, np.random.default_rng(0).random((1, facts.channels, *sides), np.float32), what)
    if output.ndim != 4 or output.shape[:2] != (1, facts.channels):
        raise InputError(
            f"gives the shape {output.shape} for {facts.channels} channels; an upscaler keeps the channels"
        )
    height, width = output.shape[2:]
    scale = int(height // sides[0])
    if not scale or (height, width) != (sides[0] * scale, sides[1] * scale):
        raise InputError(f"gives {width} x {height} pixels for {what}; both sides must grow by one whole number")
    if not np.isfinite(output).all():
        raise InputError("gives NaN or infinite pixels for an image from black to white")
    return scale


def _try(
    session: onnxruntime.InferenceSession, facts: Facts, image: NDArray[np.float32], what: str
) -> NDArray[np.float32]:
    try:
        return run(session, image, facts.layout, facts.peak)
    except MemoryError:
        raise
    except Exception as error:
        _raise_if_out_of_memory(error)
        raise InputError(f"fails in ONNX Runtime on {what} ({_line(error)})") from error


def _raise_if_out_of_memory(error: Exception) -> None:
    if any(text in str(error) for text in ("bad_alloc", "Failed to allocate memory", "bad_array_new_length")):
        raise MemoryError from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _find_peak(session: onnxruntime.InferenceSession, facts: Facts, sides: tuple[int, int]) -> None:
    """White is 255 in 8 bits, and where mid-gray comes out far above 1; else 1."""
    gray = np.full((1, facts.channels, *sides), 0.5, np.float32)
    level = float(_try(session, facts, gray, "a gray image").mean())
    facts.peak = 255 if level > 2 else 1


def _bytes_per_pixel(model: onnx.ModelProto, facts: Facts, sides: tuple[int, int]) -> float:
    """Estimate the memory of the widest layer, with input and output, from shapes that ONNX infers."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    values = {tensor.name for tensor in sized.graph.initializer}
    shape = (1, facts.channels, *sides) if facts.layout == "nchw" else (1, *sides, facts.channels)
    entry = next(entry for entry in sized.graph.input if entry.name not in values)
    for dim, side in zip(entry.type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = side
    for output in sized.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    except Exception:  # an estimate, of a network that does run: what cannot be inferred counts as unknown
        graph = sized.graph
    numbers = {
        each.name: int(np.prod([dim.dim_value for dim in each.type.tensor_type.shape.dim], dtype=np.float64))
        for each in (*graph.value_info, *graph.input, *graph.output)
    }
    widest = max(sum(numbers.get(name, 0) for name in (*node.input, *node.output)) for node in graph.node)
    unknown = 2 * 64 * sides[0] * sides[1]  # 64 channels, in and out, are usual
    return _SLACK * 4 * max(widest, unknown) / (sides[0] * sides[1])
