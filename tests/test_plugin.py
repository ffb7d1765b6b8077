"""What spares plugin authors repetition: `lazy` and `Weights.shipped`; and that plugins need nothing private."""

import ast
import inspect
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pysr.plugin
from pysr.errors import PluginError
from pysr.plugin import Fit, Recipe, Weights, lazy

ROOT = Path(__file__).parents[1]
DOORS = {"pysr", "pysr.errors", "pysr.plugin", "pysr.testing", "pysr.training"}  # the public modules
SOURCES = sorted(ROOT.glob("plugins/*/src/**/*.py"))

CODE = """
def build(scale, variant=None, *, style: str = "plain"):
    return scale, variant, style

broken = 3
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package "pysr_probe" that can be imported and has a module "network"."""
    folder = tmp_path / "pysr_probe"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "network.py").write_text(CODE)
    (folder / "needing.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.startswith("pysr_probe")]:
        del sys.modules[name]


def test_lazy_imports_when_it_is_called(package: Path) -> None:
    build = lazy("pysr_probe.network:build")
    assert "pysr_probe.network" not in sys.modules
    assert build(4, style="fine") == (4, None, "fine")
    assert "pysr_probe.network" in sys.modules


def test_lazy_has_the_signature_of_its_target(package: Path) -> None:
    parameters = inspect.signature(lazy("pysr_probe.network:build")).parameters
    assert list(parameters) == ["scale", "variant", "style"]
    assert parameters["style"].default == "plain"


def test_lazy_can_be_compared_and_pickled(package: Path) -> None:
    build = lazy("pysr_probe.network:build")
    assert build == lazy("pysr_probe.network:build") != lazy("pysr_probe.network:other")
    assert pickle.loads(pickle.dumps(build))(2) == (2, None, "plain")


@pytest.mark.parametrize(
    ("target", "reason", "advice"),
    [
        ("pysr_probe.nothing:build", "No module named 'pysr_probe.nothing'", ""),
        ("pysr_probe.network:biuld", "no attribute 'biuld'", ""),
        ("pysr_probe.needing:build", "No module named 'no_such_package'", "pip install no_such_package, or "),
    ],
)
def test_a_missing_target_is_a_plugin_error(package: Path, target: str, reason: str, advice: str) -> None:
    for use in (lazy(target), lambda: inspect.signature(lazy(target))):
        with pytest.raises(
            PluginError, match=f"{target} cannot be loaded .*{reason}.*; {advice}reinstall the package pysr_probe"
        ):
            use()


@pytest.mark.parametrize("target", ["", "pysr_probe", "pysr_probe:", ":build", "pysr_probe.build"])
def test_a_target_of_another_form_is_refused_at_once(target: str) -> None:
    with pytest.raises(ValueError, match=r"give 'package\.module:name'"):
        lazy(target)


def test_shipped_weights_are_found_beside_the_package_without_importing_it(package: Path) -> None:
    (package / "__init__.py").write_text("raise RuntimeError")
    one = Weights.shipped("pysr_probe", "probe.safetensors", sha256="12", trained_on="noise", licence="MIT")
    assert one == Weights(package / "weights" / "probe.safetensors", "12", "MIT", "noise")


def test_shipped_weights_by_scale_and_variant(package: Path) -> None:
    by_scale = Weights.shipped("pysr_probe", "probe-x{scale}.safetensors", sha256={2: "12", 3: "34"}, trained_on="")
    assert {key: (value.file.name, value.sha256) for key, value in by_scale.items()} == {
        2: ("probe-x2.safetensors", "12"),
        3: ("probe-x3.safetensors", "34"),
    }
    digests = {(2, "a"): "12", (2, "b"): "34"}
    both = Weights.shipped("pysr_probe", "{variant}-x{scale}.safetensors", sha256=digests, trained_on="")
    assert {key: value.file.name for key, value in both.items()} == {
        (2, "a"): "a-x2.safetensors",
        (2, "b"): "b-x2.safetensors",
    }
    assert "research image sets" in by_scale[2].licence


def test_weights_of_no_package_are_a_plugin_error() -> None:
    with pytest.raises(PluginError, match="no package 'pysr_nothing'"):
        Weights.shipped("pysr_nothing", "x.safetensors", sha256="12", trained_on="")


def test_optional_fields_are_given_by_name() -> None:
    """So that new ones can be added anywhere without changing what a plugin says."""
    for description in (pysr.plugin.Model, pysr.plugin.Preprocessor, pysr.plugin.Metric, Recipe, Fit):
        for parameter in inspect.signature(description).parameters.values():
            if parameter.default is not parameter.empty:
                assert parameter.kind is parameter.KEYWORD_ONLY, (description, parameter)


def imported(path: Path) -> set[str]:
    """Modules of pysr that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name for name in names if name.partition(".")[0] == "pysr"}


@pytest.mark.skipif(not SOURCES, reason="the plugins are not in this source tree")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_plugins_import_public_modules_only(path: Path) -> None:
    assert imported(path) <= DOORS
