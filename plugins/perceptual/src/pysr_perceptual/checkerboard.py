"""A loss against checkerboards, which losses of features, blind to where in the image something is, may well like."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from pysr.errors import InputError


def unevenness(output: Tensor, target: Tensor, period: int) -> Tensor:
    """How far the places of a grid that repeats every ``period`` pixels are from each other.

    A network that enlarges makes each place of such a cell by weights of its own, and the cheapest way to look detailed
    is to draw the same in every cell (Odena et al., "Deconvolution and Checkerboard Artifacts", 2016). In photographs
    no place is special. So the error, and the error of the detail, that is of the absolute Laplacian, are averaged at
    each place over all cells of all images; the loss is the mean absolute deviation of these from their mean over the
    cell, with a quarter of it for detail. Detail that does not repeat is free.

    output, target: (N, C, H, W) in [0, 1]; InputError where no cell fits in. What is beyond whole cells does not count.
    """
    height, width = output.shape[-2:]
    if min(height, width) < period + 2:
        raise InputError(f"checkerboard:{period} sees no cell in {height} x {width} pixels; take larger patches")
    return _deviation(output - target, period) + _deviation(detail(output) - detail(target), period) / 4


def _deviation(errors: Tensor, period: int) -> Tensor:
    cells = errors.unfold(-2, period, period).unfold(-2, period, period)  # (N, C, down, across, period, period)
    places = cells.mean((0, 2, 3))  # (C, period, period)
    apart: Tensor = (places - places.mean((-2, -1), keepdim=True)).abs().mean()
    return apart


def detail(images: Tensor) -> Tensor:
    """The absolute Laplacian: (N, C, H, W) -> (N, C, H - 2, W - 2)."""
    inner = images[..., 1:-1, 1:-1]
    around = images[..., :-2, 1:-1] + images[..., 2:, 1:-1] + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    return (4 * inner - around).abs()


def checkerboard(period: str = "4") -> Callable[[Tensor, Tensor], Tensor]:
    """The loss called "checkerboard". period: of the grid in pixels, 2 to 16; the scale of the enlargement."""
    if period not in map(str, range(2, 17)):
        raise InputError(f"checkerboard takes a period of 2 to 16 pixels, as in 'checkerboard:4'; got {period!r}")
    return partial(unevenness, period=int(period))
