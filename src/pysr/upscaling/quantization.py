"""Networks in 8-bit integers: calibrated on images, and refused if they lose too much on them."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import FilePath
from ..errors import InputError
from ..files.datasets import read_planes
from ..files.listing import image_files
from ..imaging.colour import luma
from ..imaging.resize import resize
from .openvino_network import OpenVINONetwork
from .runner import PreparedNetwork
from .settings import file_digest
from .stage import Stage

logger = logging.getLogger("pysr")

LARGEST_LOSS = 0.05  # dB that the integers may cost
_SIDE = 192  # largest side of the reduced images, in pixels; the centre of larger ones is used
_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_MOST_KEPT = 3  # convolutions beside the first that may stay in floats


class Listener(PreparedNetwork):
    """A network that keeps the inputs it is given."""

    def __init__(self, runner: PreparedNetwork) -> None:
        self.__dict__.update(runner.__dict__)
        self._runner = runner
        self.heard: list[Tensor] = []

    def __call__(self, image: Tensor) -> Tensor:
        self.heard.append(image.float().contiguous())
        return self._runner(image)


def quantized(stage: Stage, files: Sequence[Path]) -> Stage:
    """Compute a stage's network in 8-bit integers, but for its first convolution and those that lose most by it.

    Whatever is no convolution stays in floats, too: rounding what residual networks carry from block to block costs
    SRResNet 0.1 dB, and rounding the image to which the output is limited costs VDSR 0.035 dB.

    Args:
        stage: A stage whose network OpenVINO computes in floats; one whose network has no parameters stays as it is.
        files: Image files; they are reduced by bicubic and enlarged again, to calibrate the network and to check it.

    Returns:
        The stage with its network in int8.

    Raises:
        InputError: NNCF is not installed, a file cannot be read, or the mean loss exceeds 0.05 dB of luma PSNR.
    """
    network = stage.runner
    if not isinstance(network, OpenVINONetwork):
        return stage  # a network without parameters
    if find_spec("nncf") is None:
        raise InputError("precision 'int8' needs NNCF, which is not installed; pip install 'pysr-sdk[openvino]'")
    if len(convolutions := _convolutions(network.model)) < 3:
        raise InputError(f"{stage.model.name} has no convolutions to compute in int8; use precision='auto'")
    pairs = [_pair(file, stage) for file in files]
    digest = hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()  # in each line of a manifest
    listener = Listener(network.with_model(network.model, torch.float32))
    exact = [replace(stage, runner=listener).process(low) for low, _ in pairs]
    best = [_psnr(own, high) for own, (_, high) in zip(exact, pairs, strict=True)]
    integers = _in_integers(network.model, listener.heard, convolutions[0])

    def kept(floats: Sequence[str]) -> tuple[float, Stage]:
        """The network with these in floats, and what it loses."""
        runner = network.with_model(_with_floats(integers, floats), torch.int8)
        result = replace(stage, runner=runner, calibration=digest)
        losses = (own - _psnr(result.process(low), high) for own, (low, high) in zip(best, pairs, strict=True))
        return sum(losses) / len(pairs), result

    floats: list[str] = []
    loss, result = kept(floats)
    while loss > LARGEST_LOSS and len(floats) < min(_MOST_KEPT, len(convolutions) - 2):
        candidates = [name for name in convolutions[1:] if name not in floats]
        floats.append(_most_harmful(candidates, lambda names: kept([*floats, *names])[0]))
        loss, result = kept(floats)
    logger.debug(
        "%s in int8 loses %.3f dB on %d images, with %d convolutions in floats",
        *(stage.model.name, loss, len(pairs), len(floats) + 1),
    )
    if loss > LARGEST_LOSS:
        raise InputError(
            f"{stage.model.name} in int8 loses {loss:.3f} dB on the {len(pairs)} images of its calibration, and"
            f" {LARGEST_LOSS} are allowed; use precision='auto'"
        )
    return result


def calibration_files(precision: str, calibration: FilePath | None, backend: str) -> list[Path]:
    """Return the image files on which "int8" is calibrated; none for other precisions.

    Raises:
        InputError: The options do not go together, or the folder has no images.
    """
    if precision != "int8":
        if calibration is not None:
            raise InputError(f"calibration is for precision 'int8', not {precision!r}; leave it out")
        return []
    if calibration is None:
        raise InputError("precision 'int8' needs images to calibrate the network on; give calibration=, a folder")
    if backend == "torch":
        raise InputError("precision 'int8' is computed by OpenVINO; leave backend='torch' out")
    return image_files(calibration)


def _pair(file: Path, stage: Stage) -> tuple[Tensor, Tensor]:
    """Read an image and reduce it: (1, C, h, w) in 8 bits, and (1, C, h * scale, w * scale)."""
    high = read_planes(file)
    multiple = stage.scale * stage.model.multiple_of
    sides = [min(side // multiple * multiple, _SIDE * stage.scale // multiple * multiple) for side in high.shape[1:]]
    if min(sides) < multiple * 8:
        raise InputError(f"{file} is too small to calibrate on; give larger images")
    top, left = ((whole - side) // 2 for whole, side in zip(high.shape[1:], sides, strict=True))
    high = high[None, :, top : top + sides[0], left : left + sides[1]].contiguous()
    return (resize(high, Fraction(1, stage.scale)).clamp(0, 1) * 255).round() / 255, high


def _convolutions(model: Any) -> list[str]:
    """Return the names of an ``openvino.Model``'s convolutions, in the order in which they are computed."""
    return [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in _CONVOLUTIONS]


def _in_integers(model: Any, inputs: Sequence[Tensor], first: str) -> Any:
    import nncf

    nncf.set_log_level(logging.ERROR)
    others = {node.get_type_name() for node in model.get_ordered_ops()} - {*_CONVOLUTIONS, "Constant"}
    return nncf.quantize(
        model,
        nncf.Dataset([values.numpy() for values in inputs]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=[first], types=sorted(others), validate=False),
    )


def _with_floats(model: Any, floats: Sequence[str]) -> Any:
    """Return a copy of a model in integers in which these convolutions read what comes in unrounded."""
    model = model.clone()
    for node in model.get_ordered_ops():
        rounding = node.input_value(0).get_node() if node.get_friendly_name() in floats else None
        if rounding and rounding.get_type_name() == "FakeQuantize":
            node.input(0).replace_source_output(rounding.input_value(0))
    return model


def _most_harmful(convolutions: Sequence[str], loss_without: Callable[[Sequence[str]], float]) -> str:
    """Return the convolution whose integers lose most, or one of several, by halving."""
    while len(convolutions) > 1:
        half = len(convolutions) // 2
        convolutions = min(convolutions[:half], convolutions[half:], key=loss_without)
    return convolutions[0]


def _psnr(found: Tensor, true: Tensor) -> float:
    """PSNR in dB of the luma of 8-bit results."""
    off = luma((found.clamp(0, 1) * 255).round() / 255) - luma(true)
    return -10 * math.log10(float(off.square().mean()))
