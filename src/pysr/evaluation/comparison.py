"""Comparison images: the results of several models side by side, each with a magnified detail."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont
from PIL.Image import Resampling

from ..errors import InputError
from ..files import read_image, write_image

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the panels, as Pillow counts

WIDEST = 1800  # width limit, in pixels, as are all lengths here: fills most screens and printed pages
_COLUMNS = 5  # at most, so that a panel is at least 324 pixels wide
_CELL = 420  # width of a panel where few are drawn
_CELL_STEP = 12  # divides a panel's width, so that details magnified 2, 3 or 4 times fill it
_MOST_COLUMNS = 16  # of a contact sheet, so that a thumbnail is at least 87 pixels wide
_THUMBNAIL = 160  # width of a panel on a contact sheet
_MARGIN = 24
_GAP = 8  # between the parts of one panel
_SPACE = 18  # between scores
_ONE_LINE, _TWO_LINES = 26, 52  # heights of the text: title, title and scores
_PAPER, _INK, _GRAY, _BEST, _MARK = "white", "#1a1a1a", "#6b6b6b", "#0a7d38", "#ff3b30"
_TITLE_SIZE, _SCORE_SIZE = 19, 16  # of the fonts
_DETAIL = 1 / 8  # width of an automatic detail within the image, ...
_MAGNIFIED = 4  # ... unless it would be magnified more than that
_DETAIL_ASPECT = 2 / 3  # its height by its width, as of most photographs
_FINE = 3  # structure is fine if it is lost when an image is reduced by this factor


@dataclass(frozen=True)
class Panel:
    """One image of a comparison and what is written under it.

    Attributes:
        title: Shortened if it is too long.
        image: Of any Pillow mode; all panels of a comparison have the same size.
        psnr: In dB; None leaves it out.
        ssim: None leaves it out.
    """

    title: str
    image: Image.Image
    psnr: float | None = None
    ssim: float | None = None


def draw(panels: Sequence[Panel], detail: Box | Literal["auto"] = "auto") -> Image.Image:
    """Draw panels side by side, in rows if there are many: each whole, below it a detail, below that its scores.

    The detail is outlined in the first panel, and the highest PSNR and SSIM of all are coloured. Magnified pixels are
    never smoothed.

    Args:
        panels: The first is what the others are compared with, usually the original.
        detail: (left, top, right, bottom) of the part to magnify, in pixels, or "auto": where the first panel has the
            most fine structure.

    Returns:
        An RGB image at most 1800 pixels wide.

    Raises:
        InputError: No panels, panels of different sizes, or a detail that is not within them.
    """
    _check_sizes(panels)
    rows = ceil(len(panels) / _COLUMNS)
    columns = ceil(len(panels) / rows)
    width = min(_CELL, ((WIDEST - _MARGIN) // columns - _MARGIN) // _CELL_STEP * _CELL_STEP)
    box = _automatic(panels[0].image, width) if detail == "auto" else _checked(detail, panels[0].image)
    scored = any(panel.psnr is not None or panel.ssim is not None for panel in panels)
    layout = _Layout(width, box, _TWO_LINES if scored else _ONE_LINE, _best(panels))
    cells = [_cell(panel, layout) for panel in panels]
    _outline(cells[0], panels[0].image, box)
    return _arranged(cells, columns)


def contact_sheet(panels: Sequence[Panel], columns: int) -> Image.Image:
    """Draw whole panels in rows, each with its title below, magnified if they are small.

    Args:
        panels: Their scores are left out.
        columns: Panels in a row, 1 to 16.

    Returns:
        An RGB image at most 1800 pixels wide.

    Raises:
        InputError: No panels, panels of different sizes, or a number of columns out of range.
    """
    _check_sizes(panels)
    if not 1 <= columns <= _MOST_COLUMNS:
        raise InputError(f"columns is {columns}; a contact sheet has 1 to {_MOST_COLUMNS}")
    width = min(_THUMBNAIL, (WIDEST - _MARGIN) // columns - _MARGIN)
    return _arranged([_titled(panel, width) for panel in panels], columns)


def compare_files(
    low: str | os.PathLike[str], output: str | os.PathLike[str], target: str | os.PathLike[str], *, title: str
) -> None:
    """Draw an image enlarged by nearest and bicubic beside a model's result, and write the comparison.

    Args:
        low: The image file.
        output: The model's result: an image file a whole number of times as large.
        target: The file to write.
        title: The model's name, for its panel.

    Raises:
        InputError: A file cannot be read or written.
    """
    small, big = as_rgb(read_image(low)), as_rgb(read_image(output))
    panels = [
        Panel("nearest", small.resize(big.size, Resampling.NEAREST)),
        Panel("bicubic", small.resize(big.size, Resampling.BICUBIC)),
        Panel(title, big),
    ]
    write_image(draw(panels), target)


def fine_structure(image: Image.Image, size: tuple[int, int]) -> Box:
    """Find the part of an image with the most fine structure.

    It has the largest squared difference between the image and a bicubic reduction to a third, enlarged again.

    Args:
        image: Of any Pillow mode.
        size: (width, height) of the part, at most that of the image.

    Returns:
        (left, top, right, bottom) in pixels.
    """
    width, height = image.size
    gray = image.convert("L")
    small = gray.resize((ceil(width / _FINE), ceil(height / _FINE)), Resampling.BICUBIC)
    again = small.resize(gray.size, Resampling.BICUBIC)
    total = np.zeros((height + 1, width + 1), np.int64)  # summed-area table of the squared differences
    total[1:, 1:] = np.asarray(ImageChops.difference(gray, again))
    np.square(total, out=total)
    total.cumsum(0, out=total).cumsum(1, out=total)
    w, h = size
    inside = (
        total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    )  # sums over the boxes, by their first pixel
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return int(left), int(top), int(left) + w, int(top) + h


@dataclass(frozen=True)
class _Layout:
    """Shared by all cells: their width, the detail, the height of the text, and the scores to colour."""

    width: int
    box: Box
    text_height: int
    best: set[str]


def _check_sizes(panels: Sequence[Panel]) -> None:
    if not panels:
        raise InputError("a comparison needs at least one panel; none was given")
    width, height = panels[0].image.size
    for panel in panels:
        if panel.image.size != (width, height):
            raise InputError(
                f"panels of a comparison must have one size, but {panels[0].title} is {width} x {height} and "
                f"{panel.title} {panel.image.width} x {panel.image.height} pixels; resize one of them"
            )


def _checked(detail: Box, image: Image.Image) -> Box:
    left, top, right, bottom = detail
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise InputError(
            f"the detail {detail} does not lie within the {image.width} x {image.height} pixels of the panels;"
            " give left, top, right and bottom"
        )
    return detail


def _automatic(image: Image.Image, shown: int) -> Box:
    """Find the detail with most fine structure, of a size that fills ``shown`` pixels when magnified."""
    magnified = min(max(round(shown / (image.width * _DETAIL)), 1), _MAGNIFIED)
    width = min(shown // magnified, image.width)
    return fine_structure(as_rgb(image), (width, min(ceil(width * _DETAIL_ASPECT), image.height)))


def _best(panels: Sequence[Panel]) -> set[str]:
    """Return the scores to colour, as they are written; none if there is nothing to compare."""
    psnrs = [panel.psnr for panel in panels if panel.psnr is not None]
    ssims = [panel.ssim for panel in panels if panel.ssim is not None]
    if len(psnrs) < 2:
        return set()
    return {_psnr(max(psnrs)), *([_ssim(max(ssims))] if ssims else [])}


def _psnr(value: float) -> str:
    return f"PSNR {value:.2f} dB"


def _ssim(value: float) -> str:
    return f"SSIM {value:.4f}"


def _cell(panel: Panel, layout: _Layout) -> Image.Image:
    """Draw one panel: whole image, detail, title and scores, centred on paper."""
    image, width = as_rgb(panel.image), layout.width
    whole, detail = _fitted(image, width), _fitted(image.crop(layout.box), width)
    paper = Image.new("RGB", (width, whole.height + detail.height + 2 * _GAP + layout.text_height), _PAPER)
    paper.paste(whole, ((width - whole.width) // 2, 0))
    paper.paste(detail, ((width - detail.width) // 2, whole.height + _GAP))
    _write(paper, whole.height + detail.height + 2 * _GAP, panel, layout.best)
    return paper


def _titled(panel: Panel, width: int) -> Image.Image:
    """Draw a whole image with its title below, centred on paper."""
    whole = _fitted(as_rgb(panel.image), width)
    paper = Image.new("RGB", (width, whole.height + _GAP + _ONE_LINE), _PAPER)
    paper.paste(whole, ((width - whole.width) // 2, 0))
    _write(paper, whole.height + _GAP, panel, set())
    return paper


def _arranged(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """Arrange cells of one size in rows on a sheet of paper."""
    width, height = cells[0].size
    sheet = Image.new(
        "RGB",
        (_MARGIN + columns * (width + _MARGIN), _MARGIN + ceil(len(cells) / columns) * (height + _MARGIN)),
        _PAPER,
    )
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(cell, (_MARGIN + column * (width + _MARGIN), _MARGIN + row * (height + _MARGIN)))
    return sheet


def _write(paper: Image.Image, top: int, panel: Panel, best: set[str]) -> None:
    """Write the title and, a line below it, the scores; both centred."""
    title_font, font = ImageFont.load_default(_TITLE_SIZE), ImageFont.load_default(_SCORE_SIZE)
    pen = ImageDraw.Draw(paper)
    pen.text((paper.width // 2, top), _shortened(panel.title, title_font, paper.width), _INK, title_font, anchor="ma")
    scores = [_psnr(panel.psnr)] if panel.psnr is not None else []
    scores += [_ssim(panel.ssim)] if panel.ssim is not None else []
    widths = [font.getlength(score) for score in scores]
    x = (paper.width - sum(widths) - _SPACE * (len(scores) - 1)) / 2
    for score, width in zip(scores, widths, strict=True):
        pen.text((x, top + _ONE_LINE + 3), score, _BEST if score in best else _GRAY, font)
        x += width + _SPACE


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any Pillow mode to 8-bit RGB, as it looks on white paper."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")  # 65535 / 255
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, _PAPER), image).convert("RGB")


def _fitted_size(image: Image.Image, side: int) -> tuple[int, int]:
    ratio = min(side / image.width, side / image.height)
    ratio = ratio if ratio < 1 else int(ratio)
    return max(1, round(image.width * ratio)), max(1, round(image.height * ratio))


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Fit an image into a square: reduced smoothly if it is larger, magnified a whole number of times if smaller."""
    size = _fitted_size(image, side)
    return image.resize(size, Resampling.LANCZOS if size[0] < image.width else Resampling.NEAREST)


def _outline(cell: Image.Image, image: Image.Image, box: Box) -> None:
    """Outline the detail in the whole image of a cell, in red within white."""
    shown = _fitted_size(image, cell.width)[0]
    ratio, left_edge = shown / image.width, (cell.width - shown) // 2
    left, right = (left_edge + round(x * ratio) for x in box[::2])
    top, bottom = (round(y * ratio) for y in box[1::2])
    pen = ImageDraw.Draw(cell)
    pen.rectangle((left - 1, top - 1, right, bottom), outline=_PAPER, width=4)
    pen.rectangle((left, top, right - 1, bottom - 1), outline=_MARK, width=2)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
