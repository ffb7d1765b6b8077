"""Fixtures that several test files share."""

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

import pytest

import pysr.builtin
from pysr.plugin import Loss, Model, hookimpl
from pysr.registry import Registry, Source


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with models and losses: for one test, they are what an installed plugin called "fake" provides."""

    def install(*models: Model, losses: Sequence[Loss] = ()) -> None:
        module = ModuleType("fake")
        module.pysr_models = hookimpl(lambda: list(models))
        module.pysr_losses = hookimpl(lambda: list(losses))
        sources = [Source("core", "pysr-sdk", "1", lambda: pysr.builtin), Source("fake", "fake", "1", lambda: module)]
        registry = Registry(sources)
        for name in ("registry", "chain", "loading", "stage", "upscaler", "training", "losses", "testing"):
            monkeypatch.setattr(import_module(f"pysr.{name}"), "registry", lambda: registry)

    return install
