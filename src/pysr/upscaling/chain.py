"""Chains of models: parse a name into one or several models, each with its part of the enlargement.

Nothing here imports torch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import Any, Literal

from ..errors import InputError
from ..plugin import Model
from .model_files import find_model, model_path

ModelName = str | os.PathLike[str]  # of an installed model, or a model file's path


def validate_choice(what: str, value: Any, allowed: tuple[Any, ...], hint: str = "", *, of: str = "") -> Any:
    """Return the value, or for None the first one allowed.

    Args:
        what: Name of the choice, for the message.
        value: What was asked for.
        allowed: The allowed values; the first is the default.
        hint: Appended to the message.
        of: Name of the model whose choice it is, if it is a model's.

    Raises:
        InputError: The value is not allowed.
    """
    if value is None and allowed:
        return allowed[0]
    if value not in allowed:
        listed = sorted(allowed) if all(isinstance(choice, int) for choice in allowed) else allowed
        choices = ", ".join(map(str, listed)) or "none"
        if of:
            raise InputError(f"{of} has no {what} {value!r}; it has {choices}{hint}")
        raise InputError(f"{what} is {value!r}; it can be {choices}{hint}")
    return allowed[allowed.index(value)]  # 2 for 2.0


@dataclass(frozen=True)
class Chain:
    """One or more models, each of which enlarges the result of the one before it.

    Attributes:
        models: Their descriptions.
        parts: The scale of each model if the user named them; empty means equal parts.
    """

    models: tuple[Model, ...]
    parts: tuple[int, ...] = ()

    @classmethod
    def parse(cls, model: ModelName | Sequence[ModelName]) -> Chain:
        """Parse a name, ``"a+b"``, ``"a:2+b:3"``, ``["a", "b"]`` or ``["a:2", "b:3"]``; each may be a model file.

        A file's name that has a "+" in it stands alone, or in a list.

        Raises:
            UnknownNameError: A model is not installed.
            InputError: A scale is not a number, is not offered by its model, or is given for only some models; or a
                model file cannot be used.
            WeightsError: A model file is damaged.
            PluginError: A plugin failed on a model file.
        """
        if isinstance(model, str):
            names: list[ModelName] = [model] if "+" not in model or _is_file(model) else [*model.split("+")]
        else:
            names = list(model) if isinstance(model, Sequence) else [model]
        if not names:
            raise InputError("the list of models is empty; name one model, or several to apply in turn")
        parsed = [_parse_part(name) for name in names]
        models, parts = tuple(spec for spec, _ in parsed), tuple(part for _, part in parsed if part)
        if parts and len(parts) < len(models):
            raise InputError(
                f"only some models of {'+'.join(map(str, names))} have a scale; give all one or none, as in a:2+b:3"
            )
        return cls(models, parts)

    @property
    def name(self) -> str:
        """The name as the command line takes it: ``"a"``, ``"a+b"`` or ``"a:2+b:3"``."""
        names = [spec.name for spec in self.models]
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
        """Those of its scales for which every model has shipped weights."""
        chains = {scale: self.at(scale) for scale in self.scales}
        return tuple(
            scale
            for scale, chain in chains.items()
            if all(part in spec.trained_scales for spec, part in zip(chain.models, chain.parts, strict=True))
        )

    def at(self, scale: float | None) -> Chain:
        """Return the chain with a scale for each model, whose product is ``scale`` (None: the default).

        Raises:
            InputError: The chain does not offer that scale.
        """
        equal_parts = len(self.models) > 1 and not self.parts
        example = "+".join(f"{spec.name}:{spec.scales[0]}" for spec in self.models)
        hint = f" (in equal parts); for any other, name the parts, as in {example}" if equal_parts else ""
        if isinstance(scale, float) and not scale.is_integer():
            hint = "; for sizes between, upscale_file takes output=pysr.Output(size=1.5)"
        elif len(self.models) == 1 and scale not in self.scales and (names := chain_for(self.models[0], scale)):
            hint = f"; for {scale}, use the chain {names}"
        scale = validate_choice("scale", scale, self.scales, hint, of=self.name)
        if self.parts:
            return self
        part = next(part for part in self.models[0].scales if part ** len(self.models) == scale)
        return replace(self, parts=(part,) * len(self.models))

    def describe(self) -> Model:
        """Return the description of a single model, or a combined one.

        Of a combined one, only name, scales and colour have meaning, and what its first model is made for.

        The combined colour is the richest of the models': "rgb" if any model takes RGB, else "luma" if any takes luma,
        else "any".
        """
        first, *others = self.models
        if not others:
            return first
        colours = {spec.colour for spec in self.models}
        colour: Literal["rgb", "luma", "any"] = "rgb" if "rgb" in colours else "luma" if "luma" in colours else "any"
        summary = "One model after the other"
        return Model(
            self.name,
            self.scales,
            first.network,
            summary,
            colour=colour,
            domain=first.domain,
            made_for=first.made_for,
        )


def chain_for(model: Model, scale: Any) -> str | None:
    """Name the chain by which a model, applied several times, enlarges by a scale that it does not offer itself.

    Returns:
        In equal parts if that can be, as "vdsr+vdsr+vdsr" for 8, else with the fewest, as "vdsr:2+vdsr:3"; None if no
        product of its scales is that scale, or if its result is drawn at random.
    """
    if model.stochastic or not isinstance(scale, int) or not 2 < scale < 1000:
        return None
    parts = sorted(part for part in model.trained_scales if part > 1)
    lengths = range(2, scale.bit_length())
    if equal := [times for times in lengths if any(part**times == scale for part in parts)]:
        return "+".join([model.name] * equal[0])
    chains = (chain for times in lengths for chain in combinations_with_replacement(parts, times))
    found = next((chain for chain in chains if math.prod(chain) == scale), None)
    return "+".join(f"{model.name}:{part}" for part in found) if found else None


def common_scales(offers: Mapping[str, Sequence[int]]) -> list[int]:
    """Return the scales that all models have in common, in ascending order.

    Args:
        offers: The scales that each model offers, by its name.

    Raises:
        InputError: They have no scale in common.
    """
    if common := set.intersection(*map(set, offers.values())):
        return sorted(common)
    raise InputError(f"these models have no scale in common ({listed_scales(offers)}); name the scales that you want")


def listed_scales(offers: Mapping[str, Sequence[int]]) -> str:
    """Format the scales that models offer as "srcnn: 2 3 4, vdsr: 2 3"."""
    return ", ".join(f"{name}: {' '.join(map(str, sorted(scales)))}" for name, scales in offers.items())


def _is_file(name: str) -> bool:
    path = model_path(name)
    return path is not None and path.is_file()


def _parse_part(name: ModelName) -> tuple[Model, int | None]:
    """The model and the scale of ``"name:scale"``, or the model of ``"name"`` and None."""
    if not isinstance(name, str) or ":" not in name or _is_file(name):
        return find_model(name), None
    name, _, scale = name.rpartition(":")
    spec = find_model(name)
    if not scale.isdecimal():
        raise InputError(f"scale of {spec.name} is {scale!r}; give a whole number, as in {spec.name}:{spec.scales[0]}")
    return spec, int(validate_choice("scale", int(scale), spec.scales, of=spec.name))
