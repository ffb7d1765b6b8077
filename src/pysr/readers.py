"""`ModelReader`: which model files a plugin reads, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plugin import Model


@dataclass(frozen=True)
class ModelReader:
    """A kind of model file that a plugin reads, for ``pysr.load("path/4x-Anything.pth")``.

    A file may come from anyone: nothing in it may be run, and what it says about sizes is checked before memory is
    allocated for it.

    Attributes:
        name: The kind of file; unique over all installed plugins.
        reads: Called with a path and the file's first 64 KiB; returns whether this reader takes it. It goes by the
            content, imports nothing heavy, and only ever sees regular files.
        open: Makes a `Model` of such a file. Everything that the core must know is found here; the network itself is
            built by `Model.network`, with its weights, whenever the model is loaded. The core sets `Model.name`, the
            file's name without its ending, and `Model.file`. Raises WeightsError for a damaged file, and InputError for
            one that holds something else than an upscaler of 1 or 3 channels; the message names what it is.
        summary: One line about it, for ``pysr plugins``.
        endings: Endings of such files' names, such as ``(".pth", ".pt")``. By these a bare name is looked up in a
            folder of models, and messages name them.
    """

    name: str
    reads: Callable[[Path, bytes], bool]
    open: Callable[[Path], Model]
    summary: str
    endings: tuple[str, ...]
