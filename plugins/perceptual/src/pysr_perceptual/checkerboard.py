"""A loss against checkerboard artefacts, which losses of features do not see."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from pysr.errors import InputError


def unevenness(output: Tensor, target: Tensor, period: int) -> Tensor:
    """Measure how much the positions in the cells of a grid differ in their mean error.

    A network that enlarges computes each position of a cell of ``period`` x ``period`` pixels by different weights, and
    the cheapest way to look detailed is to draw the same in every cell (Odena et al., "Deconvolution and Checkerboard
    Artifacts", 2016). In photographs no position is special. So the error, and the error of the detail (the absolute
    Laplacian), are averaged at each position over all cells of all images; the loss is the mean absolute deviation of
    these means from their mean over the cell, with a quarter of that for detail. Detail that does not repeat is free.

    Args:
        output: (N, C, H, W) float in [0, 1].
        target: The same shape and range.
        period: Side of a cell in pixels. Pixels beyond whole cells are ignored.

    Returns:
        A scalar, 0 if no position is special.

    Raises:
        InputError: The images are smaller than a cell and its border of one pixel.
    """
    height, width = output.shape[-2:]
    if min(height, width) < period + 2:
        raise InputError(f"{width} x {height} pixels have no cell of checkerboard:{period}; take larger patches")
    return _deviation(output - target, period) + _deviation(detail(output) - detail(target), period) / 4


def _deviation(errors: Tensor, period: int) -> Tensor:
    cells = errors.unfold(-2, period, period).unfold(-2, period, period)  # (N, C, down, across, period, period)
    means = cells.mean((0, 2, 3))  # (C, period, period)
    deviation: Tensor = (means - means.mean((-2, -1), keepdim=True)).abs().mean()
    return deviation


def detail(images: Tensor) -> Tensor:
    """The absolute Laplacian: (N, C, H, W) -> (N, C, H - 2, W - 2)."""
    inner = images[..., 1:-1, 1:-1]
    around = images[..., :-2, 1:-1] + images[..., 2:, 1:-1] + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    return (4 * inner - around).abs()


def checkerboard(period: str = "4") -> Callable[[Tensor, Tensor], Tensor]:
    """Build the loss "checkerboard".

    Args:
        period: Period of the grid in pixels, 2 to 16: the scale of the enlargement.

    Returns:
        `unevenness` with that period.

    Raises:
        InputError: The period is not one of these.
    """
    if period not in map(str, range(2, 17)):
        raise InputError(f"checkerboard takes a period of 2 to 16 pixels, as in 'checkerboard:4'; got {period!r}")
    return partial(unevenness, period=int(period))
