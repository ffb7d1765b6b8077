"""The public names: few, and all of them documented."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TypeGuard

import pytest

import pysr
import pysr.plugin
from pysr import hookspecs

ROOT = Path(__file__).parent.parent
PACKAGE = Path(pysr.__file__).parent
MODULES = sorted(PACKAGE.glob("*.py"))
PLUGIN_GUIDE = ROOT / "docs" / "plugins.md"


def python(*code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "\n".join(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_all_is_what_is_exported() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (typed,) = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    imported = [alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted(pysr.__all__)
    assert set(pysr.__all__) <= set(dir(pysr))
    for name in pysr.__all__:
        assert getattr(pysr, name).__name__ == name
    assert len(set(pysr.__all__)) == len(pysr.__all__) <= 15


def test_star_import_gives_all_and_nothing_else() -> None:
    done = python("from pysr import *", "print(sorted(n for n in globals() if not n.startswith('__')))")
    assert ast.literal_eval(done.stdout) == sorted(pysr.__all__), done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pysr' has no attribute 'upscal'"):
        _ = pysr.upscal
    with pytest.raises(ImportError):
        importlib.import_module("pysr.upscal")


def test_errors_can_be_caught_as_what_they_are() -> None:
    for name, builtin in {
        "InputError": ValueError,
        "UnknownNameError": LookupError,
        "OutOfMemoryError": MemoryError,
        "PluginError": Exception,
        "WeightsError": Exception,
    }.items():
        error = getattr(pysr, name)
        assert issubclass(error, pysr.PysrError)
        assert issubclass(error, builtin)
    assert not issubclass(pysr.PysrError, ValueError)


def test_import_is_light() -> None:
    done = python("import sys, pysr, pysr.plugin, pysr.errors", "print({'torch', 'numpy', 'PIL'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


def test_the_other_pysr_is_named_clearly(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "pysr", ignore=shutil.ignore_patterns("*.so", "__pycache__", "plugins"))
    path = f"import sys; sys.meta_path[:] = sys.meta_path[-3:]; sys.path.insert(0, {str(tmp_path)!r})"
    here = f"assert pysr.__file__.startswith({str(tmp_path)!r})"
    assert python(path, "import pysr", here).returncode == 0
    (tmp_path / "pysr" / "sr.py").write_text("")
    done = python(path, "import pysr")
    assert done.returncode != 0
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: two packages called pysr are installed: pysr-sdk")
    assert "PySR (symbolic regression)" in message
    assert "uninstall both" in message


@pytest.mark.parametrize("last", ["pysr-sdk", "PySR"])
def test_beside_the_other_pysr_the_command_says_one_line(tmp_path: Path, last: str) -> None:
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for package in (PACKAGE, PACKAGE.with_name("pysr_command")):
        shutil.copytree(package, tmp_path / package.name, ignore=ignored)
    (tmp_path / "pysr" / "sr.py").write_text("")
    if last == "PySR":
        (tmp_path / "pysr" / "__init__.py").write_text("print('installing Julia')")
    command = ["import sys; sys.meta_path[:] = sys.meta_path[-3:]", f"sys.path.insert(0, {str(tmp_path)!r})"]
    done = python(*command, "from pysr_command import main", "sys.exit(main())")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("pysr: error: pysr-sdk (image super-resolution) and PySR (symbolic regression)")
    assert done.stderr.count("\n") == 1
    assert "pip uninstall both" in done.stderr


def test_the_command_is_that_of_the_package() -> None:
    done = python("import sys; sys.argv = ['pysr', '--version']", "from pysr_command import main", "sys.exit(main())")
    assert done.stdout == f"pysr {pysr.__version__}\n", done.stderr


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_plugin_authors_get_what_they_need() -> None:
    for name in pysr.plugin.__all__:
        assert hasattr(pysr.plugin, name)
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        _ = pysr.plugin.Modle


def hooks() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("pysr_")]


def test_every_hook_says_what_it_is_for() -> None:
    assert hooks()
    for name in hooks():
        assert inspect.getdoc(getattr(hookspecs, name))


@pytest.mark.skipif(not PLUGIN_GUIDE.is_file(), reason="docs/plugins.md is not in this source tree")
def test_every_hook_is_in_the_guide() -> None:
    text = PLUGIN_GUIDE.read_text(encoding="utf-8")
    assert [name for name in hooks() if not re.search(rf"\b{name}\b", text)] == []


def is_public(node: ast.AST) -> TypeGuard[ast.FunctionDef | ast.ClassDef]:
    """Whether it needs a docstring: hooks are documented by their specification, overloads by the implementation."""
    if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
        return False
    return not {getattr(decorator, "id", "") for decorator in node.decorator_list} & {"hookimpl", "overload"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_public_functions_and_classes_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path.name} does not say what it is"
    assert [node.name for node in tree.body if is_public(node) and not ast.get_docstring(node)] == []


@pytest.mark.parametrize("name", pysr.__all__)
def test_public_methods_have_docstrings(name: str) -> None:
    thing = getattr(pysr, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        members = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        methods = {key: value for key, value in members.items() if callable(value) or isinstance(value, property)}
        assert [key for key, value in methods.items() if not inspect.getdoc(value)] == []
