"""``pysr models`` and ``pysr plugins``: what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import CliState, verbosity_options
from .terminal import models_table, plugins_table, print_json, print_table

if TYPE_CHECKING:
    from ..plugin import Model


@click.command("models")
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_obj
def list_models(state: CliState, /, json: bool) -> None:
    """List the installed models."""
    from ..registry import registry

    state.show_log()
    models = list(registry().models.values())
    if json:
        print_json([_facts(model) for model in models])
    else:
        print_table(models_table(models))


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
    )
    weights = []
    for key, entry in model.weights.items():
        scale, variant = key if isinstance(key, tuple) else (key, None)
        weights.append({"scale": scale, "variant": variant, "licence": entry.licence, "trained_on": entry.trained_on})
    return {name: getattr(model, name) for name in (*names, "summary", "paper")} | {"weights": weights}


@click.command("plugins")
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_obj
def list_plugins(state: CliState, /, json: bool) -> None:
    """List the installed plugins and their errors."""
    from dataclasses import asdict

    from ..registry import registry

    state.show_log()
    plugins = registry().plugins
    if json:
        print_json([asdict(plugin) for plugin in plugins])
    else:
        print_table(plugins_table(plugins))
