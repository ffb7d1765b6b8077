"""The page of comparisons, in a real browser."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import DESKTOP, PHONE, accessibility_findings, console_errors, show_as
from PIL import Image

from pysr.evaluation.page import compare

BLACK, WHITE, GRAY = (0, 0, 0), (255, 255, 255), (100, 100, 100)


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Any:
    """A browser that shows the comparison of a black image, a gray and a white one of 400 x 300 pixels."""
    colours = {"black": BLACK, "gray x2, 0.3 s": GRAY, "white": WHITE}
    images = {name: Image.new("RGB", (400, 300), colour) for name, colour in colours.items()}
    compare(images).save(tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())
    return browser


def element(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def press(page: Any, selector: str, keys: str) -> None:
    page.execute_script("arguments[0].focus()", element(page, selector))
    page.switch_to.active_element.send_keys(keys)


def choose(page: Any, mode: str) -> None:
    page.execute_script("arguments[0].click()", element(page, f"input[value={mode}]"))


def shown(page: Any) -> list[str]:
    tags = page.find_elements("css selector", ".tag")
    return [tag.text for tag in tags if tag.is_displayed()]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_shown(page: Any, name: str) -> None:
    wait_for(lambda: shown(page) == [name])


def test_the_slider_divides_the_first_and_the_last_image(page: Any) -> None:
    assert shown(page) == ["black", "white"]
    divider = element(page, "[role=slider]")
    assert divider.get_attribute("aria-valuenow") == "50"
    drag_to(page, divider, 200)
    assert int(divider.get_attribute("aria-valuenow")) > 60
    assert divider.get_attribute("aria-valuetext").endswith("% black")
    assert console_errors(page) == []


def drag_to(page: Any, divider: Any, distance: int) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(page, duration=20).click_and_hold(divider).move_by_offset(distance, 5).release().perform()


def test_the_keyboard_moves_the_divider_zooms_and_swaps(page: Any) -> None:
    press(page, "[role=slider]", "\ue011")  # Home
    assert element(page, "[role=slider]").get_attribute("aria-valuenow") == "0"
    fitted = element(page, "output").text
    press(page, ".stage", "++")
    assert element(page, "output").text != fitted
    before = element(page, ".pane img").get_attribute("style")
    press(page, ".stage", "\ue015")  # down arrow
    transforms = {pane.get_attribute("style") for pane in page.find_elements("css selector", ".pane img")}
    assert before not in transforms
    assert len(transforms) == 1  # all images move together
    press(page, ".stage", "0")
    assert element(page, "output").text == fitted
    press(page, ".stage", " ")
    assert element(page, ".controls select").get_property("value") == "2"


def test_flicker_alternates_and_can_be_paused(page: Any) -> None:
    choose(page, "flicker")
    for name in ("white", "black"):
        wait_until_shown(page, name)
    pause = next(button for button in page.find_elements("tag name", "button") if button.text == "Pause")
    pause.click()
    assert pause.text == "Play"
    press(page, ".stage", " ")
    assert element(page, "[role=status]").text.startswith("Shown: ")


def test_side_by_side_shows_all(page: Any) -> None:
    choose(page, "sides")
    assert shown(page) == ["black", "gray x2, 0.3 s", "white"]


def test_the_difference_is_measured(page: Any) -> None:
    choose(page, "difference")
    wait_for(lambda: bool(element(page, "[role=status]").text))
    assert element(page, "[role=status]").text == "Difference of black and white: mean 255.00, largest 255 of 255"
    script = "return [...document.querySelector('.pane > canvas').getContext('2d').getImageData(9, 9, 1, 1).data]"
    assert page.execute_script(script) == [255, 255, 255, 255]


def test_the_magnifier_shows_both_images(page: Any) -> None:
    press(page, ".stage", "m")
    script = """
        const lens = document.querySelector(".lens"), pen = lens.getContext("2d");
        const at = (part) => pen.getImageData(lens.width * part, lens.height / 2, 1, 1).data[0];
        return [lens.hidden, at(0.25), at(0.75)];
    """
    assert page.execute_script(script) == [False, 0, 255]


def test_a_notebook_shows_it_in_a_frame(browser: Any, tmp_path: Path) -> None:
    comparison = compare([Image.new("RGB", (40, 30), colour) for colour in (BLACK, WHITE)])
    (tmp_path / "notebook.html").write_text(f"<!doctype html><p>In [1]:</p>{comparison._repr_html_()}")
    browser.get((tmp_path / "notebook.html").as_uri())
    browser.switch_to.frame(0)
    wait_for(lambda: shown(browser) == ["image 1", "image 2"])
    browser.switch_to.default_content()
    assert console_errors(browser) == []


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_everybody_can_use_the_page(page: Any, size: tuple[int, int], scheme: str) -> None:
    show_as(page, size, scheme)
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    for mode in ("slider", "flicker", "sides", "difference"):
        choose(page, mode)
        assert accessibility_findings(page) == [], mode


def test_a_page_of_large_images_opens_fast(browser: Any, tmp_path: Path) -> None:
    y, x = np.mgrid[:1633, :2450]  # 4 MP
    for seed in range(2):
        noise = np.random.default_rng(seed).normal(0, 3, (1633, 2450, 3))
        pixels = (100 + 80 * np.sin(x / 60) * np.cos(y / 40))[..., None] + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{seed}.png", compress_level=1)
    compare([tmp_path / "0.png", tmp_path / "1.png"]).save(tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())
    timing = "const [entry] = performance.getEntriesByType('navigation'); return entry.loadEventEnd"
    wait_for(lambda: browser.execute_script(timing) > 0)
    print(f"loaded in {browser.execute_script(timing):.0f} ms, {(tmp_path / 'page.html').stat().st_size / 1e6:.1f} MB")
    assert browser.execute_script("return document.querySelector('.pane img').naturalWidth") == 2450
    assert console_errors(browser) == []
