"""Positions of tiles along one axis of the output, and the weights of their pixels."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

W = TypeVar("W")


class Axis(NamedTuple, Generic[W]):
    """Tiles along one axis, as `pysr.ops.patches.blend_patches` takes them.

    Attributes:
        starts: Output pixel where each tile begins, ascending.
        weights: (tiles, pixels of a tile) float32, tensor or array: the weight of each pixel. An output pixel is the
            sum of the tile pixels that cover it, each times its weight along the rows and along the columns.
    """

    starts: Sequence[int]
    weights: W
