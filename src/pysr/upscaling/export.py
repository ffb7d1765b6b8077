"""Export: a model's network as an ONNX file, with what pysr does around it in the file's metadata."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from .. import __version__
from ..atomic import FilePath, atomic_write, check_place
from ..errors import InputError, PluginError, PysrError
from ..plugin import Weights
from .auto import AutoUpscaler
from .stage import Stage
from .upscaler import Upscaler

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18  # the one that torch's exporter writes itself; others are converted from it
TOLERANCE = 1e-4  # of the levels 0 to 1: less than a thirtieth of an 8-bit level
_TRACED_SIDES = 24, 36  # pixels, times `Model.multiple_of`; unequal, so that no side is taken for the other
_CHECKED_SIDES = (24, 36), (17, 31), (40, 21)


def export(upscaler: Upscaler, target: FilePath) -> float:
    """Write the network of a loaded model as ONNX, for other programs, and for pysr with the package ``pysr-onnx``.

    The graph takes ``input``, (n, C, h, w) float32 in [0, 1], of any size that the model allows, and gives ``output``.
    C is 3 for RGB and 1 for luma or single channels. Preprocessors and everything else that pysr needs to know are in
    the metadata, as text under keys that begin with ``pysr.``: see docs/onnx.md. Before the file appears, ONNX Runtime
    computes three sizes by it, which must equal what torch computes to 1e-4.

    Args:
        upscaler: One model, loaded with ``precision="float32"``.
        target: The file to write.

    Returns:
        The largest difference between ONNX Runtime and torch, of values from 0 to 1.

    Raises:
        InputError: The upscaler holds something that a graph cannot, or the file cannot be written.
        PluginError: torch cannot export the network, or the graph computes something else.
        PysrError: A package is missing.
    """
    stage = _exportable_stage(upscaler)
    check_place(target)
    network = copy.deepcopy(stage.runner.network).to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model = _graph(network, stage)
    _describe(model, stage)
    data = model.SerializeToString()
    difference = _largest_difference(network, data, stage)
    if not difference <= TOLERANCE:
        raise PluginError(
            f"the exported network of {stage.model.name!r} of {stage.owner} differs from torch by {difference:.1e}, "
            f"more than {TOLERANCE:g}: its forward does something else while it is exported"
        )
    with atomic_write(target) as file:
        file.write(data)
    return difference


def _exportable_stage(upscaler: Upscaler) -> Stage:
    """Return the only stage of an upscaler. Raises InputError for what a graph cannot hold."""
    if isinstance(upscaler, AutoUpscaler):
        raise InputError("'auto' is a choice among models, which cannot be exported; name one model")
    name = upscaler.model.name
    if (runtime := upscaler.model.runtime) != "torch":
        raise InputError(f"{name} is computed by {runtime}, and only networks of torch can be exported; use its file")
    if upscaler.model.stochastic:
        raise InputError(
            f"{name} draws its result at random, value by value, each from those before it, which a graph without state"
            " cannot do; choose a model that draws nothing"
        )
    if len(upscaler._stages) > 1:
        raise InputError(f"{name} is several models, each with its own network; export them one by one")
    stage = upscaler._stages[0].stage
    if stage.ensemble or upscaler._match_histogram:
        raise InputError(f"a file holds only the network of {name}; load it without ensemble and match_histogram")
    if any(step.spec.name not in stage.model.preprocess for step in stage.steps):
        raise InputError(f"a file holds only the network of {name}; load it without pre_upsampler")
    if stage.runner.dtype != torch.float32:
        raise InputError(f"{name} was loaded in {upscaler.precision}; load it with precision='float32' to export it")
    return stage


def _sides(sides: tuple[int, int], stage: Stage) -> tuple[int, int]:
    return sides[0] * stage.model.multiple_of, sides[1] * stage.model.multiple_of


def _random_input(count: int, sides: tuple[int, int], stage: Stage) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sides[0])
    return torch.rand(count, stage.model.channels, *_sides(sides, stage), generator=generator, device="cpu")


def _graph(network: nn.Module, stage: Stage) -> ModelProto:
    """Trace the network with sides and batch of any size."""
    try:
        import onnx  # noqa: F401 (torch needs both, and says so less plainly)
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PysrError(
            f"export needs packages that are not installed ({error}): pip install 'pysr-sdk[onnx]'"
        ) from None
    name, multiple_of = stage.model.name, stage.model.multiple_of
    height, width = torch.export.Dim("h"), torch.export.Dim("w")
    axes = {
        0: torch.export.Dim("n"),
        2: height if multiple_of == 1 else multiple_of * height,
        3: width if multiple_of == 1 else multiple_of * width,
    }
    image = _random_input(2, _TRACED_SIDES, stage)
    try:
        with torch.no_grad(), torch.device("cpu"), _quiet():
            network(image)  # what a network computes once and keeps is then no part of the trace
            program = torch.onnx.export(
                network,
                (image,),
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=(axes,),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch's exporter raises errors of many types, also those of the network
        reason = str(error.__cause__ or error).splitlines()[0]
        raise PluginError(f"torch cannot export the network of {name!r} of {stage.owner} ({reason})") from error
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter logs and warns about itself: all of it concerns its authors, not ours."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._guards", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _describe(model: ModelProto, stage: Stage) -> None:
    """Note in the file what it is, and remove the paths of source files that torch notes in it."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    del model.metadata_props[:]
    for key, value in _facts(stage).items():
        model.metadata_props.add(key=f"pysr.{key}", value=value)
    around = [f"{step.spec.name}: {step.spec.summary}." for step in stage.steps]
    graph.name = stage.model.name
    model.doc_string = " ".join([f"{stage.model.summary}.", "Values are in [0, 1].", *around])


def _facts(stage: Stage) -> dict[str, str]:
    """Return what an exported file says about its model, as text by key; empty values are left out."""
    model = stage.model
    weights, field = _shipped_weights(stage), model.receptive_field
    facts = {
        "model": model.name,
        "summary": model.summary,
        "scale": str(stage.scale),
        "colour": model.colour,
        "preprocess": " ".join(model.preprocess),
        "receptive_field": "" if field is None else str(field),
        "multiple_of": str(model.multiple_of),
        "domain": model.domain,
        "made_for": model.made_for,
        "licence": weights.licence if weights else model.licence,
        "trained_on": weights.trained_on if weights else "",
        "paper": model.paper,
        "versions": f"pysr {__version__}, torch {torch.__version__}, opset {OPSET}",
    }
    return {key: value for key, value in facts.items() if value}


def _shipped_weights(stage: Stage) -> Weights | None:
    """Return the description of the weights that the network holds; None if they are the user's own, or mixed."""
    own = stage.runner.network.state_dict()
    for key, weights in stage.model.weights.items():
        if (key if isinstance(key, int) else key[0]) == stage.scale:
            shipped = load_file(weights.file)
            if shipped.keys() == own.keys() and all(torch.equal(shipped[name].float(), own[name]) for name in own):
                return weights
    return None


def _largest_difference(network: nn.Module, data: bytes, stage: Stage) -> float:
    """Compare the graph in ONNX Runtime with the network in torch; NaN if either gives NaN."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    differences = []
    for count, sides in enumerate(_CHECKED_SIDES, 1):
        image = _random_input(count, sides, stage)
        with torch.no_grad(), torch.device("cpu"):
            wanted = network(image).numpy()
        (output,) = session.run(None, {"input": image.numpy()})
        if output.shape != wanted.shape:
            return float("inf")
        differences.append(np.abs(output - wanted).max())
    return float(np.max(differences))
