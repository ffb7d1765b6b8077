"""``pysr plugins``, and ``pysr plugins new``: what it writes works at once, and no name can do harm."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pysr.cli import app
from pysr.cli import plugins as plugins_module
from pysr.cli.plugins import KINDS, write_plugin


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plugins_of_every_kind_pass_their_tests_and_the_conformance_checks(tmp_path: Path) -> None:
    for kind in KINDS:
        folder = tmp_path / f"my-{kind}"
        write_plugin(folder, kind)
        module = folder.name.replace("-", "_")
        info = tmp_path / f"pysr_{module}-0.1.0.dist-info"  # as `pip install -e` leaves it
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pysr-{folder.name}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[pysr]\n{folder.name} = pysr_{module}.plugin\n")
    path = os.pathsep.join([str(tmp_path), *(f"{tmp_path}/my-{kind}/src" for kind in KINDS), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-v", "--import-mode=importlib", "-p", "pysr.testing.pytest_plugin"]
    names = [f"--pysr-plugin=pysr-my-{kind}" for kind in KINDS]
    done = subprocess.run(
        [*command, *names, *(f"my-{kind}/tests" for kind in KINDS)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    for kind in KINDS:
        shown = "reader" if kind == "model-file" else kind
        assert f"pysr-my-{kind}: {shown} my-{kind} PASSED" in done.stdout
        assert f"test_my_{kind.replace('-', '_')}.py::" in done.stdout


def test_what_backends_lack_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins_module, "find_spec", lambda package: None)
    assert plugins_module._state("ncnn", "pysr-ncnn", {"pysr-vdsr"}) == "(not installed: pip install pysr-ncnn)"
    assert plugins_module._state("ncnn", "pysr-ncnn", {"pysr-ncnn"}) == "(not installed: pip install ncnn)"


def test_what_installed_plugins_lack_is_named_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugins_module, "find_spec", lambda package: None)
    assert app.main(["plugins"]) == 0
    backends = capsys.readouterr().out.rpartition("networks are computed by")[2]
    assert "ncnn (not installed: pip install ncnn)" in backends, "pysr-ncnn is installed"


def test_a_backend_of_another_distribution_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "packages_distributions", lambda: {"unittest": ["pytest"]})
    assert plugins_module._state("unittest", "pysr-onnx", ()) == metadata.version("pytest")
    assert plugins_module._state("json", "pysr-onnx", ()) == "of an unknown version"


def test_the_folder_is_complete_and_named_in_what_to_do_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["plugins", "new", "my-method"]) == 0
    assert "pip install -e my-method" in capsys.readouterr().err
    names = {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()}
    assert {f"my-method/{name}" for name in ("pyproject.toml", "README.md", "tests/test_my_method.py")} < names
    assert {f"my-method/src/pysr_my_method/{name}.py" for name in ("__init__", "plugin", "network", "train")} < names
    assert [path.name for path in here.iterdir()] == ["my-method"], "nothing else is left"
    text = (here / "my-method/pyproject.toml").read_text()
    assert 'name = "pysr-my-method"' in text and 'my-method = "pysr_my_method.plugin"' in text


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("My-Method", "model", "small letters, digits and hyphens"),
        ("../there", "model", "small letters, digits and hyphens"),
        ("2fast", "model", "beginning with a letter"),
        ("a--b", "model", "as in my-method"),
        ("a" * 61, "model", "up to 60"),
        ("lambda", "model", "cannot be the name"),
        ("bicubic", "model", "a model called 'bicubic' already"),
        ("auto", "model", "a model called 'auto' already"),
        ("l1", "loss", "a loss called 'l1' already"),
        ("pysr-psnr", "metric", "a metric called 'psnr' already"),
        ("there", "model", "is already there"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str, reason: str
) -> None:
    (here / "there").mkdir()
    assert app.main(["plugins", "new", name, "--kind", kind]) == 2
    assert reason in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["there"]
