"""`Models`: what upscales the files of a run, loaded when it is needed, here or in another process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .file_jobs import FileJob
    from .upscaler import Upscaler

_FILES = ("weights", "calibration")  # options of `pysr.load` that name files


class Models:
    """The upscalers that files take, each loaded once: one for each scale of a model. A copy loads its own.

    Args:
        model: As `pysr.load` takes it.
        scale: Of files that need no scale of their own.
        options: The other arguments of `pysr.load`.

    Attributes:
        scale: As given.
    """

    def __init__(self, model: str, scale: int, options: Mapping[str, Any]) -> None:
        self.scale = scale
        self._model, self._options = model, options
        self._loaded: dict[int, Upscaler] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process, where the current folder may be another."""
        model = os.path.abspath(self._model) if os.path.isfile(self._model) else self._model
        files = {name: os.path.abspath(path) for name in _FILES if (path := self._options.get(name))}
        return Models, (model, self.scale, {**self._options, **files})

    def __call__(self, job: FileJob) -> Upscaler:
        """Return the upscaler for a file. At scale 1 there is nothing to enlarge, and bicubic serves to resize."""
        from .loading import load

        scale = job.scale or self.scale
        if scale not in self._loaded:
            resizes_only = job.scale == 1
            self._loaded[scale] = load("bicubic") if resizes_only else load(self._model, scale, **self._options)
        return self._loaded[scale]
