"""What the documentation shows is run."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pages import PAGES, ROOT
from PIL import Image

import pysr
from pysr.testing import photo


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


def run(command: list[str], folder: Path, package: Path) -> None:
    """Run a command in a folder, as if the package were installed."""
    path = os.pathsep.join([str(folder), str(package / "src"), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def install(package: Path) -> None:
    """Do what ``pip install -e`` does, without the network."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    info = package.parent / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["pysr"].items())
    info.joinpath("entry_points.txt").write_text(f"[pysr]\n{points}")


def test_the_tutorial_leads_to_a_trained_model_and_an_enlarged_image(tmp_path: Path, pictures: Path) -> None:
    pictures.rename(tmp_path / "DIR")
    Image.fromarray((photo(40, 50) * 255).astype("uint8")).save(tmp_path / "photo.jpg")
    package = tmp_path / "my-method"
    commands = [line.split() for line in blocks("docs/plugins.md", "sh")[0].splitlines()]
    assert [command[0] for command in commands] == ["pysr", "pip", "pytest", "pysr", "pysr"]
    for command in commands:
        if command[0] == "pip":
            assert command[1:] == ["install", "-e", "my-method"]
            install(package)
        elif command[0] == "pytest":
            run(["-m", "pytest", "-p", "pysr.testing.pytest_plugin", *command[1:]], tmp_path, package)
        else:
            shorter = ["--steps", "2", "--device", "cpu"] if command[1] == "train" else []
            run(["-m", "pysr", *command[1:], *shorter], tmp_path, package)
    with Image.open(tmp_path / "photo_x2.jpg") as made:
        assert made.size == (100, 80)
    _check_that_the_page_shows_the_files(package)


def _check_that_the_page_shows_the_files(package: Path) -> None:
    page = (ROOT / "docs/plugins.md").read_text()
    shown = re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in shown] == ["plugin.py", "network.py", "train.py", "film.py", "plugin.py"]
    folder = package / "src" / "pysr_my_method"
    for name, code in shown[:3]:
        assert code == (folder / name).read_text(), name
    (folder / "film.py").write_text(shown[3][1])
    with (folder / "plugin.py").open("a") as file:  # a later section adds to the plugin's module
        file.write(shown[4][1])
    run(["-c", "from pysr.testing import check_degradation; check_degradation('film')"], package.parent, package)


def test_what_the_page_on_onnx_shows_runs(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("pysr_onnx", reason="the plugin pysr-onnx is not installed")
    pytest.importorskip("pysr_vdsr", reason="the plugin pysr-vdsr is not installed")
    Image.fromarray((photo(40, 50) * 255).astype("uint8")).save(tmp_path / "photo.jpg")
    run(["-c", "".join(blocks("docs/onnx.md", "python"))], tmp_path, tmp_path)
    with Image.open(tmp_path / "photo_x2.png") as made:
        assert made.size == (100, 80)
    for block in blocks("docs/onnx.md", "sh"):
        for line in block.replace("vdsr", "nearest").splitlines():  # quicker
            assert line.startswith("pysr ")
            run(["-m", *line.split()], tmp_path, tmp_path)
    with Image.open(tmp_path / "photo_x2.jpg") as made:
        assert made.size == (100, 80)


def test_every_hook_is_documented() -> None:
    from pysr import hookspecs

    text = (ROOT / "docs/plugins.md").read_text()
    for name in vars(hookspecs):
        if name.startswith("pysr_"):
            assert f"`{name}()`" in text


def test_no_page_has_a_gap() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")]
    assert len(pages) > 8
    for page in pages:
        assert not re.search(r"^\{\w+\}", page.read_text(), re.MULTILINE), page


def test_the_scores_that_models_are_chosen_by_are_the_measured_ones() -> None:
    page = (ROOT / "docs/results.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", page[page.index("## Set5") : page.index("## Set14")], re.MULTILINE)
    measured = {name: [cell.split(" / ")[0].strip("*") for cell in cells.split(" | ")] for name, cells in rows}
    models = [model for model in pysr.models() if model.name in measured]
    assert "bicubic" in {model.name for model in models}
    for model in models:
        scores = [f"{model.scores[scale]:.2f}" if scale in model.scores else "-" for scale in (2, 3, 4)]
        assert scores == measured[model.name], model.name


def test_the_files_that_the_architecture_names_exist() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    named = [name for name in re.findall(r"`([\w/]+(?:/|\.\w+))`", page) if "/" in name or name.endswith(".py")]
    assert len(named) > 60
    homes = (ROOT, ROOT / "src" / "pysr")
    missing = [name for name in named if not any((home / name).exists() for home in homes)]
    assert not missing


def anchors(page: Path) -> set[str]:
    """The places of a page that links can lead to, as GitHub and MkDocs name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text):
        file = ((ROOT / page).parent / target) if target else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = re.findall(r"\]\((docs/[\w/-]+\.md)[#)]", (ROOT / "README.md").read_text())
    pages = [page for page in PAGES if page.startswith("docs/") and not page.startswith("docs/reference/")]
    assert len(pages) > 30
    assert not set(pages) - set(linked)


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    named = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert len(set(named)) == len(named)
    for page in PAGES:
        inside = page.removeprefix("docs/")
        plugin = re.sub(r"plugins/(\w+)/README.md", r"packages/\1.md", page)
        assert {inside, plugin} & set(named) or not page.startswith(("docs/", "plugins/")), f"add {page} to mkdocs.yml"
