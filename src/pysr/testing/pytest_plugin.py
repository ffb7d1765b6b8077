"""``pytest --pysr-plugin NAME``: a test for everything that an installed plugin provides.

pytest loads this module wherever pysr is installed, so nothing heavy is imported before the option is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions
from typing import Any

import pytest

from ..errors import PysrError, format_error
from ..torch_defaults import preserve_torch_defaults

Check = tuple[str, Callable[[], None]]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pysr")
    group.addoption(
        "--pysr-plugin",
        metavar="NAME",
        action="append",
        default=[],
        help="check everything that an installed plugin of pysr provides; NAME is that of its entry point or package",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    for name in config.getoption("--pysr-plugin"):
        items.extend(
            Conformance.from_parent(session, name=f"{name}: {what}", check=check) for what, check in checks(name)
        )


class Conformance(pytest.Item):
    """One check of a plugin."""

    def __init__(self, *, check: Callable[[], None], **given: Any) -> None:
        super().__init__(**given)
        self._check = check

    def runtest(self) -> None:
        """Run the check."""
        run_check(self._check)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """Show what is wrong, without the traceback through pysr's own check."""
        if isinstance(excinfo.value, (AssertionError, PysrError)):
            return format_error(excinfo.value).removeprefix("AssertionError: ")
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[str, int | None, str]:
        """The heading of a failure."""
        return "pysr", None, self.name


def run_check(check: Callable[[], None]) -> None:
    """Run a check, which must also leave torch's defaults alone."""
    failure = None
    with preserve_torch_defaults() as undone:
        try:
            check()
        except Exception as error:
            failure = error
    if failure and not undone:
        raise failure
    assert not undone, (
        f"the plugin changed {', '.join(undone)}, with which all other models would compute, too; give device and "
        "dtype to what needs them, and leave the defaults alone"
    )


def checks(name: str) -> Iterator[Check]:
    """Yield the checks of an installed plugin, with a name for each.

    Args:
        name: Name of its entry point or of its distribution.

    Raises:
        pytest.UsageError: There is no such plugin.
    """
    from .imports import check_import

    points = dict(_entry_points(name))
    if not points:
        raise pytest.UsageError(f"no plugin of pysr called {name!r} is installed; in its folder: pip install -e .")
    for point in points.values():
        yield f"import of {point.module}", lambda module=point.module: check_import(module)  # type: ignore[misc]
        try:
            check_import(point.module)
        except AssertionError as error:
            if "still being imported" in str(error):
                return  # it would hang this process, too
    for distribution, point in points.items():
        yield from _checks_of(distribution, point.name)


def _entry_points(name: str) -> Iterator[tuple[str, EntryPoint]]:
    """The entry points in the group of pysr that are called ``name``, or whose distribution is, by distribution."""
    from ..registry import GROUP

    for distribution in distributions():
        try:
            for point in distribution.entry_points.select(group=GROUP):
                if name in (point.name, distribution.name):
                    yield distribution.name, point
        except Exception:  # damaged metadata, which the registry reports
            continue


def _checks_of(distribution: str, name: str) -> Iterator[Check]:
    from ..registry import registry
    from . import check_degradation, check_loss, check_metric, check_model, check_preprocessor, check_reader

    plugin = next(each for each in registry().plugins if (each.distribution, each.name) == (distribution, name))

    def check_state() -> None:
        assert not plugin.error, f"pysr cannot use all of {distribution}: {plugin.error}"

    yield "everything is accepted", check_state
    kinds: dict[str, tuple[tuple[str, ...], Callable[[str], None]]] = {
        "model": (plugin.models, lambda model: check_model(model, untrained=True)),
        "loss": (plugin.losses, check_loss),
        "preprocessor": (plugin.preprocessors, check_preprocessor),
        "metric": (plugin.metrics, check_metric),
        "degradation": (plugin.degradations, check_degradation),
        "reader": (plugin.readers, check_reader),
    }
    for kind, (names, check) in kinds.items():
        for each in names:
            yield f"{kind} {each}", lambda check=check, each=each: check(each)  # type: ignore[misc]
