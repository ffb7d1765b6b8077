"""The process in which a model file is opened for the first time: python -m pysr_spandrel.child FILE CONVERTED KIND.

A model file may come from anyone. Here it is read with limits on time, memory and output, so that the worst it can do
is to end this process. A pickle is read as data (``weights_only``), never run, and its tensors are written to CONVERTED
as safetensors; then spandrel says what they are. The answer is one line of JSON on standard output: the facts about the
model, or {"error": class, "message": text}.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pysr.errors import InputError, PysrError, WeightsError

from .library import describe, spandrel

MEGABYTE = 2**20
SPARE_MEMORY = 512 * MEGABYTE  # beyond the file's tensors, which are held up to four times
SPARE_SECONDS = 3  # of CPU time, beyond those for the file's size
BYTES_PER_SECOND = 10 * MEGABYTE  # of a file: initialising a network is slower than reading it
MOST_ENTRIES = 100_000  # of an archive
_UNWRAP = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")  # spandrel's order
_PREFIXES = ("module.", "netG.")
_LICENCES = ("license", "licence", "modelspec.license")


def main(file: Path, converted: Path, kind: str) -> dict[str, Any]:
    """Open a file and return the facts about its model.

    Args:
        file: The model file.
        converted: Where to write the tensors of a pickle.
        kind: "pickle" or "safetensors".

    Raises:
        PysrError: It holds no model that pysr can use.
    """
    licence = ""
    if kind == "pickle":
        loaded = _read_pickle(file)
        licence = _licence(loaded)
        tensors = _state_dict(loaded, file)
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, converted)
        del loaded
    else:
        tensors = _without_prefix(load_file(file))
    _check_numbers(tensors, file)
    return _facts(describe(tensors, str(file))) | {"licence": licence}


def limit(size: int) -> None:
    """Limit what the rest of this process may use for a file of that size in bytes, as far as the system can."""
    if sys.platform == "win32":
        return  # the parent limits the time
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + SPARE_SECONDS + size / BYTES_PER_SECOND) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + MEGABYTE,) * 2)
    if sys.platform == "linux":  # elsewhere the size of the address space is not kept to
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        memory = pages * resource.getpagesize() + SPARE_MEMORY + 4 * size
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


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
    return _without_prefix(tensors)


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _check_numbers(tensors: Mapping[str, Tensor], file: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.numel() == 0:
            raise WeightsError(f"{file} holds nothing in {name}; use another copy of it")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all() and "mask" not in name:
            raise WeightsError(f"{file} holds NaN or infinite numbers in {name}; use another copy of it")


def _licence(loaded: Any) -> str:
    """What a checkpoint says about its licence beside the weights; empty if it says nothing."""
    if not isinstance(loaded, Mapping):
        return ""
    found = {str(key).lower(): value for key, value in loaded.items() if isinstance(value, str)}
    return next((found[key] for key in _LICENCES if key in found), "")[:500]


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


def _answer() -> dict[str, Any]:
    file, converted, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    try:
        torch.set_num_threads(1)
        spandrel()
        limit(file.stat().st_size)
        return main(file, converted, kind)
    except PysrError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except (MemoryError, RecursionError) as error:
        what = "memory" if isinstance(error, MemoryError) else "nesting"
        return {
            "error": "WeightsError",
            "message": f"{file} takes more {what} than a model of its size can; it is damaged, or made to do harm",
        }
    except Exception as error:  # anything that a damaged file makes of torch
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return {"error": "WeightsError", "message": f"{file} cannot be read ({reason}); use another copy of it"}


if __name__ == "__main__":
    answer = json.dumps(_answer())
    sys.stdout.write(answer)
    sys.stdout.flush()
    os._exit(0)  # nothing of the file is run on the way out
