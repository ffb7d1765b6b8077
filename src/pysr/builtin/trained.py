"""Weights that ``pysr train`` wrote, opened as a model of their own: the metadata name the model that they are for."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from ..errors import WeightsError
from ..plugin import Model, Weights
from ..registry import registry
from ..upscaling.weights import read_metadata

logger = logging.getLogger("pysr")


def open_trained(path: Path) -> Model:
    """Describe an installed model with the weights of a file in place of those shipped.

    Args:
        path: A safetensors file with the metadata that ``pysr train`` writes.

    Raises:
        UnknownNameError: The model that the weights are for is not installed.
        WeightsError: The file is damaged, or says nothing sensible about itself.
    """
    metadata = read_metadata(path)
    model = registry().model(metadata.get("pysr.model", ""))
    variant, scales = metadata.get("pysr.variant", ""), metadata.get("pysr.scales", "").split()
    if variant not in ("", *model.variants) or not all(scale in map(str, model.scales) for scale in scales):
        raise WeightsError(f"{path} is for a version of {model.name} that is not installed; update its package")
    if (first := metadata.get("pysr.initial", "")) not in ("", "bicubic"):
        logger.warning("%s was trained with the pre-upsampler %s; give it for the same result", path, first)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    licence = metadata.get("pysr.licence", "")
    weights = Weights(path, digest, licence, metadata.get("pysr.data", ""))
    offered = tuple(map(int, scales)) or model.scales
    return replace(
        model,
        scales=offered,
        variants=(variant,) if variant else (),
        weights={(scale, variant): weights for scale in offered},
        scores={},
        strength_from={},
        licence=licence,
        summary=f"{model.name}, trained by recipe {metadata.get('pysr.recipe') or 'unknown'}",
    )
