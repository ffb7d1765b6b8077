"""A picture that lets the eye judge: the same image by several models, each with one detail magnified."""

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
from ..imaging.files import read_image, write_image

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the panels, as Pillow counts

WIDEST = 1800  # of a drawn comparison, in pixels, as are all lengths here
_COLUMNS = 5
_CELL = 420  # width of a panel where few are drawn
_MOST_COLUMNS = 16
_THUMBNAIL = 160  # width of a panel on a contact sheet
_MARGIN = 24
_GAP = 8  # between the parts of one panel
_SPACE = 18  # between scores
_ONE_LINE, _TWO_LINES = 26, 52  # heights of the text: title, title and scores
_PAPER, _INK, _GRAY, _BEST, _MARK = "white", "#1a1a1a", "#6b6b6b", "#0a7d38", "#ff3b30"
_DETAIL = 1 / 8  # width of an automatic detail within the image, ...
_MAGNIFIED = 4  # ... unless it would be magnified more than that


@dataclass(frozen=True)
class Panel:
    """One image of a comparison and what is written under it.

    image: any Pillow mode; all panels of a comparison have the same size. psnr in dB, ssim: None leaves them out.
    """

    title: str
    image: Image.Image
    psnr: float | None = None
    ssim: float | None = None


def draw(panels: Sequence[Panel], detail: Box | Literal["auto"] = "auto") -> Image.Image:
    """Draw panels side by side, in rows where they are many: each whole, below it one detail, below that its scores.

    panels: the first is the one that the others are compared with, usually the original; the detail's place is
        outlined in it, and the highest PSNR and SSIM of all are coloured.
    detail: the part to magnify, or "auto": where the first panel has most fine structure.
    Returns an RGB image at most 1800 pixels wide. Pixels are never smoothed where they are magnified.
    Raises InputError for no panels, panels of different sizes, or a detail outside them.
    """
    _check_sizes(panels)
    rows = ceil(len(panels) / _COLUMNS)
    columns = ceil(len(panels) / rows)
    width = min(
        _CELL, ((WIDEST - _MARGIN) // columns - _MARGIN) // 12 * 12
    )  # filled by details magnified 2, 3, 4 times
    box = _automatic(panels[0].image, width) if detail == "auto" else _checked(detail, panels[0].image)
    scored = any(panel.psnr is not None or panel.ssim is not None for panel in panels)
    layout = _Layout(width, box, _TWO_LINES if scored else _ONE_LINE, _best(panels))
    cells = [_cell(panel, layout) for panel in panels]
    _outline(cells[0], panels[0].image, box)
    return _arranged(cells, columns)


def contact_sheet(panels: Sequence[Panel], columns: int) -> Image.Image:
    """Draw whole panels in rows of ``columns``, each with its title below, magnified where they are small.

    Returns an RGB image at most 1800 pixels wide. Raises InputError for no panels, panels of different sizes, and more
    than 16 columns.
    """
    _check_sizes(panels)
    if not 1 <= columns <= _MOST_COLUMNS:
        raise InputError(f"a contact sheet has from 1 to {_MOST_COLUMNS} columns; got {columns}")
    width = min(_THUMBNAIL, (WIDEST - _MARGIN) // columns - _MARGIN)
    return _arranged([_titled(panel, width) for panel in panels], columns)


def compare_files(
    low: str | os.PathLike[str], output: str | os.PathLike[str], target: str | os.PathLike[str], *, title: str
) -> None:
    """Draw an image file, enlarged by nearest and bicubic, beside what a model made of it, and write that picture.

    low, output: image files, the second a whole number of times as large. target: the file to write. title: the
    model's. Raises InputError for files that cannot be read or written.
    """
    small, big = as_rgb(read_image(low)), as_rgb(read_image(output))
    panels = [
        Panel("nearest", small.resize(big.size, Resampling.NEAREST)),
        Panel("bicubic", small.resize(big.size, Resampling.BICUBIC)),
        Panel(title, big),
    ]
    write_image(draw(panels), target)


def fine_structure(image: Image.Image, size: tuple[int, int]) -> Box:
    """The box of that (width, height) with most fine structure.

    That is where an image reduced to a third and enlarged again, both by bicubic, differs most, in squares.
    """
    width, height = image.size
    gray = image.convert("L")
    small = gray.resize((ceil(width / 3), ceil(height / 3)), Resampling.BICUBIC)
    again = small.resize(gray.size, Resampling.BICUBIC)
    total = np.zeros((height + 1, width + 1), np.int64)  # sums of what is lost above and left of each pixel
    total[1:, 1:] = np.asarray(ImageChops.difference(gray, again))
    np.square(total, out=total)
    total.cumsum(0, out=total).cumsum(1, out=total)
    w, h = size
    inside = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]  # sum over the box that starts there
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return int(left), int(top), int(left) + w, int(top) + h


@dataclass(frozen=True)
class _Layout:
    """What all panels have in common: their width, the detail, the height of the text, the scores to colour."""

    width: int
    box: Box
    text_height: int
    best: set[str]


def _check_sizes(panels: Sequence[Panel]) -> None:
    if not panels:
        raise InputError("a comparison needs at least one panel")
    width, height = panels[0].image.size
    for panel in panels:
        if panel.image.size != (width, height):
            raise InputError(
                f"panels of a comparison must have one size, but {panels[0].title} is {width} x {height} and "
                f"{panel.title} {panel.image.width} x {panel.image.height} pixels"
            )


def _checked(detail: Box, image: Image.Image) -> Box:
    left, top, right, bottom = detail
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise InputError(
            f"the detail {detail} does not lie within the {image.width} x {image.height} pixels of the panels"
        )
    return detail


def _automatic(image: Image.Image, shown: int) -> Box:
    """The detail with most fine structure, of a size that fills ``shown`` pixels when it is magnified."""
    magnified = min(max(round(shown / (image.width * _DETAIL)), 1), _MAGNIFIED)
    width = min(shown // magnified, image.width)
    return fine_structure(as_rgb(image), (width, min(ceil(width * 2 / 3), image.height)))


def _best(panels: Sequence[Panel]) -> set[str]:
    """The scores worth a colour, as they are written; none where there is nothing to compare."""
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
    """One panel: whole image, detail, title and scores, centred on paper."""
    image, width = as_rgb(panel.image), layout.width
    whole, detail = _fitted(image, width), _fitted(image.crop(layout.box), width)
    paper = Image.new("RGB", (width, whole.height + detail.height + 2 * _GAP + layout.text_height), _PAPER)
    paper.paste(whole, ((width - whole.width) // 2, 0))
    paper.paste(detail, ((width - detail.width) // 2, whole.height + _GAP))
    _write(paper, whole.height + detail.height + 2 * _GAP, panel, layout.best)
    return paper


def _titled(panel: Panel, width: int) -> Image.Image:
    """A whole image with its title below, centred on paper."""
    whole = _fitted(as_rgb(panel.image), width)
    paper = Image.new("RGB", (width, whole.height + _GAP + _ONE_LINE), _PAPER)
    paper.paste(whole, ((width - whole.width) // 2, 0))
    _write(paper, whole.height + _GAP, panel, set())
    return paper


def _arranged(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """Cells of one size in rows on a sheet of paper."""
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
    """The title and, a line below it, the scores; both centred."""
    title_font, font = ImageFont.load_default(19), ImageFont.load_default(16)
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
    """As it looks on white paper."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, _PAPER), image).convert("RGB")


def _fitted_size(image: Image.Image, side: int) -> tuple[int, int]:
    ratio = min(side / image.width, side / image.height)
    ratio = ratio if ratio < 1 else int(ratio)
    return max(1, round(image.width * ratio)), max(1, round(image.height * ratio))


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Into a square: reduced smoothly if it is too large, magnified a whole number of times if it is small."""
    size = _fitted_size(image, side)
    return image.resize(size, Resampling.LANCZOS if size[0] < image.width else Resampling.NEAREST)


def _outline(cell: Image.Image, image: Image.Image, box: Box) -> None:
    """Mark the place of the detail in a cell's whole image."""
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
