"""What is found out about a model file in a process with limits, which `pysr.plugin.examine` starts.

A pickle is read as data (``weights_only``), never run, and its tensors are written as safetensors; then spandrel says
what they are.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pysr.errors import InputError, WeightsError

from .library import describe, spandrel
from .reader import CONVERTED
from .safetensors_header import is_safetensors, read_header

MOST_ENTRIES = 100_000  # of an archive
_UNWRAP = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")  # spandrel's order
_LICENCES = ("license", "licence", "modelspec.license")

spandrel()  # imported before the limits begin


def examine_file(file: Path, folder: Path) -> dict[str, Any]:
    """Open a .pth, .pt or safetensors file and return the facts about its model.

    Args:
        file: The model file.
        folder: Where `CONVERTED` is written with the tensors of a pickle.

    Raises:
        PysrError: It holds no model that pysr can use.
    """
    torch.set_num_threads(1)
    if is_safetensors(file):
        metadata = {key.lower(): value for key, value in read_header(file).items()}
        tensors = load_file(file)
    else:
        loaded = _read_pickle(file)
        metadata = _texts(loaded)
        tensors = _state_dict(loaded, file)
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / CONVERTED)
        del loaded
    _check_numbers(tensors, file)
    licence = next((metadata[key] for key in _LICENCES if metadata.get(key)), "")[:500]
    return _facts(describe(tensors, str(file))) | {"licence": licence}


def _read_pickle(file: Path) -> Any:
    with file.open("rb") as opened:
        if opened.read(4) == b"PK\x03\x04":
            _check_archive(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = str(error).partition("GLOBAL ")[2].split(" ")[0] or str(error).partition(" type ")[2].split(",")[0]
        holds = f"more than tensors ({named[:80]})" if named else "no plain tensors"
        raise WeightsError(
            f"{file} is a pickle that holds {holds}, and reading these could run code; use the model as safetensors"
        ) from None


def _check_archive(file: Path) -> None:
    """Refuse what torch.save never writes: compressed entries, and TorchScript, which is a program."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise WeightsError(f"{file} is a damaged archive ({error}); use another copy of it") from None
    if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise WeightsError(f"{file} claims to hold more than its own size; it is damaged, or made to do harm")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(f"{file} has compressed entries, which no saved model has; use another copy of it")
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise InputError(f"{file} is TorchScript, a program that pysr does not run; look for its weights")


def _state_dict(loaded: Any, file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict that may lie in dicts, as spandrel looks for it."""
    for key in _UNWRAP:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if isinstance(loaded, Mapping) and len(loaded) == 1 and isinstance(only := next(iter(loaded.values())), Mapping):
        loaded = only
    items = loaded.items() if isinstance(loaded, Mapping) else ()
    tensors = {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{file} holds no weights: {type(loaded).__name__} without tensors by name; look for another")
    size = 0
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise WeightsError(f"{file} holds {name} in a form that no network has; use another copy of it")
        size += tensor.numel() * tensor.element_size()
    if size > file.stat().st_size:
        raise WeightsError(f"{file} claims to hold more than its own size; it is damaged, or made to do harm")
    return tensors


def _check_numbers(tensors: Mapping[str, Tensor], file: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.numel() == 0:
            raise WeightsError(f"{file} holds nothing in {name}; use another copy of it")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all() and "mask" not in name:
            raise WeightsError(f"{file} holds NaN or infinite numbers in {name}; use another copy of it")


def _texts(loaded: Any) -> dict[str, str]:
    """What a checkpoint says in words, beside the weights."""
    items = loaded.items() if isinstance(loaded, Mapping) else ()
    return {str(key).lower(): value for key, value in items if isinstance(value, str)}


def _facts(descriptor: Any) -> dict[str, Any]:
    sizes = descriptor.size_requirements
    return {
        "architecture": descriptor.architecture.id,
        "called": descriptor.architecture.name,
        "tags": [str(tag) for tag in descriptor.tags],
        "purpose": descriptor.purpose,
        "scale": descriptor.scale,
        "inputs": descriptor.input_channels,
        "outputs": descriptor.output_channels,
        "minimum": sizes.minimum,
        "multiple_of": sizes.multiple_of,
        "square": sizes.square,
        "tiling": descriptor.tiling.name,
        "bfloat16": descriptor.supports_bfloat16,
    }
