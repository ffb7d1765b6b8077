"""A model file as pysr's description of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pysr.errors import InputError
from pysr.plugin import Model, examine

from .library import spandrel_version
from .safetensors_header import is_safetensors, read_header

if TYPE_CHECKING:
    from torch import nn

CONVERTED = "weights.safetensors"  # in the folder of what was examined
REVISION = 1  # of the facts: raised when `examining` finds out more

# Windows of attention, or pooling over the image: how far they see has no end worth looking for.
SEE_THE_WHOLE_IMAGE = {
    "ATD", "AuraSR", "CRAFT", "DAT", "DITN", "DRCT", "FFTformer", "GRL", "HAT", "HVICIDNet", "IPT", "KBNet",
    "MixDehazeNet", "MMRealSR", "NAFNet", "OmniSR", "RCAN", "RetinexFormer", "RGT", "SCUNet", "Swin2SR", "SwinIR",
    "Uformer",
}  # fmt: skip


def open_file(path: Path) -> Model:
    """Describe the model of a .pth, .pt or safetensors file.

    Raises:
        InputError: It holds no upscaler or restorer of 1 or 3 channels that spandrel knows.
        WeightsError: It is damaged.
        PluginError: spandrel is not installed.
    """
    if is_safetensors(path):
        read_header(path)  # before a process is started for it
    versions = f"spandrel{spandrel_version()}"
    opened = examine([path], "pysr_spandrel.examining:examine_file", f"{versions}-{REVISION}")
    facts = opened.facts
    _refuse_others(facts, path)
    converted = opened.folder / CONVERTED
    build = _Build(converted if converted.exists() else path, path)
    network = build()
    size = {"multiple_of": facts["multiple_of"], "minimum_size": max(facts["minimum"], 1)}
    bounded = facts["architecture"] not in SEE_THE_WHOLE_IMAGE and facts["tiling"] == "SUPPORTED"
    from pysr.plugin import probe  # imports torch, which a file that is refused does not need

    found = probe(
        network,
        channels=facts["inputs"],
        scale=facts["scale"],
        bounded=bounded,
        key=f"{opened.digest}-{versions}",
        **size,
    )
    tags = f" ({', '.join(facts['tags'])})" if facts["tags"] else ""
    what = "restores" if facts["scale"] == 1 else f"enlarges {facts['scale']} times"
    return Model(
        path.stem,
        (facts["scale"],),
        build,
        f"{facts['called']}{tags}, which {what}",
        colour="rgb" if facts["inputs"] == 3 else "any",
        receptive_field=found.receptive_field,
        bytes_per_pixel=found.bytes_per_pixel,
        needs_float32=found.needs_float32 or not facts["bfloat16"],
        licence=facts["licence"],
        **size,
    )


def _refuse_others(facts: dict[str, Any], path: Path) -> None:
    name, channels = facts["called"], (facts["inputs"], facts["outputs"])
    others = {"Inpainting": "fills in missing parts of an image", "FaceSR": "restores faces cut out and aligned"}
    if facts["purpose"] in others:
        raise InputError(f"{path} is {name}, which {others[facts['purpose']]}; pysr takes upscalers and restorers")
    if channels not in ((1, 1), (3, 3)):
        raise InputError(
            f"{path} is {name} from {channels[0]} to {channels[1]} channels; pysr takes networks from 3 to 3, or 1 to 1"
        )


@dataclass(frozen=True)
class _Build:
    """Builds the network of a file, with its weights.

    Attributes:
        weights: Its tensors as safetensors.
        file: The file, for messages.
    """

    weights: Path
    file: Path

    def __call__(self, scale: int = 0, variant: str | None = None) -> nn.Module:
        from .network import build

        return build(self.weights, str(self.file))
