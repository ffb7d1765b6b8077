"""pysr: image super-resolution by plugins. Importing it loads neither torch nor any plugin.

Example:
    >>> import pysr
    >>> big = pysr.load("vdsr", scale=3).upscale(image)  # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if os.path.exists(os.path.join(os.path.dirname(__file__), "sr.py")):
    raise ImportError(
        "two packages called pysr are installed: pysr-sdk (image super-resolution) and PySR (symbolic regression). "
        "They cannot share an environment: uninstall both, then install the one you want."
    )

if TYPE_CHECKING:
    from .errors import InputError, OutOfMemoryError, PluginError, PysrError, UnknownNameError, WeightsError
    from .evaluation.page import compare
    from .evaluation.protocols import evaluate
    from .files.output import Output
    from .registry import models
    from .upscaling.export import export
    from .upscaling.loading import load, upscale
    from .upscaling.tiling import Tiling
    from .upscaling.upscaler import Upscaler

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "OutOfMemoryError",
    "Output",
    "PluginError",
    "PysrError",
    "Tiling",
    "UnknownNameError",
    "Upscaler",
    "WeightsError",
    "compare",
    "evaluate",
    "export",
    "load",
    "models",
    "upscale",
]

_HOME = {
    "compare": "evaluation.page",
    "evaluate": "evaluation.protocols",
    "export": "upscaling.export",
    "load": "upscaling.loading",
    "models": "registry",
    "upscale": "upscaling.loading",
    "Output": "files.output",
    "Tiling": "upscaling.tiling",
    "Upscaler": "upscaling.upscaler",
}  # every other public name lives in errors


def __getattr__(name: str) -> Any:  # PEP 562: a name's module is imported when the name is first used
    if name not in __all__:
        raise AttributeError(f"module 'pysr' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOME.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
