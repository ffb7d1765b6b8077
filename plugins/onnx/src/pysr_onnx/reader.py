"""ONNX files as models: what `pysr_onnx.probe` found, and what ``pysr export`` noted in the file."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pysr.errors import WeightsError
from pysr.plugin import Model, examine

from .network import OnnxNetwork

PROBE_VERSION = 1  # to be raised when `pysr_onnx.probe` finds out something else about the same file
Colour = Literal["rgb", "luma", "any"]
Domain = Literal["photo", "face", "digit", "style"]
_COLOURS: dict[str, Colour] = {"rgb": "rgb", "luma": "luma", "any": "any"}
_DOMAINS: dict[str, Domain] = {"photo": "photo", "face": "face", "digit": "digit", "style": "style"}
_LICENCE_KEYS = ("pysr.licence", "licence", "license", "License", "LICENSE")
_WIDEST_FIELD = 10_000  # pixels; wider ones are none


def open_model(path: Path) -> Model:
    """Describe the network of an ONNX file.

    Args:
        path: The file. It is checked, and its network tried, in a process of its own.

    Raises:
        WeightsError: It is damaged.
        InputError: It is no upscaler of 1 or 3 channels, or uses what is not read.
    """
    facts = _examined(path)
    texts = {key: _printable(value) for key, value in facts["metadata"].items()}
    colour, preprocess, scale = _surroundings(path, texts, facts)
    field = texts.get("pysr.receptive_field", "")
    network = partial(_network, path.absolute(), layout=facts["layout"], peak=facts["peak"], batched=facts["batched"])
    return Model(
        name=path.stem,
        scales=(scale,),
        network=network,
        summary=texts.get("pysr.summary") or f"A network of ONNX (opset {facts['opset']})",
        colour=colour,
        domain=_DOMAINS.get(texts.get("pysr.domain", ""), "photo"),
        made_for="compressed" if texts.get("pysr.made_for") == "compressed" else "clean",
        preprocess=preprocess,
        receptive_field=int(field) if field.isdecimal() and int(field[:9]) <= _WIDEST_FIELD else None,
        multiple_of=facts["multiple_of"],
        minimum_size=facts["minimum_size"],
        input_size=tuple(facts["input_size"]) if facts["input_size"] else None,
        bytes_per_pixel=facts["bytes_per_pixel"],
        licence=next((texts[key] for key in _LICENCE_KEYS if key in texts), ""),
        paper=texts.get("pysr.paper", ""),
        runtime="ONNX Runtime",
    )


def _network(path: Path, scale: int, variant: str | None, **found: Any) -> OnnxNetwork:
    return OnnxNetwork(path, **found)


def _surroundings(path: Path, texts: dict[str, str], facts: dict[str, Any]) -> tuple[Colour, tuple[str, ...], int]:
    """The colour, the preprocessors and the scale with these: those noted in the file, if they fit the network."""
    channels, scale = facts["channels"], facts["scale"]
    if "pysr.colour" not in texts:
        return "any" if channels == 1 else "rgb", (), scale
    colour, noted = _COLOURS.get(texts["pysr.colour"]), texts.get("pysr.scale", "")
    steps = tuple(texts.get("pysr.preprocess", "").split())
    whole = int(noted) if noted.isdecimal() and len(noted) < 3 else 0
    if not colour or (colour == "rgb") != (channels == 3) or not whole or scale not in (1, whole):
        raise WeightsError(
            f"{path} is noted as x{noted[:9]} of {texts['pysr.colour'][:9]}, but its network has the scale {scale} and "
            f"{channels} channels; export it again"
        )
    return colour, steps, whole


def _printable(text: str) -> str:
    """Text from anyone, without what could control a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _examined(path: Path) -> dict[str, Any]:
    """Return what `pysr_onnx.probe` finds out about a file, in a process with limits."""
    key = f"onnx-{PROBE_VERSION}-{version('onnxruntime')}"
    facts = examine([path], "pysr_onnx.probe:examine_file", key).facts
    if beside := facts.get("beside"):
        facts = examine([path, *map(Path, beside)], "pysr_onnx.probe:examine_file", key).facts
    return facts
