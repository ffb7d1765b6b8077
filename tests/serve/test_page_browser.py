"""The page of the service in a real browser, with real workers."""

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import DESKTOP, PHONE, accessibility_findings, console_errors, show_as
from PIL import Image
from running_service import Limits, Service, running

import pysr

SETTINGS = {
    "device": "cpu",
    "precision": "auto",
    "models_folder": None,
    "max_pixels": 10**6,
    "max_output_pixels": 10**7,
}
DROP = """
    const [name, data] = arguments, bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
"""


@pytest.fixture(scope="module")
def service(chromium: Any) -> Iterator[Service]:
    """A service whose worker is the real one; not started where there is no browser."""
    with running(Limits(max_bytes=300_000), command=None, settings=SETTINGS) as running_service:
        yield running_service


@pytest.fixture
def page(browser: Any, service: Service) -> Any:
    """A browser that shows the page of the service."""
    open_page(browser, service)
    return browser


def open_page(browser: Any, service: Service) -> None:
    browser.get(f"http://127.0.0.1:{service.port}/")
    wait_for(lambda: bool(browser.find_elements("css selector", "#model option")))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.effect_noise((90, 60), 60).convert("RGB").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def element(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def choose(page: Any, name: str, value: str) -> None:
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))"
    page.execute_script(script, element(page, f"#{name}"), value)


def drop(page: Any, path: Path) -> None:
    page.execute_script(DROP, path.name, base64.b64encode(path.read_bytes()).decode())


def upscale(page: Any, path: Path, model: str = "bicubic", scale: int = 2) -> None:
    choose(page, "model", model)
    choose(page, "scale", str(scale))
    drop(page, path)
    element(page, "#start").click()
    wait_for(lambda: element(page, "#status").text == "Done." or element(page, "#error").is_displayed())


def test_a_dropped_image_is_upscaled_compared_and_downloaded(page: Any, photo: Path, tmp_path: Path) -> None:
    upscale(page, photo, scale=3)
    assert element(page, "#facts").text.startswith("bicubic, 270 x 180 pixels, ")
    tags = [tag.text for tag in page.find_elements("css selector", ".tag") if tag.is_displayed()]
    assert tags == ["before", "after: bicubic x3"]
    divider = element(page, "[role=slider]")
    divider.send_keys("\ue011")  # Home
    assert divider.get_attribute("aria-valuenow") == "0"
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    element(page, "#download").click()
    wait_for((tmp_path / "photo_x3.png").is_file)
    with Image.open(tmp_path / "photo_x3.png") as made:
        assert made.tobytes() == pysr.upscale(photo, "bicubic", 3).tobytes()
    assert console_errors(page) == []


def test_a_chosen_file_is_taken_as_well(page: Any, photo: Path) -> None:
    element(page, "#file").send_keys(str(photo))
    wait_for(lambda: element(page, "#preview").is_displayed())
    assert element(page, "#chosen").text.startswith("photo.png, ")
    assert element(page, "#start").is_enabled()


def test_a_broken_file_is_explained(page: Any, photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:2000])
    upscale(page, photo)
    alert = element(page, "[role=alert]").text
    assert alert.startswith("'photo.png' cannot be read")
    assert alert.endswith("use another copy of it")
    assert not element(page, "#result").is_displayed()


def test_a_file_that_is_too_large_is_not_sent(page: Any, photo: Path) -> None:
    photo.write_bytes(b"x" * 300_001)
    drop(page, photo)
    assert "at most 300000 are accepted" in element(page, "[role=alert]").text
    assert not element(page, "#start").is_enabled()


def test_an_image_that_the_browser_cannot_show_is_upscaled(page: Any, photo: Path) -> None:
    with Image.open(photo) as image:
        image.save(photo.with_suffix(".tif"))
    upscale(page, photo.with_suffix(".tif"))
    assert "download the result" in element(page, "#view").text
    assert element(page, "#download").get_attribute("download") == "photo_x2.png"


def test_samples_and_their_uncertainty_are_a_gallery(page: Any, tmp_path: Path) -> None:
    pytest.importorskip("pysr_pixelcnn", reason="the plugin pysr-pixelcnn is not installed")
    Image.new("L", (8, 8), 90).save(tmp_path / "digit.png")
    choose(page, "count", "3")
    upscale(page, tmp_path / "digit.png", "pixelcnn-mnist-corners")
    captions = [caption.text for caption in page.find_elements("css selector", ".gallery figcaption")]
    assert captions[:4] == ["the image that was sent", "sample 1", "sample 2", "sample 3"]
    assert captions[4].startswith("where the samples differ: white is a deviation of 0.")
    assert console_errors(page) == []
    assert accessibility_findings(page) == []


def test_strength_is_offered_where_a_model_has_one_and_warnings_are_shown(browser: Any, photo: Path) -> None:
    with running(Limits()) as fake:  # its model has a strength at x2, and warns of what it was asked for
        open_page(browser, fake)
        choose(browser, "scale", "3")
        assert not element(browser, "#strength-label").is_displayed()
        choose(browser, "scale", "2")
        element(browser, "#strength").send_keys("\ue012\ue012")  # two steps to the left
        assert element(browser, "#strength-text").text == "0.9"
        drop(browser, photo)
        element(browser, "#start").click()
        wait_for(lambda: element(browser, "#status").text == "Done.")
        assert '"strength": 0.9' in element(browser, "#warnings").text
        browser.get("about:blank")


def test_work_can_be_cancelled(page: Any, photo: Path, service: Service) -> None:
    pytest.importorskip("pysr_vdsr", reason="the plugin pysr-vdsr is not installed")
    Image.effect_noise((900, 600), 60).convert("L").quantize(8).save(photo)
    choose(page, "model", "vdsr")
    choose(page, "scale", "4")
    drop(page, photo)
    element(page, "#start").click()
    wait_for(lambda: element(page, "#status").text.startswith("Working"))
    element(page, "#cancel").click()
    assert element(page, "#status").text == "Cancelled."
    wait_for(lambda: not list(service.pool._home.iterdir()))


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_everybody_can_use_the_page(page: Any, photo: Path, size: tuple[int, int], scheme: str) -> None:
    show_as(page, size, scheme)
    assert accessibility_findings(page) == []
    upscale(page, photo)
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert accessibility_findings(page) == []
