"""The public names and their signatures are those of tests/api_surface.json: a change is seen before users see it.

After an intended change, which docs/stability.md may ask to deprecate first:

    python tests/test_api_surface.py > tests/api_surface.json
"""

import ast
import importlib
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any, get_origin, get_overloads

DOORS = ("pysr", "pysr.errors", "pysr.plugin", "pysr.testing", "pysr.training")
SURFACE = Path(__file__).with_name("api_surface.json")
SPECIAL = {"__call__", "__enter__", "__exit__", "__init__"}  # special methods that users call


def surface() -> dict[str, dict[str, Any]]:
    """Every public name by module, as its source declares it."""
    modules = {door: importlib.import_module(door) for door in DOORS}
    return {
        door: {name: described(getattr(module, name)) for name in sorted(module.__all__)}
        for door, module in modules.items()
    }


def described(value: Any) -> Any:
    """The declaration of a class or function; the type of anything else."""
    if inspect.isclass(value):
        return class_members(value)
    if inspect.isfunction(value):
        return [signature(tree_of(each)) for each in get_overloads(value) or [value]]
    return str(value) if get_origin(value) else type(value).__name__


def class_members(value: type) -> dict[str, Any]:
    """Bases, public fields in order, and public methods and properties."""
    tree = tree_of(value)
    assert isinstance(tree, ast.ClassDef)
    members: dict[str, Any] = {"bases": [base.__name__ for base in value.__bases__], "fields": []}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if node.target.id == "_" or not node.target.id.startswith("_"):  # `_: KW_ONLY` parts the fields
                members["fields"].append(ast.unparse(node))
        elif isinstance(node, ast.FunctionDef) and (node.name in SPECIAL or not node.name.startswith("_")):
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            members.setdefault(node.name, []).append(" ".join([*decorators, signature(node)]))
    return members


def tree_of(value: Any) -> ast.stmt:
    """The source of a class or function, parsed."""
    return ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]


def signature(node: ast.stmt) -> str:
    """The signature of a function as its source has it, in one line."""
    assert isinstance(node, ast.FunctionDef)
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returned}"


def test_the_public_surface_is_as_written_down() -> None:
    known, found = json.loads(SURFACE.read_text(encoding="utf-8")), surface()
    assert found.keys() == known.keys()
    for door in DOORS:
        assert found[door].keys() == known[door].keys(), door
        for name, declaration in found[door].items():
            assert declaration == known[door][name], f"{door}.{name}"


def test_a_change_of_a_signature_is_seen() -> None:
    def before(image: int, *, seed: int | None = None) -> None: ...

    def after(image: int, *, seed: int = 0) -> None: ...

    assert described(before) == ["(image: int, *, seed: int | None=None) -> None"]
    assert described(after) == ["(image: int, *, seed: int=0) -> None"]


if __name__ == "__main__":
    print(json.dumps(surface(), indent=2, sort_keys=True))
