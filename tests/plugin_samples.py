"""Plugins that tests make up."""

from types import ModuleType
from typing import Any

from pysr.plugin import Model, hookimpl
from pysr.registry import Source, core


def model(name: Any, **values: Any) -> Model:
    return Model(name, (2,), nothing, "a model for tests", **values)


def nothing(*_: Any) -> Any:
    """Networks, losses and metrics that no test builds."""


def module(**members: Any) -> ModuleType:
    made = ModuleType("fake")
    vars(made).update(members)
    return made


def providing(*items: Any) -> ModuleType:
    return module(pysr_models=hookimpl(lambda: list(items)))


def source(distribution: str, made: ModuleType | None = None, *, error: BaseException | None = None) -> Source:
    def load() -> ModuleType:
        if error:
            raise error
        return made  # type: ignore[return-value]  # a broken entry point may give anything

    return Source(distribution, distribution, "1.0", load)


CORE = core()
