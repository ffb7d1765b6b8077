"""A loss against checkerboard artefacts, which losses of features do not see."""

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn.functional import pad

from pysr.errors import InputError

FAINT = 0.02  # detail that counts as little as none: some noise


def unevenness(output: Tensor, target: Tensor, period: int, *, calm: bool = False) -> Tensor:
    """Measure how much the positions in the cells of a grid differ in their mean error.

    A network that enlarges computes each position of a cell of ``period`` x ``period`` pixels by different weights, and
    the cheapest way to look detailed is to draw the same in every cell (Odena et al., "Deconvolution and Checkerboard
    Artifacts", 2016). In photographs no position is special. So the error, and the error of the detail (the absolute
    Laplacian), are averaged at each position over all cells of all images; the loss is the mean absolute deviation of
    these means from their mean over the cell, with a quarter of that for detail. Detail that does not repeat is free.

    A network can learn to hide a grid on smooth areas from this by an opposite one where there is texture. So cells may
    count the more the calmer they are.

    Args:
        output: (N, C, H, W) float in [0, 1].
        target: The same shape and range.
        period: Side of a cell in pixels. Pixels beyond whole cells are ignored.
        calm: Whether a cell counts by how little detail the target has in it, else all count alike.

    Returns:
        A scalar, 0 if no position is special.

    Raises:
        InputError: The images are smaller than a cell and its border of one pixel.
    """
    height, width = output.shape[-2:]
    if min(height, width) < period + 2:
        raise InputError(f"{width} x {height} pixels have no cell of checkerboard:{period}; take larger patches")
    wanted = detail(target)
    around = pad(wanted, (1, 1, 1, 1), "replicate")
    return (
        _deviation(output - target, _shares(around, period, calm), period)
        + _deviation(detail(output) - wanted, _shares(wanted, period, calm), period) / 4
    )


def _cells(planes: Tensor, period: int) -> Tensor:
    """(N, C, H, W) -> (N, C, down, across, period, period)."""
    return planes.unfold(-2, period, period).unfold(-2, period, period)


def _shares(details: Tensor, period: int, calm: bool) -> Tensor:
    """How much each cell counts, (N, 1, down, across, 1, 1), by the target's detail; 1 in all."""
    shares = (_cells(details, period).mean((1, -2, -1)) + FAINT) ** (-2 if calm else 0)
    return (shares / shares.sum())[:, None, :, :, None, None]


def _deviation(errors: Tensor, shares: Tensor, period: int) -> Tensor:
    means = (_cells(errors, period) * shares).sum((0, 2, 3))  # (C, period, period)
    deviation: Tensor = (means - means.mean((-2, -1), keepdim=True)).abs().mean()
    return deviation


def detail(images: Tensor) -> Tensor:
    """The absolute Laplacian: (N, C, H, W) -> (N, C, H - 2, W - 2)."""
    inner = images[..., 1:-1, 1:-1]
    around = images[..., :-2, 1:-1] + images[..., 2:, 1:-1] + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    return (4 * inner - around).abs()


def checkerboard(period: str = "4", *options: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Build the loss "checkerboard".

    Args:
        period: Period of the grid in pixels, 2 to 16: the scale of the enlargement.
        options: ``calm``, so that smooth areas count most.

    Returns:
        `unevenness` with that period.

    Raises:
        InputError: The period is not one of these, or the option is unknown.
    """
    if period not in map(str, range(2, 17)):
        raise InputError(f"checkerboard takes a period of 2 to 16 pixels, as in 'checkerboard:4'; got {period!r}")
    if options not in ((), ("calm",)):
        raise InputError(f"checkerboard takes the option calm, as in 'checkerboard:4,calm'; got {', '.join(options)}")
    return partial(unevenness, period=int(period), calm=bool(options))
