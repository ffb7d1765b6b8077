"""What happens to an image's pixels between its file and the result's, as far as metadata speak of it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

TURN_BACK = {  # by EXIF's orientation: what makes the stored image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Geometry:
    """How an image was turned and enlarged.

    Attributes:
        old_size: (width, height) of the upright image before, in pixels.
        new_size: (width, height) after.
        orientation: As EXIF numbers it, 1 to 8: how the stored image was turned to become upright; None if it was left
            as it was stored.
    """

    old_size: tuple[int, int]
    new_size: tuple[int, int]
    orientation: int | None = 1

    @property
    def turned(self) -> bool:
        """Whether the stored image was not upright."""
        return self.orientation in TURN_BACK

    @property
    def transposed(self) -> bool:
        """Whether rows became columns."""
        return self.orientation in (5, 6, 7, 8)

    @property
    def scale(self) -> tuple[float, float]:
        """(horizontally, vertically): pixels of the result per pixel of the upright image."""
        return self.new_size[0] / self.old_size[0], self.new_size[1] / self.old_size[1]
