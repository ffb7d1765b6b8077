"""Where tiles lie along one axis of the output, and what their pixels weigh."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

W = TypeVar("W")


class Axis(NamedTuple, Generic[W]):
    """Tiles along one axis, as `pysr.ops.patches.blend_patches` takes them.

    Attributes:
        starts: output pixel where each tile begins, ascending.
        weights: (tiles, pixels of a tile) float32, tensor or array: what each pixel counts. An output pixel is the sum
            of the tile pixels that cover it, each times its weight along the rows and its weight along the columns.
    """

    starts: Sequence[int]
    weights: W
