"""`Settings`: what decides the pixels of a result, besides the image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..files.output import DEFAULT, Output
from ..files.remote import Fetched
from ..files.zarr_store import is_store, stored_files
from ..plugin import Weights

if TYPE_CHECKING:
    from .stage import Stage
    from .upscaler import Upscaler

_NO_CHANGE = {"format", "in_place"}  # of `Output`: the name of the file says the one, and the other changes no pixel
_CUTS = ("patch", "mode", "overlap")  # of `Tiling`


@dataclass(frozen=True)
class Settings:
    """What decides the pixels of a result, besides the image.

    Attributes:
        model: Name of the model, or of the chain.
        scale: Enlargement per side.
        precision: As `Upscaler.precision`.
        weights: The sha256 of each file of weights, in the order of the models, and of those that a strength mixes in.
        options: Whatever else was chosen, by name, as JSON has it.
        version: Of pysr.
        device: Where it was computed; this decides nothing.
    """

    model: str
    scale: int
    precision: str
    weights: list[str]
    options: dict[str, Any]
    version: str
    device: str = field(default="", compare=False)


def settings_of(upscaler: Upscaler, output: Output) -> Settings:
    """Describe what decides the pixels of an upscaler's results.

    Args:
        upscaler: The one that is chosen for an image.
        output: What the files are to be like.
    """
    stages = [tiled.stage for tiled in upscaler._stages]
    tiling = upscaler._stages[0].tiling
    defaults = type(tiling)()
    options = {
        known.name: getattr(output, known.name)
        for known in fields(Output)
        if known.name not in _NO_CHANGE and getattr(output, known.name) != getattr(DEFAULT, known.name)
    }
    options |= {name: getattr(tiling, name) for name in _CUTS if getattr(tiling, name) != getattr(defaults, name)}
    if calibration := [stage.calibration for stage in stages if stage.calibration]:
        options["calibration"] = calibration[0]  # all stages have the same
    if upscaler._match_histogram:
        options["match_histogram"] = True
    plain: dict[str, Any] = json.loads(json.dumps(options, default=str))  # as they are read again: lists for tuples
    weights = [digest for stage in stages for digest in _digests(stage)]
    return Settings(
        upscaler.model.name, upscaler.scale, upscaler.precision, weights, plain, __version__, str(upscaler.device)
    )


def file_digest(path: Path | Fetched) -> str:
    """Return a file's sha256, in lower-case hex; of a Zarr store, that of all its files and their names."""
    if isinstance(path, Fetched):
        path.seek(0)
        return hashlib.file_digest(path, "sha256").hexdigest()
    if is_store(path):
        digest = hashlib.sha256()
        for entry in stored_files(path):
            inner = Path(entry.path)
            digest.update(f"{inner.relative_to(path)} {file_digest(inner)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(stage: Stage) -> Iterator[str]:
    """Yield the digests of a stage's weights, those of its pre-upsampler first."""
    for step in stage.steps:
        if inner := getattr(step.impl, "stage", None):
            yield from _digests(inner)
    found = stage.weights or stage.model.file
    if isinstance(found, Weights):
        yield found.sha256
    elif found:
        status = found.stat()
        yield _digest_once(found, status.st_mtime_ns, status.st_size)
    if stage.mixed_in:
        yield stage.mixed_in


@lru_cache(16)
def _digest_once(path: Path, *_: int) -> str:
    return file_digest(path)
