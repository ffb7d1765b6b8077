"""Checkpoints: complete training states on disk, each with a digest; the newest two are kept."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..atomic import atomic_write
from ..errors import InputError, PysrError

logger = logging.getLogger("pysr")

KEPT = 2  # if the newest turns out to be damaged, the one before it serves
DAMAGE = (SafetensorError, ValueError, KeyError)  # what reading a damaged file raises
_LENGTH_BYTES = 8  # a safetensors file begins with the length of its header


class Checkpoints:
    """Files ``step-00000500.safetensors`` in a folder: tensors, facts as JSON, and the digest of both.

    Args:
        folder: The folder that holds them, created with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sound: dict[Path, bool] = {}  # of the files written or read by this object

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write a checkpoint atomically, then remove all but the newest `KEPT` sound ones.

        Args:
            step: Number of steps done.
            tensors: State of the network, its running mean, the losses and the optimizers.
            facts: Everything else, as JSON types.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(facts)
        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        data = save(own, {"facts": text, "sha256": _digest(text, save(own))})
        path = self.folder / f"step-{step:08d}.safetensors"
        with atomic_write(path) as file:
            file.write(data)
        self._sound[path] = True
        files = self.files()
        kept = list(islice(filter(self._is_sound, reversed(files)), KEPT))
        for other in files:
            if other not in kept:
                other.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Return the checkpoint files of the folder, oldest first."""
        return sorted(self.folder.glob("step-*.safetensors"))

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and facts of the newest sound checkpoint, or None if there is no file.

        Damaged files are skipped with a warning.

        Raises:
            PysrError: All are damaged.
        """
        files = self.files()
        for path in reversed(files):
            try:
                return _read(path)
            except DAMAGE as error:
                logger.warning("the checkpoint %s is damaged (%s); trying the one before", path, error)
        if files:
            raise PysrError(f"all checkpoints in {self.folder} are damaged; start again in another folder")
        return None

    def _is_sound(self, path: Path) -> bool:
        if path not in self._sound:
            with suppress(*DAMAGE):
                _read(path)
                self._sound[path] = True
        return self._sound.setdefault(path, False)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    data = path.read_bytes()
    tensors = load(data)
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    metadata = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])["__metadata__"]
    if _digest(metadata["facts"], save(tensors)) != metadata["sha256"]:
        raise ValueError("its digest does not match")
    facts: dict[str, Any] = json.loads(metadata["facts"])
    return tensors, facts


def _digest(text: str, tensors: bytes) -> str:
    return hashlib.sha256(text.encode() + b"\0" + tensors).hexdigest()


def check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that a resumed run has the configuration it was started with.

    Args:
        before: Facts from the checkpoint.
        now: Facts of the current run, as JSON types (tuples count as lists).

    Raises:
        InputError: They differ; the message names the first difference.
    """
    plain = json.loads(json.dumps(now))
    for name in sorted(before.keys() | plain.keys()):
        if before.get(name) != plain.get(name):
            raise InputError(
                f"the run to be resumed had {name} = {before.get(name)!r}, and now it is {plain.get(name)!r}; "
                "give the same again, or start from its weights in another folder"
            )
