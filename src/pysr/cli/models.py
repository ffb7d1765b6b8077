"""``pysr models``: the installed models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import PysrError
from .options import CliState, models_folder_option, verbosity_options
from .terminal import eprint, files_table, models_table, print_error, print_json, print_table

if TYPE_CHECKING:
    from ..plugin import Model


@click.command("models")
@click.option("--licence", metavar="TEXT", help="Only models whose weights' licence has TEXT in it, in any case.")
@models_folder_option
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_obj
def list_models(state: CliState, /, licence: str | None, json: bool) -> None:
    """List the installed models, and the model files in the folders of models.

    Model files are opened, which takes a while the first time, only for --licence and --json.
    """
    from ..registry import registry
    from ..upscaling.model_files import list_models as files

    state.show_log()
    models = list(registry().models.values())
    paths = files()
    if json or licence is not None:
        models += _opened(paths)
    if licence is not None:
        models = _under(licence, models)
    if json:
        print_json([_facts(model) for model in models])
        return
    print_table(models_table(models))
    if paths and licence is None:
        print_table(files_table({path: _read_by(path) for path in paths}))


def _under(licence: str, models: Sequence[Model]) -> list[Model]:
    """The models whose weights' licence has a text in it; where there is none, which licences there are is told."""
    found = [model for model in models if any(licence.lower() in text.lower() for text in _licences(model))]
    if not found:
        known = sorted({text for model in models for text in _licences(model)})
        listed = f"there are {', '.join(known)}" if known else "none states one"
        eprint(f"pysr: no model's weights have a licence with {licence!r} in it; {listed}")
    return found


def _opened(paths: Sequence[Path]) -> Iterator[Model]:
    """Open model files; those that cannot be are named on standard error."""
    from ..upscaling.model_files import open_model

    for path in paths:
        try:
            yield open_model(path)
        except PysrError as error:
            print_error(error)


def _read_by(path: Path) -> str:
    from ..upscaling.model_files import reader_of

    reader = reader_of(path)
    return reader.name if reader else "no installed plugin"


def _licences(model: Model) -> set[str]:
    return {weights.licence for weights in model.weights.values()} | ({model.licence} if model.licence else set())


def _facts(model: Model) -> dict[str, Any]:
    names = (
        "name",
        "aliases",
        "scales",
        "trained_scales",
        "variants",
        "colour",
        "domain",
        "stochastic",
        "summary",
        "paper",
        "licence",
    )
    weights = []
    for key, entry in model.weights.items():
        scale, variant = key if isinstance(key, tuple) else (key, None)
        weights.append({"scale": scale, "variant": variant, "licence": entry.licence, "trained_on": entry.trained_on})
    facts = {name: getattr(model, name) for name in names}
    return facts | {"file": str(model.file) if model.file else None, "weights": weights}
