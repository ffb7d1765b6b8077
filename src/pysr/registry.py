"""Which plugins are installed and what they provide.

Each plugin is loaded alone, inside a guard, in a fixed order: the core first, then by distribution name. What goes
wrong is kept as data on the `Plugin`; it never breaks the core or another plugin. Nothing here imports torch.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import distributions
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

import pluggy

from . import hookspecs
from .errors import PysrError, UnknownNameError, format_error
from .plugin import Loss, Metric, Model, Preprocessor

logger = logging.getLogger("pysr")

GROUP = "pysr"
CORE = "pysr-sdk"
PROVIDERS = {  # what distributions outside the core are known to provide, for the "not installed" message
    "model": {
        "srcnn": "pysr-srcnn",
        "vdsr": "pysr-vdsr",
        "aplus": "pysr-anchored",
        "perceptual": "pysr-perceptual",
        "perceptual-style": "pysr-perceptual",
        "srresnet": "pysr-srgan",
        "srgan": "pysr-srgan",
        "pixelcnn": "pysr-pixelcnn",
        "pixelcnn-faces": "pysr-pixelcnn",
        "pixelcnn-mnist-corners": "pysr-pixelcnn",
    },
    "loss": dict.fromkeys(("perceptual", "style", "tv", "checkerboard", "projected"), "pysr-perceptual")
    | {"adversarial": "pysr-srgan"},
    "metric": {"perceptual": "pysr-perceptual"},
}

Description = TypeVar("Description", Model, Loss, Preprocessor, Metric)


@dataclass(frozen=True)
class Plugin:
    """One installed plugin: what it provides, and what went wrong.

    state: "ok"; "partly" when something of it was refused (``error`` says what); "failed" when nothing is usable.
    """

    name: str
    distribution: str
    version: str
    state: Literal["ok", "partly", "failed"]
    error: str | None = None
    models: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    preprocessors: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass
class _Shelf(Generic[Description]):
    """Descriptions of one kind by name, and whose they are."""

    kind: str
    type: type[Description]
    items: dict[str, Description] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def add(self, item: object, owner: str) -> str:
        """Take in one description and return its name; ValueError when it cannot be taken."""
        if not isinstance(item, self.type):
            raise ValueError(f"pysr_{self.kind}s gave {item!r}, which is not a {self.type.__name__}")
        names = (item.name, *getattr(item, "aliases", ()))
        for name in names:
            if taken := self.owners.get(name):
                raise ValueError(f"the {self.kind} name {name!r} is already taken by {taken}")
        self.items[item.name] = item
        self.owners.update(dict.fromkeys(names, owner))
        self.aliases.update(dict.fromkeys(names[1:], item.name))
        return item.name

    def find(self, name: str) -> Description:
        """The description of that name or alias."""
        if isinstance(name, str) and (found := self.items.get(self.aliases.get(name, name))):
            return found
        raise UnknownNameError(
            f"there is no {self.kind} called {name!r}{self._hint(str(name).lower())} "
            f"Installed: {', '.join(sorted(self.items)) or 'none'}."
        )

    def _hint(self, name: str) -> str:
        spelling = {known.lower(): known for known in self.owners}
        providers = PROVIDERS.get(self.kind, {})
        if name in providers.keys() - spelling:
            return f"; it comes with the package {providers[name]}, which is not installed or failed to load."
        near = difflib.get_close_matches(name, spelling, n=1)
        return f"; did you mean {spelling[near[0]]!r}?" if near else "."


class Registry:
    """The installed plugins (`plugins`) and everything they provide, by name."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._models: _Shelf[Model] = _Shelf("model", Model)
        self._losses: _Shelf[Loss] = _Shelf("loss", Loss)
        self._preprocessors: _Shelf[Preprocessor] = _Shelf("preprocessor", Preprocessor)
        self._metrics: _Shelf[Metric] = _Shelf("metric", Metric)
        self.plugins = tuple(self._load(source) for source in sources)

    @property
    def models(self) -> Mapping[str, Model]:
        """Installed models by name, in the order of their plugins; without aliases."""
        return self._models.items

    @property
    def losses(self) -> Mapping[str, Loss]:
        """Installed losses by name."""
        return self._losses.items

    @property
    def preprocessors(self) -> Mapping[str, Preprocessor]:
        """Installed preprocessors by name."""
        return self._preprocessors.items

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Installed metrics by name."""
        return self._metrics.items

    def model(self, name: str) -> Model:
        """The model of that name or alias; UnknownNameError lists what is installed."""
        return self._models.find(name)

    def loss(self, name: str) -> Loss:
        """The loss of that name; UnknownNameError lists what is installed."""
        return self._losses.find(name)

    def preprocessor(self, name: str) -> Preprocessor:
        """The preprocessor of that name; UnknownNameError lists what is installed."""
        return self._preprocessors.find(name)

    def metric(self, name: str) -> Metric:
        """The metric of that name; UnknownNameError lists what is installed."""
        return self._metrics.find(name)

    def enlarges_first(self, model: Model) -> bool:
        """Whether one of the model's preprocessors enlarges, so that its network works at output size."""
        return any(self.preprocessor(name).enlarges for name in model.preprocess)

    def owner(self, model: str) -> str:
        """The distribution that provides a model; a description may also be used without being installed."""
        return self._models.owners.get(model, "no installed package")

    def _load(self, source: Source) -> Plugin:
        try:
            contributions = _ask(source.load())
        except (Exception, SystemExit) as error:  # a broken plugin is data, not the end of the program
            return Plugin(source.name, source.distribution, source.version, "failed", format_error(error))
        names: dict[str, tuple[str, ...]] = {}
        refused: list[str] = []
        shelves: tuple[_Shelf[Any], ...] = (self._models, self._losses, self._preprocessors, self._metrics)
        for shelf, items in zip(shelves, contributions, strict=True):
            names[shelf.kind] = tuple(_take(shelf, items, source.distribution, refused))
        usable = any(names.values()) or not refused
        return Plugin(
            source.name,
            source.distribution,
            source.version,
            "ok" if not refused else "partly" if usable else "failed",
            "; ".join(refused) or None,
            models=names["model"],
            losses=names["loss"],
            preprocessors=names["preprocessor"],
            metrics=names["metric"],
        )


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from: its entry point's name, its distribution, and how to import its module."""

    name: str
    distribution: str
    version: str
    load: Callable[[], ModuleType]


def _ask(module: ModuleType) -> list[list[Any]]:
    """What one plugin's hooks return. A manager of its own: one raising or misspelt hook stops nobody else's."""
    manager = pluggy.PluginManager("pysr")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise PysrError(f"{module.__name__} has no hook; mark functions of the right name with pysr.plugin.hookimpl")
    hook = manager.hook
    calls = (hook.pysr_models, hook.pysr_losses, hook.pysr_preprocessors, hook.pysr_metrics)
    return [[item for items in call() for item in items] for call in calls]


def _take(shelf: _Shelf[Description], items: list[object], owner: str, refused: list[str]) -> Iterator[str]:
    for item in items:
        try:
            yield shelf.add(item, owner)
        except Exception as error:  # a description may hold anything
            refused.append(str(error) if isinstance(error, ValueError) else format_error(error))


def _installed() -> Iterator[Source]:
    yield Source("core", CORE, _version(), lambda: import_module("pysr.builtin.plugin"))
    sources: dict[tuple[str, str], Source] = {}
    for distribution in distributions():
        try:
            for point in distribution.entry_points.select(group=GROUP):
                name, version = distribution.name or "unknown", distribution.version or "0"
                sources.setdefault((name, point.name), Source(point.name, name, version, point.load))
        except Exception as error:  # metadata may be damaged too
            logger.warning("a damaged package was left out: %s (%s)", distribution, format_error(error))
    yield from (sources[key] for key in sorted(sources))


def _version() -> str:
    from . import __version__

    return __version__


@cache
def registry() -> Registry:
    """The installed plugins, loaded once per process."""
    return Registry(_installed())


def models() -> list[Model]:
    """Descriptions of all installed models, in the order of their plugins. Imports no torch."""
    return list(registry().models.values())
