"""The eight symmetries of the square, for augmentation and self-ensembles."""

from torch import Tensor

SYMMETRIES = 8


def transform(image: Tensor, number: int) -> Tensor:
    """Apply a symmetry to (..., H, W): that many quarter turns for 0 to 3, the same mirrored for 4 to 7."""
    image = image.rot90(number % 4, (-2, -1))
    return image.flip(-1) if number >= SYMMETRIES // 2 else image


def transform_back(image: Tensor, number: int) -> Tensor:
    """Undo `transform`."""
    return (image.flip(-1) if number >= SYMMETRIES // 2 else image).rot90(-number % 4, (-2, -1))
