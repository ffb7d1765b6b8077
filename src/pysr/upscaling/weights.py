"""Weights files: read, checked and written. safetensors only, so that no file can run code.

Metadata written by trainings: ``pysr.scales``, the scales that the weights were trained for, separated by spaces; and
``pysr.initial``, the pre-upsampler, empty for bicubic. The other keys are for readers only.
"""

import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from ..atomic import atomic_write
from ..errors import WeightsError
from ..plugin import Weights
from .file_formats import describe_by_start

logger = logging.getLogger("pysr")
_START = 64  # bytes of a file that tell what it is
_LONGEST_HEADER = 2**25  # bytes: that of some 300,000 tensors
_OTHER_METADATA, _OF_A_NAME = 2**22, 2**10  # bytes of a header: of what is no tensor, and of a tensor
_WIDEST = 16  # bytes of a number


def load_weights(network: nn.Module, weights: Weights | str | Path) -> None:
    """Fill a network from a safetensors file.

    Args:
        network: The network to fill; numbers are converted to its dtypes.
        weights: A plugin's `Weights`, whose sha256 must match, or a path.

    Raises:
        WeightsError: The file cannot be read or is damaged, or it does not hold exactly the network's tensors,
            each of the right shape and finite. The network is then left as it was.
    """
    path = weights.file if isinstance(weights, Weights) else Path(weights)
    data = _read(path, network)
    if isinstance(weights, Weights) and (found := hashlib.sha256(data).hexdigest()) != weights.sha256:
        _refuse_others(path, data)
        raise WeightsError(f"{path} has sha256 {found}, not {weights.sha256}: it is damaged; reinstall its package")
    network.load_state_dict(_fitting(path, _parse(path, data), network))


def save_weights(network_or_tensors: nn.Module | Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> str:
    """Write weights as safetensors, atomically.

    Args:
        network_or_tensors: A network, or tensors by name.
        path: The file to write.
        metadata: Text by key; see this module for the keys that pysr reads.

    Returns:
        The file's sha256, in lower-case hex.

    Raises:
        InputError: The file cannot be written.
    """
    data = _as_file(network_or_tensors, metadata)
    with atomic_write(path) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def weights_digest(network: nn.Module) -> str:
    """Return the sha256 of a network's weights: that of a file of them without metadata, in lower-case hex."""
    return hashlib.sha256(_as_file(network, {})).hexdigest()


def _as_file(network_or_tensors: nn.Module | Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    tensors = network_or_tensors.state_dict() if isinstance(network_or_tensors, nn.Module) else network_or_tensors
    copies = {  # safetensors refuses tensors that share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    return _with_sorted_header(save(copies, dict(metadata)))


def _with_sorted_header(data: bytes) -> bytes:
    """The same file with a sorted header: safetensors writes metadata in no fixed order, so digests would differ."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at multiples of 8 bytes
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata that `save_weights` wrote: what the weights were trained on, how, and under which terms.

    Raises:
        WeightsError: The file cannot be read as safetensors.
    """
    with _opened(path) as opened:
        size, start = os.fstat(opened.fileno()).st_size, opened.read(_START)
    if _LONGEST_HEADER < (length := int.from_bytes(start[:8], "little")) < size:
        _refuse_others(path, start)
        raise WeightsError(f"{path} has a header of {length} bytes, which no weights need; use another file")
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        _refuse_others(path, start)
        raise WeightsError(f"{path} cannot be read as safetensors ({error}); use another copy of it") from None


def trained_scales(path: Path) -> tuple[int, ...]:
    """Return the scales that weights were trained for; empty if the file does not say.

    Raises:
        WeightsError: The file cannot be read as safetensors.
    """
    scales = read_metadata(path).get("pysr.scales", "").split()
    if not all(re.fullmatch("[0-9]{1,4}", scale) for scale in scales):
        raise WeightsError(f"{path} has the scales {' '.join(scales)!r:.60}, no numbers; use another copy of it")
    return tuple(map(int, scales))


def resolve_scale(weights: str | PathLike[str], scale: int | None, offered: Sequence[int]) -> int | None:
    """Return the scale to use weights at: the one asked for, or the first offered one that they were trained for.

    Warns if the weights were trained for others. None if neither the user nor the file says.
    """
    trained = trained_scales(Path(weights))
    if scale is None:
        return next((candidate for candidate in trained if candidate in offered), None)
    if trained and scale not in trained:
        known = " ".join(map(str, trained))
        logger.warning("%s was trained for scale %s, not for %s; expect worse results", weights, known, scale)
    return scale


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file: a pipe may never end, nor may some devices."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise WeightsError(f"weights file {path} cannot be read: it is a folder, a pipe or a device; name a file")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise WeightsError(
            f"weights file {path} cannot be read ({error.strerror or error}); check its name and permissions"
        ) from None


def _read(path: Path, network: nn.Module) -> bytes:
    """Read a file, unless its size or its header tell that it cannot be for a network."""
    wanted = network.state_dict()
    longest = _OTHER_METADATA + _OF_A_NAME * len(wanted)
    most = 8 + longest + _WIDEST * sum(tensor.numel() for tensor in wanted.values())
    with _opened(path) as file:
        size, start = os.fstat(file.fileno()).st_size, file.read(_START)
        length = int.from_bytes(start[:8], "little")
        seems_sound = start[8:9] == b"{" and length <= size
        if size <= most and not (seems_sound and length > longest):
            return start + file.read()
        _refuse_others(path, start)
        file.seek(8)
        header = file.read(length) if seems_sound and length <= longest else b""
    found = _difference_by_header(header, wanted) if header else f"it has {size} bytes, and {most} would be many"
    raise WeightsError(f"{path} is not for the network {type(network).__name__}: {found}; use the model's own file")


def _difference_by_header(header: bytes, wanted: Mapping[str, Tensor]) -> str:
    """Describe what tells the tensors that a header names from those of a network, as `difference` does."""
    try:
        entries = json.loads(header)
        named = {
            name: torch.empty(entry["shape"], device="meta") for name, entry in entries.items() if name[:2] != "__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError):
        named = {}
    return difference(named, wanted) or "it is longer than its header tells"


def _parse(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        _refuse_repeated_names(data)
        return load(data)
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        _refuse_others(path, data)
        raise WeightsError(f"{path} is not a sound safetensors file ({error}); use another copy of it") from None


def _refuse_others(path: Path, data: bytes) -> None:
    """Raise WeightsError for a file that begins like something else than safetensors, such as torch's pickles."""
    if data[:4] == b"PK\x03\x04" or (data[:1] == b"\x80" and data[2:3] != b"\0"):
        raise WeightsError(
            f"{path} is a pickle (.pth), which can run code; convert it once, from Python: `import torch,"
            " safetensors.torch; safetensors.torch.save_file(torch.load('IN.pth', weights_only=True),"
            " 'OUT.safetensors')` (where the file holds a dictionary of several, of the one that you want)"
        ) from None
    seems_sound = data[3:8] == bytes(5)  # the upper bytes of the length of a header
    if not seems_sound and (what := describe_by_start(data[:64])):
        raise WeightsError(f"{path} is {what}") from None


def _refuse_repeated_names(data: bytes) -> None:
    """Raise ValueError for duplicate tensor names: safetensors takes the last, so two readers could disagree."""
    if len(data) < 8:
        raise ValueError("it is shorter than its header")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(names := dict(pairs)) < len(pairs):
            raise ValueError("its header has a name twice")
        return names

    json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")], object_pairs_hook=unique)


def _fitting(path: Path, tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Check keys, shapes and numbers, and return the tensors in the network's dtypes."""
    wanted = network.state_dict()
    if found := difference(tensors, wanted):
        raise WeightsError(f"{path} is not for the network {type(network).__name__}: {found}; use the model's own file")
    converted = {key: tensor.to(wanted[key].dtype) for key, tensor in tensors.items()}
    if broken := [key for key, tensor in converted.items() if not torch.isfinite(tensor).all()]:
        raise WeightsError(f"{path} holds NaN or infinite numbers in {_few(broken)}; train again or use another file")
    return converted


def difference(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Describe the first difference in names, shapes or kinds of numbers, as "it lacks ..."; None if there is none."""
    for problem, keys in (("lacks", wanted.keys() - tensors.keys()), ("has unknown", tensors.keys() - wanted.keys())):
        if keys:
            return f"it {problem} {_few(sorted(keys))}"
    if shapes := [key for key in wanted if wanted[key].shape != tensors[key].shape]:
        one, other = tensors[shapes[0]], wanted[shapes[0]]
        return f"{_few(shapes)} differ in shape ({tuple(one.shape)} instead of {tuple(other.shape)})"
    if kinds := [key for key in wanted if wanted[key].is_floating_point() != tensors[key].is_floating_point()]:
        one, other = tensors[kinds[0]], wanted[kinds[0]]
        return f"{_few(kinds)} hold another kind of numbers ({one.dtype} instead of {other.dtype})"
    return None


def _few(keys: list[str]) -> str:
    """The first five keys, and how many more there are."""
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
