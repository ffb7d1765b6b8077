"""Training configuration: options, recipe, and everything that identifies the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

from ..atomic import FilePath
from ..errors import InputError
from ..files.datasets import digest
from ..ops.seeds import check_seed
from ..plugin import Fit, Model, Recipe
from ..registry import registry
from .data import check_patch
from .losses import split_name

PRECISIONS = ("auto", "float32", "bfloat16")  # float16 would need loss scaling, and bfloat16 serves as well
SCHEDULE_POINTS = 10  # a schedule is code: a resumed run compares it with the original at this many points


@dataclass(frozen=True)
class TrainingOptions:
    """Training options that are not part of a recipe.

    Attributes:
        variant: Which of the model's variants; None is its first.
        seed: Seed of everything random, 0 to 2^64 - 1.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ... Started by torchrun, each process takes a
            GPU of its own for "auto" and "cuda", and an equal part of every batch.
        precision: "auto" (bfloat16 where the hardware has it, else float32), "float32" or "bfloat16". A model that
            needs float32 is trained in bfloat16, which is faster, only on request, and is validated in float32.
        weights: A safetensors file to start from; None starts from new weights.
        pre_upsampler: Name of a model whose result the network gets instead of the bicubic enlargement, as in
            `pysr.load`.

    Raises:
        InputError: The seed or the precision is not allowed.
    """

    variant: str | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    weights: FilePath | None = None
    pre_upsampler: str | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.precision == "float16":
            raise InputError("precision 'float16' is for upscaling; train in 'bfloat16' or 'float32'")
        if self.precision not in PRECISIONS:
            raise InputError(f"unknown precision {self.precision!r}; use {', '.join(map(repr, PRECISIONS))}")


@dataclass(frozen=True)
class TrainingConfig:
    """A complete training request, checked: the model with its recipe, the data, and where the results go.

    Attributes:
        model: The model to train.
        recipe: How to train it.
        data: Folders of images, or ``.npz`` files of small ones; see `read_images`.
        out: Folder for the results.
        validation: Folder or ``.npz`` file of images that decide which weights are best; None for no validation.
        options: Everything else.

    Raises:
        InputError: The model cannot be trained this way.
    """

    model: Model
    recipe: Recipe | Fit
    data: tuple[Path, ...]
    out: Path
    validation: Path | None = None
    options: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        self._check_variant()
        if wrong := set(self.scales) - set(self.model.scales):
            raise InputError(
                f"{self.model.name} has no scale {min(wrong)}; it has {_listed(sorted(self.model.scales))}"
            )
        if isinstance(self.recipe, Fit):
            self._check_fit(self.recipe)
        else:
            self._check_recipe(self.recipe)

    def _check_variant(self) -> None:
        allowed, variant = self.model.variants, self.options.variant
        if variant and variant not in allowed:
            raise InputError(f"{self.model.name} has no variant {variant!r}; it has {_listed(allowed)}")

    def _check_fit(self, fit: Fit) -> None:
        if len(self.scales) != 1:
            raise InputError(f"{self.model.name} has a network for each scale; fit one at a time")
        if given := [name for name in ("weights", "pre_upsampler") if getattr(self.options, name)]:
            raise InputError(f"{self.model.name} is fitted in one go; it takes no {_listed(given)}")

    def _check_recipe(self, recipe: Recipe) -> None:
        if recipe.steps < 1:
            raise InputError(f"steps is {recipe.steps}; give 1 or more")
        check_patch(recipe.patch, self.scales)
        if recipe.degradation:
            registry().degradation(recipe.degradation)
        works_at_output_size = registry().enlarges_first(self.model) and not self.model.stochastic
        if len(self.scales) > 1 and not works_at_output_size:
            raise InputError(
                f"the network of {self.model.name} enlarges by itself, and is a different one for each scale; give one "
                "scale"
            )

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales to train together, each once."""
        return tuple(dict.fromkeys(self.recipe.scales))

    @property
    def variant(self) -> str | None:
        """The variant to train; None if the model has none."""
        return self.options.variant or next(iter(self.model.variants), None)

    @property
    def weights(self) -> Path | None:
        """The file to start from."""
        return Path(self.options.weights) if self.options.weights else None

    @property
    def best(self) -> Path:
        """The file of the best weights."""
        return self.out / "best.safetensors"

    @property
    def last(self) -> Path:
        """The file of the newest weights."""
        return self.out / "last.safetensors"

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The facts that identify the run, as JSON types: written to weights files and compared on resuming."""
        return {
            "model": self.model.name,
            "variant": self.variant,
            "recipe": self.recipe.name,
            "scales": list(self.scales),
            "seed": self.options.seed,
            "weights": self.weights.name if self.weights else None,
            "pre_upsampler": self.options.pre_upsampler,
        }

    @cached_property
    def recipe_values(self) -> dict[str, Any]:
        """The values of the recipe that are data, not code."""
        values = {item.name: getattr(self.recipe, item.name) for item in fields(self.recipe)}
        return {k: value for k, value in values.items() if k not in ("name", "reasons") and not callable(value)}

    def metadata(self, step: int) -> dict[str, str]:
        """Return the metadata of a weights file.

        ``pysr.initial`` is the pre-upsampler ("" for bicubic), ``pysr.weights`` the name of the initial weights file,
        ``pysr.values`` the recipe's values as JSON, ``pysr.data`` the names of folders and files; the other keys are
        named as in `identity`.

        Args:
            step: Steps done; 1 for a fitted model.
        """
        run = {name: "" if value is None else value for name, value in self.identity.items()}
        return {
            "pysr.model": run["model"],
            "pysr.variant": run["variant"],
            "pysr.recipe": run["recipe"],
            "pysr.scales": " ".join(map(str, run["scales"])),
            "pysr.seed": str(run["seed"]),
            "pysr.weights": run["weights"],
            "pysr.initial": run["pre_upsampler"],
            "pysr.values": json.dumps(self.recipe_values),
            "pysr.step": str(step),
            "pysr.data": ", ".join(place.name for place in self.data),
            "pysr.licence": "the trainer's choice; state it before you share this file",
        }

    def resume_facts(self) -> dict[str, Any]:
        """Return the facts that must be unchanged for a run to resume exactly, as JSON types.

        Files are compared by digest: a run may be moved to another folder, but not continue on other data.
        """
        assert isinstance(self.recipe, Recipe)
        schedule, options = self.recipe.schedule, (path for name in self.recipe.losses for path in split_name(name)[1])
        return {
            **self.recipe_values,
            **self.identity,
            "files": {name: digest(Path(name)) for name in options if Path(name).is_file()},
            "schedule": [f"{schedule(point / SCHEDULE_POINTS):.6g}" for point in range(SCHEDULE_POINTS + 1)],
            "data": [digest(place, images=not self.recipe.sampler) for place in self.data],
            "validation": digest(self.validation) if self.validation else None,
        }


def recipe(model: str | Model, name: str | None = None, **options: str) -> Recipe | Fit:
    """Build one of a model's recipes, to train with as it is or with changes.

    >>> from dataclasses import replace
    >>> quick = replace(recipe("vdsr"), steps=500, scales=(2,))   # doctest: +SKIP

    Args:
        model: A name or alias, or a description, which need not be installed.
        name: Which of the model's recipes; None is its first.
        options: The recipe's own options, by name, such as the image whose style to learn.

    Returns:
        A `Recipe`, or a `Fit` for a method without gradient steps. A `Fit` has one scale, the first it offers; replace
        ``scales`` to fit another.

    Raises:
        UnknownNameError: There is no such model.
        InputError: The model has no such recipe, or the recipe no such option.
    """
    spec = model if isinstance(model, Model) else registry().model(model)
    if not spec.recipes:
        raise InputError(f"{spec.name} cannot be trained: its plugin offers no recipe; choose another model")
    name = name or next(iter(spec.recipes))
    if name not in spec.recipes:
        raise InputError(f"{spec.name} has no recipe {name!r}; it has {_listed(spec.recipes)}")
    build = spec.recipes[name]
    parameters = signature(build).parameters
    if unknown := options.keys() - parameters.keys():
        raise InputError(
            f"the recipe {name!r} of {spec.name} has no option {min(unknown)!r}; it has {_listed(parameters)}"
        )
    built = build(**options)
    return replace(built, name=name, scales=built.scales[:1] if isinstance(built, Fit) else built.scales)


def _listed(names: Sequence[object] | Any) -> str:
    return ", ".join(map(str, names)) or "none"
