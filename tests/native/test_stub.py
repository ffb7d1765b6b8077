"""The stub of the extension module describes all of it."""

import ast
import re
from pathlib import Path

import pytest

_kernels = pytest.importorskip("pysr._kernels", reason="built without the native kernels")

STUB = Path(__file__).parents[2] / "src" / "pysr" / "_kernels.pyi"


def signatures(body: list[ast.stmt], prefix: str = "") -> dict[str, list[str]]:
    """Parameters by the names of functions and methods."""
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            found[prefix + node.name] = [name.arg for name in [*arguments.args, *arguments.kwonlyargs]]
        elif isinstance(node, ast.ClassDef):
            found |= signatures(node.body, f"{node.name}.")
    return found


def registered(owner: object, prefix: str = "") -> dict[str, list[str]]:
    """The same, from the docstrings that pybind11 writes."""
    found: dict[str, list[str]] = {}
    for name, value in vars(owner).items():
        if isinstance(value, type):
            found |= registered(value, f"{name}.")
        elif callable(value) and (not name.startswith("_") or name == "__init__"):
            signature = (value.__doc__ or "").split("\n")[0].rpartition(" -> ")[0]
            found[prefix + name] = re.findall(r"(\w+): ", signature)
    return found


def test_the_stub_matches_the_module() -> None:
    assert signatures(ast.parse(STUB.read_text()).body) == registered(_kernels)
