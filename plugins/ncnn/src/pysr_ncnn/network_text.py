"""A network of ncnn as text (.param): parsed and checked before ncnn sees it.

ncnn allocates what the text asks for, so every size in it is held against a limit and against the file of weights.
The format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pysr.errors import WeightsError

from .plugin import MAGIC

LONGEST = 8 * 2**20  # bytes; the largest upscaler has a hundredth of it
MOST_LAYERS, MOST_BLOBS = 20_000, 100_000
LARGEST_NUMBER = 2**26  # of a parameter that is no count of weights: sizes, axes, flags
MOST_CHANNELS, LARGEST_KERNEL = 2**14, 128
_WEIGHTS = {  # which parameter counts the weights
    "Convolution": 6, "ConvolutionDepthWise": 6, "Deconvolution": 6, "DeconvolutionDepthWise": 6, "InnerProduct": 2,
}  # fmt: skip
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Layer:
    """One line of the text.

    Attributes:
        kind: The type of layer.
        inputs: Names of the blobs that it reads.
        outputs: Names of the blobs that it makes.
        numbers: Its parameters that are single numbers, by their keys.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[int, float]

    @property
    def weights(self) -> int:
        """How many weights it has."""
        return int(self.numbers.get(_WEIGHTS.get(self.kind, -1), 0))

    @property
    def magnification(self) -> float:
        """How much wider its output is than its input."""
        width = {"PixelShuffle": 0, "Interp": 2}.get(self.kind)
        if width is not None:
            return self.numbers.get(width, 1) or 1
        if self.kind in ("Convolution", "ConvolutionDepthWise", "Pooling"):
            return 1 / max(self.numbers.get(3 if self.kind != "Pooling" else 2, 1), 1)
        return max(self.numbers.get(3, 1), 1) if self.kind.startswith("Deconvolution") else 1


def read_network(path: Path, weights: Path) -> list[Layer]:
    """Parse a network's text and hold its sizes against limits and its file of weights.

    Args:
        path: The text (.param).
        weights: The file of weights (.bin).

    Raises:
        WeightsError: The text is damaged, or asks for more than the weights hold or an upscaler needs.
    """
    try:
        if path.stat().st_size > LONGEST:
            raise ValueError(f"{path.stat().st_size} bytes of text")
        lines = path.read_text(encoding="ascii").split("\n")
        layers = _layers([line for line in lines if line.strip()])
        _check_sizes(layers, weights.stat().st_size)
    except (ValueError, OverflowError) as error:
        reason = "it is not plain text" if isinstance(error, UnicodeDecodeError) else error
        raise WeightsError(f"{path} is no sound network of ncnn ({reason}); use another copy of it") from None
    return layers


def _layers(lines: list[str]) -> list[Layer]:
    if not lines or lines[0].strip() != MAGIC.decode():
        raise ValueError("its first line is not 7767517")
    counts = [_whole(text) for text in lines[1].split()] if len(lines) > 1 else []
    if len(counts) != 2 or not 1 <= counts[0] <= MOST_LAYERS or not 1 <= counts[1] <= MOST_BLOBS:
        raise ValueError(f"its second line is {lines[1][:40]!r}" if len(lines) > 1 else "it ends after its first line")
    if len(lines) - 2 != counts[0]:
        raise ValueError(f"it announces {counts[0]} layers and has {len(lines) - 2}")
    layers = [_layer(line) for line in lines[2:]]
    made = [blob for layer in layers for blob in layer.outputs]
    if len(made) != counts[1] or len(set(made)) != len(made):
        raise ValueError(f"it announces {counts[1]} blobs and makes {len(set(made))}")
    known: set[str] = set()
    for layer in layers:
        if missing := [blob for blob in layer.inputs if blob not in known]:
            raise ValueError(f"{missing[0]!r} is read before it is made")
        known.update(layer.outputs)
    return layers


def _layer(line: str) -> Layer:
    words = line.split()
    inputs, outputs = (_whole(word) for word in words[2:4]) if len(words) >= 4 else (-1, -1)
    names, parameters = words[4 : 4 + max(inputs, 0) + max(outputs, 0)], words[4 + max(inputs, 0) + max(outputs, 0) :]
    if min(inputs, outputs) < 0 or len(names) != inputs + outputs:
        raise ValueError(f"the line {line[:60]!r}")
    numbers: dict[int, float] = {}
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if not equals or abs(_whole(key)) > LARGEST_NUMBER:
            raise ValueError(f"the parameter {parameter[:40]!r}")
        values = [float(each) for each in value.split(",")]
        if not all(abs(each) <= LARGEST_NUMBER or each in (-233, 2**31 - 1) for each in values):  # "not given"
            raise ValueError(f"the parameter {parameter[:40]!r}")
        if _whole(key) >= 0:
            numbers[_whole(key)] = values[0]
        elif values[0] != len(values) - 1:
            raise ValueError(f"the parameter {parameter[:40]!r}")
    return Layer(words[0], tuple(names[:inputs]), tuple(names[inputs:]), numbers)


def _whole(word: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", word):
        raise ValueError(f"{word[:20]!r} in place of a number")
    return int(word)


def _check_sizes(layers: list[Layer], size: int) -> None:
    counted = 0
    for layer in layers:
        if layer.kind in _WEIGHTS:
            kernel = [layer.numbers.get(key, 1) for key in ((1, 11) if layer.kind != "InnerProduct" else ())]
            if not 1 <= layer.numbers.get(0, 0) <= MOST_CHANNELS or any(side > LARGEST_KERNEL for side in kernel):
                raise ValueError(f"{layer.kind} of {layer.numbers.get(0, 0):.0f} channels")
            if layer.weights < layer.numbers[0]:
                raise ValueError(f"{layer.kind} with {layer.weights} weights")
        elif layer.kind == "PReLU" and not 1 <= layer.numbers.get(0, 0) <= MOST_CHANNELS:
            raise ValueError(f"PReLU of {layer.numbers.get(0, 0):.0f} channels")
        elif layer.kind == "MemoryData":
            sides = [max(layer.numbers.get(key, 0), 1) for key in (0, 1, 11, 2)]
            counted += int(sides[0] * sides[1] * sides[2] * sides[3]) * _FLOAT_BYTES
        if not 1 / 64 <= layer.magnification <= 64:
            raise ValueError(f"{layer.kind} that enlarges {layer.magnification:g} times")
        counted += layer.weights  # at least a byte each
    if counted > size:
        raise ValueError(f"{counted} bytes of weights where the file beside it has {size}")


def operations_per_pixel(layers: list[Layer]) -> float:
    """Count the floating-point operations per pixel of input."""
    return sum(2 * layer.weights * area for layer, area in zip(layers, _areas(layers), strict=True))


def bytes_per_pixel(layers: list[Layer]) -> float:
    """Estimate the memory of a run in light mode per pixel of input: all blobs that are still needed at once."""
    last_use = {blob: number for number, layer in enumerate(layers) for blob in layer.inputs}
    channels: dict[str, float] = {}
    live: dict[str, float] = {}
    peak = 0.0
    for number, (layer, area) in enumerate(zip(layers, _areas(layers), strict=True)):
        made = _channels(layer, [channels[blob] for blob in layer.inputs])
        channels.update(dict.fromkeys(layer.outputs, made))
        if layer.kind == "Split":  # all outputs are one memory, which lasts as long as the last of them
            live[max(layer.outputs, key=lambda blob: last_use.get(blob, 0))] = live.pop(layer.inputs[0], 0)
        else:
            live.update(dict.fromkeys(layer.outputs, made * area * _FLOAT_BYTES))
        peak = max(peak, sum(live.values()))
        for blob in layer.inputs:
            if last_use[blob] == number:
                live.pop(blob, None)
    return peak


def _channels(layer: Layer, before: list[float]) -> float:
    if layer.kind in _WEIGHTS:
        return layer.numbers[0]
    if layer.kind == "PixelShuffle":
        return before[0] / layer.magnification**2
    return sum(before) if layer.kind == "Concat" else max(before, default=3)


def _areas(layers: list[Layer]) -> list[float]:
    """The area of each layer's output per pixel of input."""
    sides: dict[str, float] = {}
    areas = []
    for layer in layers:
        side = max((sides[blob] for blob in layer.inputs), default=1) * layer.magnification
        sides.update(dict.fromkeys(layer.outputs, side))
        areas.append(side**2)
    return areas
