"""What this distribution tells pysr. Imports neither torch nor the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pysr.plugin import Loss, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def perceptual(*options: str) -> Callable[[Tensor, Tensor], Tensor]:
    from .losses import perceptual

    return perceptual(*options)


def style(*options: str) -> Callable[[Tensor, Tensor], Tensor]:
    from .losses import style

    return style(*options)


def total_variation() -> Callable[[Tensor, Tensor], Tensor]:
    from .losses import total_variation

    return total_variation


@hookimpl
def pysr_losses() -> list[Loss]:
    return [
        Loss("perceptual", perceptual, "Distance of features; perceptual:relu3_3, perceptual:squeezenet/fire3"),
        Loss("style", style, "Distance of Gram matrices of features; style:picture.jpg, style:relu1_2,relu2_2"),
        Loss("tv", total_variation, "Total variation of the output"),
    ]
