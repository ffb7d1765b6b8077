"""What is known about a model, in one place: for `pysr info`."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..ops.hardware import choose_device, choose_precision
from ..plugin import Model
from ..registry import registry
from .chain import validate_choice
from .loading import make_stage, probe_sides
from .model_files import find_model, reader_of

_SHOWN_AS_THEY_ARE = (
    "name", "summary", "paper", "aliases", "scales", "variants", "colour", "domain", "made_for", "runtime",
    "receptive_field", "multiple_of", "minimum_size", "licence",
)  # fmt: skip


def model_facts(name: str | os.PathLike[str], scale: int | None = None) -> dict[str, Any]:
    """Collect what is known about a model.

    Args:
        name: As in `pysr.load`, for one model.
        scale: The scale at which its network is counted; by default its first.

    Returns:
        The fields of its description, as JSON types; ``plugin``, who provides it; ``file`` and ``sha256`` of a model
        file; ``parameters`` of the network at that scale, and ``flops_per_megapixel``, its floating-point operations
        for a million pixels of output, both None where they cannot be counted; ``computed_by``, ``precision`` and
        ``device``, what `pysr.load` chooses for it here; ``weights``; and ``scores``, PSNR in dB on Set5 by scale.

    Raises:
        PysrError: As `pysr.load`.
    """
    model = find_model(name)
    scale = validate_choice("scale", scale, model.scales, of=model.name)
    facts = {field: getattr(model, field) for field in _SHOWN_AS_THEY_ARE}
    facts["plugin"] = registry().owner(model.name)
    if model.file:
        reader = reader_of(model.file)
        with model.file.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        facts |= {"plugin": reader and registry().reader_owner(reader.name), "file": str(model.file), "sha256": digest}
    facts |= {"counted_at": scale, "parameters": None, "flops_per_megapixel": None, "computed_by": model.runtime}
    if model.runtime == "torch":
        facts |= _found_out(model, scale)
    return facts | {"weights": _weights(model), "scores": dict(model.scores)}


def _weights(model: Model) -> list[dict[str, Any]]:
    found = []
    for key, entry in model.weights.items():
        scale, variant = key if isinstance(key, tuple) else (key, None)
        about = {"sha256": entry.sha256, "licence": entry.licence, "trained_on": entry.trained_on}
        found.append({"scale": scale, "variant": variant or None, **about})
    return found


def _found_out(model: Model, scale: int) -> dict[str, Any]:
    """Count the network's parameters and its operations per megapixel of output, and find out what computes it here."""
    with torch.device("cpu"), torch.no_grad():
        network = model.network(scale, model.variants[0] if model.variants else None).eval()
        facts: dict[str, Any] = {"parameters": sum(parameter.numel() for parameter in network.parameters())}
        if model.stochastic:
            return facts
        facts["flops_per_megapixel"] = _flops_per_megapixel(model, scale, network)
    device = choose_device("auto")
    runner = make_stage(model, scale, network, (device, choose_precision("auto", device)), backend="auto").runner
    facts["computed_by"] = "pysr's own kernel" if runner.resampler else runner.runtime
    return facts | {"precision": str(runner.dtype).removeprefix("torch."), "device": str(runner.device)}


def _flops_per_megapixel(model: Model, scale: int, network: nn.Module) -> float:
    height, width = probe_sides(model)
    with FlopCounterMode(display=False) as counter:
        network(torch.full((1, model.channels, height, width), 0.5))
    enlarged = 1 if registry().enlarges_first(model) else scale**2
    return 1e6 * float(counter.get_total_flops()) / (height * width * enlarged)
