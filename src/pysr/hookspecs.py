"""What a plugin may implement. Hooks return values; they register nothing by side effect.

Hooks evolve so that plugins written for an earlier version keep working: an argument may be added, and implementations
that do not name it do not get it; none is removed or renamed without a deprecation (docs/stability.md).
"""

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from .plugin import Degradation, Engine, Loss, Metric, Model, ModelReader, Preprocessor

hookspec = pluggy.HookspecMarker("pysr")
hookimpl = pluggy.HookimplMarker("pysr")
"""Decorator that marks a function of a plugin as the hook of its name."""


@hookspec
def pysr_models() -> "list[Model]":  # type: ignore[empty-body]
    """Models that this plugin provides."""


@hookspec
def pysr_losses() -> "list[Loss]":  # type: ignore[empty-body]
    """Training losses that this plugin provides."""


@hookspec
def pysr_preprocessors() -> "list[Preprocessor]":  # type: ignore[empty-body]
    """Steps around a network that this plugin provides."""


@hookspec
def pysr_metrics() -> "list[Metric]":  # type: ignore[empty-body]
    """Metrics for `pysr evaluate` that this plugin provides."""


@hookspec
def pysr_degradations() -> "list[Degradation]":  # type: ignore[empty-body]
    """Degradations for recipes and `pysr evaluate` that this plugin provides."""


@hookspec
def pysr_model_files() -> "list[ModelReader]":  # type: ignore[empty-body]
    """Kinds of model files that this plugin reads."""


@hookspec
def pysr_engines() -> "list[Engine]":  # type: ignore[empty-body]
    """Engines that this plugin provides: where files are worked on."""
