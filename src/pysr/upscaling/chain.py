"""Which models a name stands for: one, or several in a row, each with its part of the enlargement.

Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import InputError
from ..plugin import Model
from ..registry import registry


def choose(what: str, given: Any, allowed: tuple[Any, ...], hint: str = "") -> Any:
    """What was given, or for None the first that is allowed; InputError, with the hint, where that cannot be."""
    if given is None and allowed:
        return allowed[0]
    if given not in allowed:
        raise InputError(f"{what} is {given!r}; it can be {', '.join(map(str, allowed)) or 'nothing'}{hint}")
    return allowed[allowed.index(given)]  # 2, where 2.0 was given


@dataclass(frozen=True)
class Chain:
    """Models in a row, the result of one being the input of the next; mostly a single one.

    models: their descriptions. parts: the scale of each, where the user named them, else empty: all the same.
    """

    models: tuple[Model, ...]
    parts: tuple[int, ...] = ()

    @classmethod
    def parse(cls, model: str | Sequence[str]) -> Chain:
        """The chain that a name, ``"a+b"``, ``"a:2+b:3"``, ``["a", "b"]`` or ``["a:2", "b:3"]`` means.

        Raises UnknownNameError; InputError for scales that are no number, that a model does not offer, or that only
        some of the models have.
        """
        names = model.split("+") if isinstance(model, str) else list(model) if isinstance(model, Sequence) else [model]
        if not names:
            raise InputError("the list of models is empty; name one model, or several to be used one after the other")
        found = [_part(name) for name in names]
        models, parts = tuple(about for about, _ in found), tuple(part for _, part in found if part)
        if parts and len(parts) < len(models):
            raise InputError(f"only some models of {'+'.join(names)} have a scale; give all one or none, as in a:2+b:3")
        return cls(models, parts)

    @property
    def name(self) -> str:
        """As the command line takes it: ``"a"``, ``"a+b"`` or ``"a:2+b:3"``."""
        names = [about.name for about in self.models]
        return "+".join(map("{}:{}".format, names, self.parts) if self.parts else names)

    @property
    def scales(self) -> tuple[int, ...]:
        """Enlargements per side that all models together offer; the first is the default."""
        if self.parts:
            return (math.prod(self.parts),)
        first, *others = self.models
        return tuple(s ** len(self.models) for s in first.scales if all(s in other.scales for other in others))

    @property
    def trained_scales(self) -> tuple[int, ...]:
        """Those of its scales for which every model comes trained."""
        chains = {scale: self.at(scale) for scale in self.scales}
        return tuple(
            scale
            for scale, chain in chains.items()
            if all(part in about.trained_scales for about, part in zip(chain.models, chain.parts, strict=True))
        )

    def at(self, scale: int | None) -> Chain:
        """The same with a scale for each model, whose product is ``scale``; InputError where that cannot be."""
        equal_parts = len(self.models) > 1 and not self.parts
        example = "+".join(f"{about.name}:{about.scales[0]}" for about in self.models)
        hint = f" (in equal parts); for another name the parts, as in {example}" if equal_parts else ""
        scale = choose(f"scale of {self.name}", scale, self.scales, hint)
        if self.parts:
            return self
        part = next(part for part in self.models[0].scales if part ** len(self.models) == scale)
        return replace(self, parts=(part,) * len(self.models))

    def describe(self) -> Model:
        """A single model's own description; for several one of the whole, whose name, scales and colour hold.

        colour: what keeps most of a picture: "rgb" if any model takes it, else "luma" if any does, else "any".
        """
        first, *others = self.models
        if not others:
            return first
        colours = {about.colour for about in self.models}
        colour: Literal["rgb", "luma", "any"] = "rgb" if "rgb" in colours else "luma" if "luma" in colours else "any"
        return Model(self.name, self.scales, first.network, "One model after the other", colour=colour,
                     domain=first.domain)  # fmt: skip


def common_scales(offers: Mapping[str, Sequence[int]]) -> list[int]:
    """Return the scales that all offers, by name, have in common, rising; InputError where there are none."""
    if common := set.intersection(*map(set, offers.values())):
        return sorted(common)
    raise InputError(f"these models have no scale in common ({listed_scales(offers)}); name the scales that you want")


def listed_scales(offers: Mapping[str, Sequence[int]]) -> str:
    """Format the scales that models offer as "srcnn: 2 3 4, vdsr: 2 3"."""
    return ", ".join(f"{name}: {' '.join(map(str, scales))}" for name, scales in offers.items())


def _part(name: str) -> tuple[Model, int | None]:
    """The model and the scale of ``"name:scale"``, or the model of ``"name"`` and None."""
    name, colon, scale = str(name).partition(":")
    about = registry().model(name)
    if not colon:
        return about, None
    if not scale.isdecimal():
        raise InputError(
            f"scale of {about.name} is {scale!r}; give a whole number, as in {about.name}:{about.scales[0]}"
        )
    return about, int(choose(f"scale of {about.name}", int(scale), about.scales))
