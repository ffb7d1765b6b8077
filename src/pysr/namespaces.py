"""What plugins provide of one kind, by name: descriptions, and whose they are."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Generic, TypeVar

from .declarations import check_declaration
from .errors import UnknownNameError
from .plugin import Degradation, Engine, Loss, Metric, Model, ModelReader, Preprocessor
from .providers import PROVIDERS

LOCAL = "local"  # the engine that works in this process
AUTO = "auto"  # in a model's place: choose one for each image
HOOKS = {  # what each kind of description comes from, in the order of `Registry`'s namespaces
    "model": "pysr_models",
    "loss": "pysr_losses",
    "preprocessor": "pysr_preprocessors",
    "metric": "pysr_metrics",
    "degradation": "pysr_degradations",
    "reader": "pysr_model_files",
    "engine": "pysr_engines",
}

Description = TypeVar("Description", Model, Loss, Preprocessor, Metric, Degradation, ModelReader, Engine)


@dataclass
class Namespace(Generic[Description]):
    """Descriptions of one kind by name, with the distributions that own them."""

    kind: str
    type: type[Description]
    items: dict[str, Description] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def add(self, item: object, owner: str) -> str:
        """Add one description and return its name. Raises ValueError if it is not acceptable."""
        if not isinstance(item, self.type):
            raise ValueError(f"{HOOKS[self.kind]} gave {item!r}, which is not a {self.type.__name__}")
        check_declaration(item)
        names = (item.name, *getattr(item, "aliases", ()))
        if self.kind == "model" and AUTO in names:
            raise ValueError(f"a model cannot be called {AUTO!r}, the word for choosing among all models; rename it")
        for name in names:
            if taken := self.owners.get(name) or self._reserved(name, owner):
                raise ValueError(f"the {self.kind} name {name!r} is already taken by {taken}")
        self.items[item.name] = item
        self.owners.update(dict.fromkeys(names, owner))
        self.aliases.update(dict.fromkeys(names[1:], item.name))
        return item.name

    def _reserved(self, name: str, owner: str) -> str | None:
        """The installed package that a name belongs to, whichever package comes first; None if that is the owner."""
        provider = PROVIDERS.get(self.kind, {}).get(name, owner)
        return provider if provider != owner and _installed_version(provider) else None

    def find(self, name: str) -> Description:
        """The description of that name or alias. Raises UnknownNameError."""
        if isinstance(name, str) and (found := self.items.get(self.aliases.get(name, name))):
            return found
        raise UnknownNameError(
            f"there is no {self.kind} called {name!r}{self._hint(str(name).lower())} "
            f"(installed: {', '.join(sorted(self.items)) or 'none'})"
        )

    def _hint(self, name: str) -> str:
        if self.kind == "model" and name == AUTO:
            return ", the word for choosing among all models, which stands alone in load and upscale"
        spelling = {known.lower(): known for known in self.owners}
        providers = PROVIDERS.get(self.kind, {})
        if name in providers.keys() - spelling:
            return f"; it comes with the package {providers[name]}, which {_why_missing(providers[name])}"
        near = difflib.get_close_matches(name, spelling, n=1)
        return f"; did you mean {spelling[near[0]]!r}?" if near else ""


def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _why_missing(package: str) -> str:
    if found := _installed_version(package):
        return f"is there ({found}) but left out or failed to load: `pysr plugins` says why"
    if not find_spec(module := package.replace("-", "_")):
        return "is not installed"
    frozen = f"build a frozen program with them (PyInstaller: --copy-metadata {package} --collect-all {module})"
    return f"is there without its metadata, by which plugins are found: reinstall it, or {frozen}"
