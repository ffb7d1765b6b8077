"""What the documentation shows is run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import pysr
from pysr.testing import photo

ROOT = Path(__file__).parents[1]


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    pytest.importorskip("pysr_vdsr", reason="the plugin pysr-vdsr is not installed")
    Image.fromarray((photo(40, 50) * 255).astype("uint8")).save(tmp_path / "photo.jpg")
    for code in blocks("README.md", "python") + blocks("docs/combining.md", "python")[:1]:
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    with Image.open(tmp_path / "photo_x3.png") as made:
        assert made.size == (150, 120)


def test_the_python_about_files_runs(tmp_path: Path) -> None:
    Image.fromarray((photo(40, 50) * 255).astype("uint8")).save(tmp_path / "photo.jpg")
    code = "".join(blocks("docs/files-and-folders.md", "python") + blocks("docs/metadata.md", "python"))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    with Image.open(tmp_path / "wide.png") as made:
        assert made.size == (90, 72)


def test_the_tutorials_plugin_works_as_written(tmp_path: Path) -> None:
    toml = blocks("docs/plugins.md", "toml")[0]
    files = re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", (ROOT / "docs/plugins.md").read_text(), re.DOTALL)
    assert [name for name, _ in files] == ["plugin.py", "network.py", "train.py", "film.py", "plugin.py"]
    package = tmp_path / "pysr_double"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, code in files:
        with (package / name).open("a") as file:  # a later section adds to the plugin's module
            file.write(code)
    info = tmp_path / "pysr_double-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pysr-double\nVersion: 0.1.0\n")
    entry = re.search(r'\[project.entry-points.pysr\]\n(\w+) = "([\w.]+)"', toml)
    assert entry, "the tutorial's pyproject.toml has no entry point"
    (info / "entry_points.txt").write_text(f"[pysr]\n{entry[1]} = {entry[2]}\n")
    check = "from pysr.testing import check_degradation, check_model; check_model('double'); check_degradation('film')"
    train = "from pysr_double.train import recipe; assert recipe().scales == (2,)"
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {check}; {train}"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


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


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / "docs" / page).read_text()):
        assert (ROOT / "docs" / link.strip()).exists(), link
