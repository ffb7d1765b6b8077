"""The header of a safetensors file, checked before anything is allocated for what it claims."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pysr.errors import WeightsError

LONGEST = 16 * 2**20  # bytes: a hundred times that of the largest upscaler
_BYTES = {  # of one number
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors rather than a pickle."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_header(path: Path) -> dict[str, str]:
    """Check the header of a safetensors file and return its metadata.

    Raises:
        WeightsError: It is damaged, or what it claims is not what the file holds.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            rest = path.stat().st_size - 8 - length
            if not 2 <= length <= LONGEST or rest < 0:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length), object_pairs_hook=_unique)
        if not isinstance(header, dict):
            raise ValueError("a header that is no object")
        metadata = header.pop("__metadata__", {})
        end = 0
        for begin, until, size in sorted(_span(entry) for entry in header.values()):
            if begin != end or until - begin != size:
                raise ValueError("tensors that overlap, leave gaps, or are larger than their shape")
            end = until
        if end != rest:
            raise ValueError(f"{rest} bytes of tensors where the header names {end}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise WeightsError(f"{path} is no sound safetensors file ({reason}); use another copy of it") from None
    return {str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}


def _span(entry: dict[str, Any]) -> tuple[int, int, int]:
    """Where a tensor begins and ends, and how many bytes its shape takes."""
    begin, until = entry["data_offsets"]
    shape = entry["shape"]
    if not all(type(number) is int and number >= 0 for number in (begin, until, *shape)):
        raise ValueError("an offset or a shape that is no number")
    return begin, until, math.prod(shape) * _BYTES[entry["dtype"]]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(names := dict(pairs)) < len(pairs):
        raise ValueError("a name twice")
    return names
