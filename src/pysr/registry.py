"""Which plugins are installed and what they provide.

Each plugin is loaded on its own, in a fixed order: the core first, then by distribution name. Errors are caught and
kept as data on the `Plugin`; they never break the core or another plugin. Nothing here imports torch.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.metadata import distributions
from itertools import islice
from types import ModuleType
from typing import Any, Literal

import pluggy

from . import hookspecs
from .errors import PysrError, format_error, is_interruption
from .namespaces import HOOKS, Description, Namespace
from .plugin import API_VERSION, Degradation, Engine, Loss, Metric, Model, ModelReader, Preprocessor
from .torch_defaults import preserve_torch_defaults

logger = logging.getLogger("pysr")

GROUP = "pysr"
CORE = "pysr-sdk"
DISABLE_VARIABLE = "PYSR_DISABLE_PLUGINS"  # names of plugins or distributions that are not loaded, with commas between
SLOW = 5.0  # seconds that a plugin may take to be loaded before it is named
MOST = 10_000  # descriptions that a hook may return: one without an end would fill the memory


@dataclass(frozen=True)
class Plugin:
    """One installed plugin: what it provides, and what went wrong.

    Attributes:
        name: Name of its entry point.
        distribution: The distribution that it comes with.
        version: Version of that distribution.
        state: "ok"; "partly" if some of it was refused (``error`` says what); "failed" if nothing is usable; "disabled"
            if ``PYSR_DISABLE_PLUGINS`` names it.
        error: What went wrong; None if nothing did.
        models: Names of the models that it provides.
        losses: Names of its losses.
        preprocessors: Names of its preprocessors.
        metrics: Names of its metrics.
        degradations: Names of its degradations.
        readers: Names of the kinds of model files that it reads.
        engines: Names of its engines.
    """

    name: str
    distribution: str
    version: str
    state: Literal["ok", "partly", "failed", "disabled"]
    error: str | None = None
    models: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    preprocessors: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    degradations: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()


class Registry:
    """The installed plugins (`plugins`) and everything they provide, by name."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._models: Namespace[Model] = Namespace("model", Model)
        self._losses: Namespace[Loss] = Namespace("loss", Loss)
        self._preprocessors: Namespace[Preprocessor] = Namespace("preprocessor", Preprocessor)
        self._metrics: Namespace[Metric] = Namespace("metric", Metric)
        self._degradations: Namespace[Degradation] = Namespace("degradation", Degradation)
        self._readers: Namespace[ModelReader] = Namespace("reader", ModelReader)
        self._engines: Namespace[Engine] = Namespace("engine", Engine)
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

    @property
    def degradations(self) -> Mapping[str, Degradation]:
        """Installed degradations by name."""
        return self._degradations.items

    @property
    def engines(self) -> Mapping[str, Engine]:
        """Installed engines by name."""
        return self._engines.items

    @property
    def readers(self) -> Mapping[str, ModelReader]:
        """Kinds of model files that can be read, by name, in the order of their plugins."""
        return self._readers.items

    def model(self, name: str) -> Model:
        """The model of that name or alias. Raises UnknownNameError, which lists what is installed."""
        return self._models.find(name)

    def loss(self, name: str) -> Loss:
        """The loss of that name. Raises UnknownNameError, which lists what is installed."""
        return self._losses.find(name)

    def preprocessor(self, name: str) -> Preprocessor:
        """The preprocessor of that name. Raises UnknownNameError, which lists what is installed."""
        return self._preprocessors.find(name)

    def metric(self, name: str) -> Metric:
        """The metric of that name. Raises UnknownNameError, which lists what is installed."""
        return self._metrics.find(name)

    def degradation(self, name: str) -> Degradation:
        """The degradation of that name. Raises UnknownNameError, which lists what is installed."""
        return self._degradations.find(name)

    def engine(self, name: str) -> Engine:
        """The engine of that name. Raises UnknownNameError, which lists what is installed."""
        return self._engines.find(name)

    def enlarges_first(self, model: Model) -> bool:
        """Whether a preprocessor of the model enlarges, so that its network works at output size."""
        return any(self.preprocessor(name).enlarges for name in model.preprocess)

    def owner(self, model: str) -> str:
        """The distribution that provides a model, in words if none does: a `Model` can be used without a plugin."""
        return self._models.owners.get(model, "no installed package")

    def reader_owner(self, reader: str) -> str:
        """The distribution that reads a kind of model file."""
        return self._readers.owners[reader]

    def _load(self, source: Source) -> Plugin:
        if _names_of(source) & _disabled():
            return Plugin(source.name, source.distribution, source.version, "disabled", f"by {DISABLE_VARIABLE}")
        try:
            with _named_if_slow(source), preserve_torch_defaults() as undone, redirect_stdout(sys.stderr):
                contributions = _collect(source.load())
        except BaseException as error:  # a broken plugin is data, not the end of the program
            if is_interruption(error):
                raise
            return Plugin(source.name, source.distribution, source.version, "failed", format_error(error))
        names: dict[str, tuple[str, ...]] = {}
        refused = [f"it changed {what} while it was imported, which was undone" for what in undone]
        namespaces: tuple[Namespace[Any], ...] = (
            self._models,
            self._losses,
            self._preprocessors,
            self._metrics,
            self._degradations,
            self._readers,
            self._engines,
        )
        for namespace, items in zip(namespaces, contributions, strict=True):
            names[namespace.kind] = tuple(_register(namespace, items, source.distribution, refused))
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
            degradations=names["degradation"],
            readers=names["reader"],
            engines=names["engine"],
        )


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from.

    Attributes:
        name: Name of its entry point.
        distribution: The distribution that it comes with.
        version: Version of that distribution.
        load: Imports and returns its module.
    """

    name: str
    distribution: str
    version: str
    load: Callable[[], ModuleType]


def _disabled() -> set[str]:
    return {_normalised(name) for name in os.environ.get(DISABLE_VARIABLE, "").split(",") if name.strip()}


def _names_of(source: Source) -> set[str]:
    return {_normalised(source.name), _normalised(source.distribution)} if source.distribution != CORE else set()


def _normalised(name: str) -> str:
    return name.strip().lower().replace("_", "-")


@contextmanager
def _named_if_slow(source: Source) -> Iterator[None]:
    """Print the name of a plugin that takes long to be loaded, or will never be, and how to do without it."""
    message = (
        f"pysr: still loading the plugin {source.name!r} of {source.distribution}, for {SLOW:.0f} seconds now; "
        f"to do without it, stop pysr and set {DISABLE_VARIABLE}={source.name}"
    )
    timer = threading.Timer(SLOW, lambda: print(message, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _collect(module: ModuleType) -> list[list[Any]]:
    """What one plugin's hooks return. Each plugin has its own manager, so that a broken hook affects no other."""
    if (wanted := getattr(module, "PYSR_API", API_VERSION)) != API_VERSION:
        newer = isinstance(wanted, int) and wanted > API_VERSION
        raise PysrError(
            f"{module.__name__} is written for version {wanted} of the plugin interface, and this is version "
            f"{API_VERSION}; update {'pysr-sdk' if newer else 'the plugin'}"
        )
    manager = pluggy.PluginManager("pysr")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise PysrError(f"{module.__name__} has no hook; mark functions of the right name with pysr.plugin.hookimpl")
    return [_call(manager, hook) for hook in HOOKS.values()]


def _call(manager: pluggy.PluginManager, hook: str) -> list[Any]:
    try:
        found = list(islice((item for items in getattr(manager.hook, hook)() for item in items), MOST + 1))
    except BaseException as error:
        if is_interruption(error):
            raise
        raise PysrError(f"{hook} raised {format_error(error)}") from error
    if len(found) > MOST:
        raise PysrError(f"{hook} returns more than {MOST} descriptions; end its loop")
    return found


def _register(namespace: Namespace[Description], items: list[object], owner: str, refused: list[str]) -> Iterator[str]:
    """Add descriptions; yields the names of those accepted and appends to ``refused`` why others were not."""
    for item in items:
        try:
            yield namespace.add(item, owner)
        except Exception as error:  # a description may hold anything
            refused.append(str(error) if isinstance(error, ValueError) else format_error(error))


def _installed() -> Iterator[Source]:
    yield core()
    sources: dict[tuple[str, str], Source] = {}
    for distribution in distributions():
        try:
            for point in distribution.entry_points.select(group=GROUP):
                name, version = distribution.name or "unknown", distribution.version or "0"
                sources.setdefault((name, point.name), Source(point.name, name, version, point.load))
        except Exception as error:  # damaged metadata
            place = getattr(distribution, "_path", distribution)
            logger.warning("skipped a package with damaged metadata: %s (%s)", place, format_error(error))
            sources[str(place), ""] = Source("-", str(place), "-", partial(_refuse_damaged, format_error(error)))
            # torch looks for its own plugins in the same metadata when it is imported, and fails on these
            os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    if not sources and getattr(sys, "frozen", False):  # by PyInstaller, cx_Freeze and others
        logger.warning(
            "this frozen program lacks the metadata of pysr's plugins, so that only bicubic, lanczos and nearest are "
            "there; freeze it with them, with PyInstaller by --copy-metadata pysr-vdsr --collect-all pysr_vdsr"
        )
    yield from (sources[key] for key in sorted(sources))


def _refuse_damaged(reason: str) -> ModuleType:
    raise PysrError(f"its metadata are damaged ({reason}); install it again, or write them in UTF-8")


def _version() -> str:
    from . import __version__

    return __version__


@cache
def _loaded() -> Registry:
    return Registry(_installed())


_overrides: list[Registry] = []


def registry() -> Registry:
    """Return the installed plugins, loaded once per process, or those that `override` has put in their place."""
    return _overrides[-1] if _overrides else _loaded()


@contextmanager
def override(sources: Iterable[Source]) -> Iterator[Registry]:
    """Replace the installed plugins within a ``with`` block, in all threads. For tests.

    Args:
        sources: The plugins to use instead; include the core's if it is needed.

    Yields:
        The registry in use within the block.
    """
    replacement = Registry(sources)
    _overrides.append(replacement)
    try:
        yield replacement
    finally:
        _overrides.remove(replacement)


def core() -> Source:
    """The core's own models, losses and so on, which come through the same hooks as all others."""
    return Source("core", CORE, _version(), lambda: import_module("pysr.builtin.plugin"))


def models() -> list[Model]:
    """List the installed models, without importing torch.

    Returns:
        The models' descriptions, in the order of their plugins: the core first, then by distribution name.
    """
    return list(registry().models.values())
