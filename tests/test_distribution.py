"""What is published: one version, everywhere; licences; and jobs that any machine can run."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import pysr

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(ROOT.glob("plugins/*/pyproject.toml"))
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))

pytestmark = pytest.mark.skipif(not PLUGINS or not WORKFLOWS, reason="needs the whole repository")


def project(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.parent.name)
def test_plugins_have_the_version_of_the_core(path: Path) -> None:
    whole = project(path)
    assert whole["project"]["dynamic"] == ["version"]
    assert (path.parent / whole["tool"]["hatch"]["version"]["path"]).resolve() == ROOT / "src/pysr/__init__.py"
    major, minor = map(int, pysr.__version__.split(".")[:2])
    needed = [line for line in whole["project"]["dependencies"] if line.startswith("pysr-")]
    assert needed
    assert {line.partition(">")[2] for line in needed} == {f"={major}.{minor},<{major}.{minor + 1}"}


def test_pages_name_the_version() -> None:
    assert f"\nversion: {pysr.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^## {pysr.__version__} ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.parent.name)
def test_plugins_come_with_their_licences(path: Path) -> None:
    assert (path.parent / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    facts = project(path)["project"]
    named = {file for pattern in facts.get("license-files", ["LICENSE"]) for file in path.parent.glob(pattern)}
    assert named == {path.parent / "LICENSE", *path.parent.glob("src/*/weights/LICENSE*")}
    assert ("AND" in facts["license"]) == (len(named) > 1)


def test_all_names_every_plugin_with_models() -> None:
    extra = project(ROOT / "pyproject.toml")["project"]["optional-dependencies"]["all"]
    with_models = {f"pysr-{path.parent.name}" for path in PLUGINS if list(path.parent.glob("src/*/weights"))}
    assert {line for line in extra if not line.startswith("pysr-sdk")} == with_models


def test_every_job_is_a_target_of_make() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    listed = re.search(r"target: \[(.*)\]", text)
    assert listed
    run = set(re.findall(r"run: make ([a-z]+)", text)) | set(listed[1].split(", "))
    assert run <= targets
    assert {"lint", "test", "sanitize", "cuda", "docs", "dist", "wheels"} <= run


def test_wheels_are_built_for_the_versions_that_are_named() -> None:
    whole = project(ROOT / "pyproject.toml")
    named = {line.rpartition(" ")[2] for line in whole["project"]["classifiers"] if re.search(r":: 3\.\d+$", line)}
    built = {f"3.{minor}" for minor in re.findall(r"cp3(\d+)-", whole["tool"]["cibuildwheel"]["build"])}
    tested = set(re.findall(r"3\.\d+", (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")))
    assert named == built == tested
