"""Conformance checks of what plugins provide: for plugin authors' tests, and for pysr's own.

>>> from pysr.testing import check_model
>>> check_model("bicubic")

``pytest --pysr-plugin NAME`` runs all that concern a plugin (docs/plugins.md).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .imports import check_import
    from .models import check_degradation, check_model, measured_receptive_field, photo
    from .parts import check_loss, check_metric, check_preprocessor, check_reader

__all__ = [
    "check_degradation",
    "check_import",
    "check_loss",
    "check_metric",
    "check_model",
    "check_preprocessor",
    "check_reader",
    "measured_receptive_field",
    "photo",
]

_HOME = {
    "check_degradation": "models",
    "check_import": "imports",
    "check_loss": "parts",
    "check_metric": "parts",
    "check_model": "models",
    "check_preprocessor": "parts",
    "check_reader": "parts",
    "measured_receptive_field": "models",
    "photo": "models",
}


def __getattr__(name: str) -> Any:  # PEP 562: pytest imports this package in every environment that has pysr
    if name not in _HOME:
        raise AttributeError(f"module 'pysr.testing' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
