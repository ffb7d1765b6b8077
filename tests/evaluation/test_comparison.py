from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pysr.errors import InputError
from pysr.evaluation.comparison import WIDEST, Panel, compare_files, contact_sheet, draw, fine_structure

RED = (255, 59, 48)  # the outline of the detail
GREEN = (10, 125, 56)  # the best score


def noise(width: int = 90, height: int = 60, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 200, (height, width, 3), np.uint8))


def count(image: Any, colour: Any) -> Any:
    return int((np.asarray(image) == colour).all(-1).sum())


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    width=st.integers(1, 600),
    height=st.integers(1, 600),
    panels=st.integers(1, 9),
    scored=st.booleans(),
    mode=st.sampled_from(["1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK"]),
)
def test_any_number_of_images_of_any_size_and_mode_fits(
    width: Any, height: Any, panels: Any, scored: Any, mode: Any
) -> None:
    image = Image.new(mode, (width, height))
    scores = (20.0, 0.5) if scored else ()
    sheet = draw([Panel(f"model {number}", image, *scores) for number in range(panels)])
    assert sheet.mode == "RGB"
    assert sheet.width <= WIDEST


def test_every_panel_is_shown_whole_and_magnified_without_smoothing() -> None:
    image = Image.new("RGB", (40, 40), "blue")
    image.paste((255, 255, 0), (10, 10, 14, 14))
    sheet = draw([Panel("one", image)], (8, 8, 16, 16))
    whole, detail = 420 // 40, 420 // 8
    assert count(sheet, (255, 255, 0)) == 16 * (whole**2 + detail**2)
    colours = {colour for _, colour in sheet.crop((26, 460, 400, 800)).getcolors()}
    assert colours == {(0, 0, 255), (255, 255, 0)}


def test_the_first_panel_alone_is_outlined() -> None:
    image = noise()
    sheet = draw([Panel("one", image), Panel("two", image)], (10, 10, 40, 30))
    left, right = sheet.crop((0, 0, sheet.width // 2, sheet.height)), sheet.crop((sheet.width // 2, 0, *sheet.size))
    assert count(left, RED) > 100
    assert count(right, RED) == 0


def test_the_best_scores_are_coloured() -> None:
    image = noise()
    better, worse = Panel("better", image, 30.0, 0.9), Panel("worse", image, 20.0, 0.5)
    sheet = draw([better, worse])
    middle = sheet.width // 2
    assert count(sheet.crop((0, 0, middle, sheet.height)), GREEN) > 10
    assert count(sheet.crop((middle, 0, *sheet.size)), GREEN) == 0
    assert count(draw([better]), GREEN) == 0


def test_many_panels_wrap_into_rows() -> None:
    image = noise()
    two, five, six = (draw([Panel("x", image)] * count) for count in (2, 5, 6))
    assert five.height < 1.1 * two.height
    assert six.height > 1.9 * five.height
    assert six.width < five.width <= WIDEST


def test_the_automatic_detail_is_where_the_fine_structure_is() -> None:
    smooth = Image.linear_gradient("L").resize((300, 200))
    smooth.paste(noise(30, 20), (200, 120))
    left, top, right, bottom = fine_structure(smooth, (60, 40))
    assert left <= 200
    assert top <= 120
    assert right >= 230
    assert bottom >= 140
    assert (right - left, bottom - top) == (60, 40)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 91, 5), (5, 5, 5, 9), (0, 50, 9, 40)])
def test_a_detail_outside_the_image_fails(box: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="does not lie within the 90 x 60 pixels"):
        draw([Panel("one", noise())], box)


def test_panels_of_different_sizes_fail() -> None:
    with pytest.raises(InputError, match="one is 90 x 60 and two 30 x 20"):
        draw([Panel("one", noise()), Panel("two", noise(30, 20))])


def test_a_contact_sheet_has_rows_of_thumbnails() -> None:
    panels = [Panel("x", noise(8, 6))] * 5
    one, two = contact_sheet(panels, 5), contact_sheet(panels, 3)
    assert one.width == 5 * 160 + 6 * 24
    assert two.size == (3 * 160 + 4 * 24, 2 * one.height - 24)
    for columns in (0, 17):
        with pytest.raises(InputError, match=f"columns is {columns}; a contact sheet has 1 to 16"):
            contact_sheet(panels, columns)


def test_no_panels_fail() -> None:
    with pytest.raises(InputError, match="at least one"):
        draw([])


def test_a_long_title_keeps_its_beginning() -> None:
    image = noise()
    one, other = (draw([Panel(first + "w" * 200, image)]) for first in "AB")
    assert one != other


def test_transparent_pixels_are_paper() -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert count(draw([Panel("one", image)], (0, 0, 8, 8)), (255, 0, 0)) == 0


def test_files_are_compared_with_nearest_and_bicubic(tmp_path: Path) -> None:
    low, high, target = tmp_path / "low.png", tmp_path / "high.jpg", tmp_path / "comparison.png"
    noise(30, 20).save(low)
    noise(90, 60).save(high)
    compare_files(low, high, target, title="vdsr")
    with Image.open(target) as sheet:
        assert sheet.width == 3 * 420 + 4 * 24
