"""A network of ncnn as pysr's description of a model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pysr.errors import InputError
from pysr.plugin import Model, examine

from .network_text import bytes_per_pixel, operations_per_pixel, read_network

if TYPE_CHECKING:
    from torch import nn

REVISION = 1  # of the facts: raised when `examine_file` finds out more
_SLACK = 2.5  # on the memory of blobs: workspace of fast convolutions


def open_file(path: Path) -> Model:
    """Describe the model of a .param file and the .bin file of the same name beside it.

    Args:
        path: Either of them.

    Raises:
        InputError: One of them is missing, or it is no upscaler of 1 or 3 channels.
        WeightsError: It is damaged.
    """
    text, weights = path.with_suffix(".param"), path.with_suffix(".bin")
    if not weights.is_file():
        raise InputError(f"{text} needs its weights, {weights.name}, beside it; get that file as well")
    layers = read_network(text, weights)
    versions = f"ncnn{version('ncnn')}"
    examined = examine([text, weights], "pysr_ncnn.network:examine_file", f"{versions}-{REVISION}")
    facts = examined.facts
    build = _Build(text, weights)
    from pysr.plugin import probe  # imports torch, which a file that is refused does not need

    found = probe(
        build(),
        channels=facts["channels"],
        scale=facts["scale"],
        multiple_of=facts["multiple_of"],
        flops_per_pixel=operations_per_pixel(layers),
        key=f"{examined.digest}-{versions}",
    )
    what = "restores" if facts["scale"] == 1 else f"enlarges {facts['scale']} times"
    return Model(
        path.stem,
        (facts["scale"],),
        build,
        f"Network of ncnn with {len(layers)} layers, which {what}",
        colour="rgb" if facts["channels"] == 3 else "any",
        receptive_field=found.receptive_field,
        multiple_of=facts["multiple_of"],
        bytes_per_pixel=_SLACK * bytes_per_pixel(layers),
        runtime="ncnn",
    )


@dataclass(frozen=True)
class _Build:
    """Loads a network anew for each upscaler."""

    text: Path
    weights: Path

    def __call__(self, scale: int = 0, variant: str | None = None) -> nn.Module:
        from .network import NcnnNetwork

        return NcnnNetwork(self.text, self.weights).eval()
