"""Whether what a plugin declares is of the right types: else it would fail in whatever uses it first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from .plugin import Weights

Kind = tuple[str, Callable[[Any], bool]]  # in words, and whether a value is one


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(isinstance(value, kind) for value in values)


def _map_to(kind: type | tuple[type, ...], values: Any) -> bool:
    return isinstance(values, Mapping) and all(isinstance(value, kind) for value in values.values())


def _one_of(*words: str) -> Kind:
    return f"one of {', '.join(words)}", lambda value: value in words


_TEXT: Kind = "text", lambda value: isinstance(value, str)
_WORDS: Kind = "several words", lambda value: _are(str, value)
_POSITIVE: Kind = "a whole number from 1", lambda value: _is_whole(value) and value >= 1
_DISTANCE: Kind = "a whole number from 0", lambda value: _is_whole(value) and value >= 0
_CALLABLE: Kind = "a function", callable
_FIELDS: dict[str, Kind] = {
    "name": ("text in one line", lambda value: isinstance(value, str) and value.isprintable() and bool(value.strip())),
    **dict.fromkeys(("summary", "paper", "licence", "runtime", "title"), _TEXT),
    "scales": ("several whole numbers", lambda value: _are(int, value)),
    **dict.fromkeys(("aliases", "preprocess", "variants", "endings"), _WORDS),
    "weights": ("a mapping to Weights", lambda value: _map_to(Weights, value)),
    "scores": ("a mapping to numbers", lambda value: _map_to((int, float), value)),
    **dict.fromkeys(("strength_from", "recipes"), ("a mapping", lambda value: isinstance(value, Mapping))),
    **dict.fromkeys(("multiple_of", "minimum_size", "smallest"), _POSITIVE),
    **dict.fromkeys(("reach", "after_reach", "decimals"), _DISTANCE),
    "receptive_field": ("a whole number or None", lambda value: value is None or (_is_whole(value) and value >= 0)),
    "bytes_per_pixel": ("a number", lambda value: isinstance(value, (int, float))),
    **dict.fromkeys(("network", "build", "reads", "open", "run"), _CALLABLE),
    "colour": _one_of("rgb", "luma", "any"),
    "domain": _one_of("photo", "face", "digit", "style"),
    "made_for": _one_of("clean", "compressed"),
}


def check_declaration(item: Any) -> None:
    """Check the types of a description's fields.

    Args:
        item: A `Model`, `Loss` or other description.

    Raises:
        ValueError: A field cannot be used; the message names it.
    """
    for field in fields(item):
        value = getattr(item, field.name)
        what, is_right = _FIELDS.get(field.name, ("anything", lambda value: True))
        if not is_right(value):
            raise ValueError(
                f"a {type(item).__name__} called {item.name!r:.60} has {field.name}={value!r:.60}; give {what}"
            )
