"""A real browser for tests of pages: headless Chromium, and axe-core to check that everybody can use a page."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PHONE, DESKTOP = (390, 844), (1280, 900)  # pixels


def open_browser() -> Any:
    """Start Chromium, or skip the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (in the extra dev)")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs Chromium and its driver (in Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(driver))


def show_as(browser: Any, size: tuple[int, int], scheme: str) -> None:
    """Give the window a size in pixels, and the user a liking for "light" or "dark" pages."""
    browser.set_window_size(*size)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def console_errors(browser: Any) -> list[str]:
    """What the page has complained about since the last call."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def accessibility_findings(browser: Any) -> list[str]:
    """What axe-core finds serious or critical on the page, or skip the test where it is missing."""
    axe = Path(os.environ.get("AXE_CORE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
    if not axe.is_file():
        pytest.skip("needs axe-core (npm install axe-core), or AXE_CORE with the path of its axe.min.js")
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe.read_text(encoding="utf-8")})
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
    )
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
