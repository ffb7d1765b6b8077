"""Lazy callables: they import their target on the first call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import PluginError, explain_import

if TYPE_CHECKING:
    from inspect import Signature


def lazy(target: str) -> Callable[..., Any]:
    """Make a callable that imports its target on the first call.

    It lets a plugin's module name networks, recipes, losses and metrics without importing torch::

        Model("vdsr", (2, 3, 4), lazy("pysr_vdsr.network:build"), "Twenty 3x3 layers", ...)

    Args:
        target: ``"package.module:name"`` of a function or class.

    Returns:
        A callable that passes its arguments on and returns what the target returns. `inspect.signature` gives the
        target's signature (and imports it). Calling or inspecting it raises PluginError if there is no such module or
        name.

    Raises:
        ValueError: ``target`` is not of that form.
    """
    module, colon, name = target.partition(":")
    if not (module and colon and name):
        raise ValueError(f"lazy target is {target!r}; give 'package.module:name'")
    return _Lazy(module, name)


@dataclass(frozen=True)
class _Lazy:
    module: str
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._target()(*args, **kwargs)

    @property
    def __signature__(self) -> Signature:
        from inspect import signature  # slow to import, and rarely needed

        return signature(self._target())

    def _target(self) -> Callable[..., Any]:
        try:
            target: Callable[..., Any] = getattr(import_module(self.module), self.name)
        except (ImportError, AttributeError) as error:
            raise PluginError(explain_import(f"{self.module}:{self.name}", error)) from error
        return target
