"""The state of a training on disk: complete, with a digest, the newest two kept."""

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

KEPT = 2
DAMAGE = (SafetensorError, ValueError, KeyError)  # what reading a damaged file raises
_HEADER = 8  # bytes of a safetensors file that give its header's length


class Checkpoints:
    """Files ``step-00000500.safetensors`` in a folder: tensors, facts as JSON, and the digest of both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sound: dict[Path, bool] = {}  # of those that were written or read here

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write one, whole or not at all, and then remove all but the newest `KEPT` sound ones.

        Facts: what JSON can hold.
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
        """The files of this folder, oldest first."""
        return sorted(self.folder.glob("step-*.safetensors"))

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts of the newest sound checkpoint, None without any file.

        A damaged one is passed over with a warning; PysrError when all are damaged.
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
    header = json.loads(data[_HEADER : _HEADER + int.from_bytes(data[:_HEADER], "little")])
    about = header["__metadata__"]
    if _digest(about["facts"], save(tensors)) != about["sha256"]:
        raise ValueError("its digest does not fit")
    facts: dict[str, Any] = json.loads(about["facts"])
    return tensors, facts


def _digest(text: str, tensors: bytes) -> str:
    return hashlib.sha256(text.encode() + b"\0" + tensors).hexdigest()


def check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """InputError when a run is to go on as another one than it was begun as. Both: facts that JSON can hold."""
    plain = json.loads(json.dumps(now))
    for name in sorted(before.keys() | plain.keys()):
        if before.get(name) != plain.get(name):
            raise InputError(
                f"the run to be resumed had {name} = {before.get(name)!r}, and now it is {plain.get(name)!r}; "
                "give the same again, or start from its weights in another folder"
            )
