"""The documentation site: built without a warning, asking nobody else for anything, readable on a phone."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from browser import PHONE, open_browser, show_as
from pages import PAGES, ROOT

from pysr.cli.app import commands


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="needs the extra docs (make docs)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(PAGES) - 5
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?([^\" >]+)", text)
        loaded += re.findall(r"<link[^>]* href=\"?([^\" >]+)[^>]* rel=\"?(?:stylesheet|preload)", text)
        assert loaded, page
        assert not [url for url in loaded if url.startswith(("http:", "https:", "//"))], page
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?https?:|@import", style.read_text(encoding="utf-8")), style


def test_the_reference_has_every_command_and_every_public_name(site: Path) -> None:
    text = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    for name, command in commands.commands.items():
        assert f"pysr {name}</a>" in text or f"pysr {name}<" in text
        for option in command.params:
            for spelling in option.opts if option.param_type_name == "option" else ():
                assert getattr(option, "hidden", False) or spelling in text, f"{name} {spelling}"
    for door in ("pysr", "pysr.plugin", "pysr.training", "pysr.testing"):
        module = __import__(door, fromlist=["__all__"])
        page = (site / "reference" / f"{door.rpartition('.')[2]}.html").read_text(encoding="utf-8")
        assert not [name for name in module.__all__ if f"id={door}.{name}" not in page.replace('"', "")]


def test_pages_fit_a_phone_and_show_their_images(site: Path) -> None:
    browser: Any = open_browser()
    try:
        show_as(browser, PHONE, "light")
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1, "mobile": True},
        )
        for page in sorted(site.rglob("*.html")):
            browser.get(page.as_uri())
            assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0], page
            missing = "return [...document.images].filter((each) => each.complete && !each.naturalWidth).length"
            assert browser.execute_script(missing) == 0, page
    finally:
        browser.quit()
