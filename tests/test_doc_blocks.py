"""Every code block of the documentation is run, or says why not; every command it shows is one that pysr takes.

A block that cannot be run here has the reason in a comment before it: ``<!-- not run: takes hours -->``; commands that
never can be have theirs below. All commands of pysr are parsed, whether they are run or not.
"""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from pages import PAGES, ROOT
from PIL import Image

from pysr.cli.app import commands, main
from pysr.testing import photo

BLOCK = re.compile(  # perhaps after a reason, or after the name of the file that it shows
    r"(?:^ *<!-- not run: (?P<reason>.+?) -->\n|(?P<file>`\w+\.py`:)\n\n)?"
    r"^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
OTHER_PROGRAMS = {  # commands that belong to no test of pysr, and why
    "pip": "changes the environment",
    "make": "what the targets do is run by hand and in CI",
    "git": "needs a repository to clone",
}
NOT_RUN = {  # commands of pysr that are only parsed, and why
    "train": "takes hours",
    "evaluate": "needs the images of published test sets",
    "serve": "runs until it is stopped",
}
NOT_HERE = {  # files that commands are given, and why they are not here
    "4x-Anything": "a model file of somebody else",
    "realesrgan-x4plus": "a model file of somebody else",
    "runs/": "comes from a training that takes hours",
}
QUICKER = {"--width 2400": "--width 96"}
IN_TEST_DOCS = {("docs/onnx.md", "python"), ("docs/onnx.md", "sh"), ("docs/plugins.md", "sh")}  # run by test_docs.py


@dataclass
class Block:
    """A fenced block of a page."""

    place: str
    language: str
    code: str
    reason: str | None
    file: str | None

    def lines(self) -> Iterator[str]:
        """The commands of a block of shell."""
        for line in self.code.replace("\\\n", " ").splitlines():
            if line.strip() and not line.strip().startswith("#"):
                yield line.strip()


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            f"{page}:{text.count(chr(10), 0, found.start('code'))}",
            found["language"],
            found["code"],
            found["reason"],
            found["file"],
        )
        for found in BLOCK.finditer(text)
    ]


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def check(arguments: list[str]) -> None:
    """Raise a usage error if pysr does not take these arguments."""
    context, command = click.Context(commands, info_name="pysr"), commands
    while isinstance(command, click.Group):
        _, command, arguments = command.resolve_command(context, arguments)
        context = command.make_context(command.name, list(arguments), parent=context)
        if isinstance(command, click.Group) and not arguments:
            return


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_is_one_that_pysr_takes(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = BLOCK.sub("", text)
    inline = [" ".join(found.split()) for found in re.findall(r"`(pysr [^`]*? -[^`]+)`", prose)]
    shown = [
        part for block in blocks(page) if block.language == "sh" for line in block.lines() for part in line.split("|")
    ]
    for line in inline + [line for line in shown if line.strip().startswith("pysr ")]:
        arguments = words(line.split(" > ")[0])[1:]
        if "..." in arguments or "COMMAND" in arguments:
            continue
        try:
            check(arguments)
        except click.MissingParameter:  # prose may leave out what it does not speak of
            assert line in inline, line
        except click.UsageError as error:
            pytest.fail(f"{page}: {line}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_language_it_is_in(page: str) -> None:
    for block in blocks(page):
        assert block.language in {"python", "sh", "json", "text"}, block.place
        if block.language == "json":
            for line in block.code.splitlines():
                json.loads(line)


def save(pixels: Any, *names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray((pixels * 255).round().astype(np.uint8)).save(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    save(photo(36, 48), "photo.jpg", "photo.png", "photo.webp", "photos/one.jpg", "big.png", "face.png")
    save(photo(12, 16), "small.png", *(f"docs/old-photographs/{name}.jpg" for name in ("web", "phone", "print")))
    save(photo(8, 8), "face8x8.png")
    return tmp_path


def given(page: str) -> dict[str, Any]:
    """What the Python of a page takes for granted."""
    if page == "docs/pixelcnn.md":
        small, large = (Image.fromarray((photo(side, side) * 255).astype(np.uint8)) for side in (8, 32))
        mask = np.zeros((32, 32), bool)
        names = {"image": small, "other": small.crop((0, 0, 6, 8)), "low": small, "high": large}
        return names | {"portrait": large, "mask": mask}
    return {}


def run_line(line: str, place: str) -> None:
    for slow, quick in QUICKER.items():
        line = line.replace(slow, quick)
    program, *arguments = words(line)
    if "|" in line or ">" in line:
        shim = Path("bin", "pysr")
        shim.parent.mkdir(exist_ok=True)
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pysr "$@"\n')
        shim.chmod(0o755)
        path = os.pathsep.join([str(shim.parent.resolve()), os.environ["PATH"]])
        environment = os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(["sh", "-ec", line], env=environment, check=True, timeout=600)
    elif program == "pysr":
        if arguments[0] not in NOT_RUN and not any(name in line for name in NOT_HERE):
            assert main(arguments) == 0, f"{place}: {line}"
    else:
        assert program in OTHER_PROGRAMS, f"{place}: {line}: not run; say why before the block: <!-- not run: ... -->"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page: str, folder: Path) -> None:
    to_run = [
        block
        for block in blocks(page)
        if block.language in ("python", "sh") and (page, block.language) not in IN_TEST_DOCS
        if block.reason is None and block.file is None  # test_docs.py compares files with those of the template
    ]
    if any("pysr" in block.code for block in to_run):
        for plugin in ("vdsr", "srcnn", "srgan", "pixelcnn", "photo", "perceptual", "anchored"):
            pytest.importorskip(f"pysr_{plugin}", reason=f"the plugin pysr-{plugin} is not installed")
    names: dict[str, Any] = given(page)
    for block in to_run:
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.code, block.place, "exec"), names)
        else:
            for line in block.lines():
                run_line(line, block.place)
