"""The pages of the documentation, for the tests that read all of them."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "plugins/*/README.md", "csrc/*/README.md")
    for path in sorted(ROOT.glob(pattern))
    if not path.name.endswith(".template.md")
]
