"""``pysr plugins``: what is installed; and ``pysr plugins new``: a plugin to begin with."""

from __future__ import annotations

import keyword
import re
import tempfile
from collections.abc import Collection
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import click

from .. import __version__
from ..errors import InputError
from .options import CliState, verbosity_options
from .terminal import eprint, plugins_table, print_json, print_table

KINDS = ("model", "loss", "preprocessor", "metric", "degradation", "model-file")
BACKENDS = {  # what computes networks: the package, and what to install for it
    "torch": ("torch", "torch"),
    "OpenVINO": ("openvino", "'pysr-sdk[openvino]'"),
    "ONNX Runtime": ("onnxruntime", "pysr-onnx"),
    "ncnn": ("ncnn", "pysr-ncnn"),
}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 60
_NEXT_STEPS = """\
{folder} is a complete plugin. Next:
  pip install -e {folder}
  pytest {folder}
  pysr plugins"""


@click.group("plugins", invoke_without_command=True)
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity_options
@click.pass_context
def plugins(ctx: click.Context, /, json: bool) -> None:
    """List the installed plugins and their errors, or begin a new one."""
    if ctx.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    from ..registry import registry

    ctx.ensure_object(CliState).show_log()
    found = registry().plugins
    if json:
        print_json([asdict(plugin) for plugin in found])
    else:
        print_table(plugins_table(found))
        here = {plugin.distribution for plugin in found}
        print("networks are computed by", "; ".join(f"{name} {_state(*how, here)}" for name, how in BACKENDS.items()))


def _state(package: str, source: str, here: Collection[str]) -> str:
    """The version of a backend, or how to get it; nothing is imported.

    Args:
        package: What is imported, which is also what its distribution is usually called.
        source: What to install for it.
        here: The distributions of plugins that are installed; one may be so without what it needs.
    """
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    if not find_spec(package):
        return f"(not installed: pip install {package if source in here else source})"
    try:
        return version(package)
    except PackageNotFoundError:  # such as onnxruntime-gpu
        return next(map(version, packages_distributions().get(package, ())), "of an unknown version")


@plugins.command("new")
@click.argument("name", metavar="NAME")
@click.option("--kind", type=click.Choice(KINDS), default="model", show_default=True, help="What it provides.")
@verbosity_options
@click.pass_obj
def new(state: CliState, /, name: str, kind: str) -> None:
    """Write a complete plugin into the folder NAME, with tests that pass.

    NAME is that of the model, loss and so on: small letters, digits and hyphens, as in my-method.
    """
    state.show_log()
    _check_name(name, kind)
    write_plugin(Path(name), kind)
    if not state.quiet:
        eprint(_NEXT_STEPS.format(folder=name))


def _check_name(name: str, kind: str) -> None:
    """Refuse a name that cannot be used, or that something installed has."""
    from ..namespaces import AUTO
    from ..registry import registry

    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME or keyword.iskeyword(name):
        raise InputError(
            f"{name!r} cannot be the name of a plugin; use up to {_LONGEST_NAME} small letters, digits and hyphens,"
            " beginning with a letter, as in my-method"
        )
    if Path(name).exists():
        raise InputError(f"{name!r} is already there; choose another name, or remove it first")
    taken = {
        "model": {alias for model in registry().models.values() for alias in (model.name, *model.aliases)} | {AUTO},
        "loss": registry().losses,
        "preprocessor": registry().preprocessors,
        "metric": registry().metrics,
        "degradation": registry().degradations,
        "model-file": registry().readers,
    }
    if _short(name) in taken[kind]:
        raise InputError(f"there is a {kind} called {_short(name)!r} already; choose another name")
    if find_spec(_module(name)):
        raise InputError(f"a Python package {_module(name)} is installed already; choose another name")


def _short(name: str) -> str:
    return name.removeprefix("pysr-")


def _module(name: str) -> str:
    return f"pysr_{_short(name).replace('-', '_')}"


def write_plugin(folder: Path, kind: str) -> None:
    """Write a plugin whose name is that of the folder; the folder appears complete, or not at all.

    Args:
        folder: Does not exist yet.
        kind: One of `KINDS`.
    """
    module = _module(folder.name)
    major, minor = __version__.split(".")[:2]
    values = {
        "name": _short(folder.name),
        "package": f"pysr-{_short(folder.name)}",
        "module": module,
        "range": f">={major}.{minor},<{major}.{int(minor) + 1}",
    }
    places = {"init.py": f"src/{module}/__init__.py", "test.py": f"tests/test_{module.removeprefix('pysr_')}.py"}
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".pysr-new-") as temporary:
        made = Path(temporary) / folder.name
        for source in ("common", kind):
            for template in (files(__package__) / "templates" / source).iterdir():
                name = template.name.removesuffix(".template")
                in_package = f"src/{module}/{name}" if name.endswith(".py") else name
                target = made / places.get(name, in_package)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = Template(template.read_text(encoding="utf-8")).substitute(values)
                target.write_text(text, encoding="utf-8")
        made.rename(folder)
