"""What the documentation site has beside the pages of this folder; called by MkDocs (hooks in mkdocs.yml).

Pages that lie elsewhere in the repository, such as the README and those of the plugins, become pages of the site, and
so does the help of the command line. Links are written for the repository: here they are turned to those pages, and
links to files that the site does not have, such as sources, become plain text.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

from pysr.cli.app import commands

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
GUESTS = {  # the pages that lie elsewhere: their names on the site, and their files
    "index.md": ROOT / "README.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "examples.md": ROOT / "examples" / "README.md",
    "security.md": ROOT / "SECURITY.md",
    "packages/pixelcnn-kernel.md": ROOT / "csrc" / "pixelcnn" / "README.md",
} | {f"packages/{path.parent.name}.md": path for path in sorted(ROOT.glob("plugins/*/README.md"))}
NAMES = {path: name for name, path in GUESTS.items()}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in this folder."""
    for name, path in GUESTS.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    files.append(File.generated(config, "reference/command-line.md", content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn the links of a page, which are those of the repository, into links of the site."""
    name = page.file.src_uri
    folder = GUESTS.get(name, DOCS / name).parent

    def turned(link: re.Match[str]) -> str:
        mark, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        path = Path(os.path.normpath(folder / target))
        if not path.exists():
            return link[0]  # MkDocs says that it leads nowhere
        if path not in NAMES and not path.is_relative_to(DOCS):
            return text
        there = NAMES.get(path) or path.relative_to(DOCS).as_posix()
        return f"{mark}[{text}]({os.path.relpath(there, os.path.dirname(name) or '.')}{anchor})"

    return LINK.sub(turned, markdown)


def command_line() -> str:
    """The reference of the command line: what every command prints with --help."""
    parts = ["# Command line", "What each command prints with `--help`."]
    settings = commands.context_settings | {"terminal_width": 84}
    for context in _contexts(click.Context(commands, info_name="pysr", **settings)):
        parts += [f"## {context.command_path}", f"```text\n{context.command.get_help(context)}\n```"]
    return "\n\n".join(parts) + "\n"


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """The command of a context, and all below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name, command in context.command.commands.items():
            yield from _contexts(type(context)(command, parent=context, info_name=name))
