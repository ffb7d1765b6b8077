"""`extract_patches` and `blend_patches` in plain PyTorch, and their gradients.

They compute the same sums in the same order as the native kernels. They are used on devices without kernels and in
installations without the extension, and the tests compare the kernels with them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..imaging.colour import white_of
from ..imaging.mirror import mirrored_index
from .axis import Axis


def extract_patches_reference(
    image: Tensor, origins: Sequence[int], height: int, width: int, dtype: torch.dtype
) -> Tensor:
    """Extract patches as `pysr.ops.patches.extract_patches` does.

    Args:
        image: (C, H, W).
        origins: Top, left, top, left, ... of the patches in pixels.
        height: Height of every patch.
        width: Width of every patch.
        dtype: float32, bfloat16 or float16, for the result.

    Returns:
        (N, C, height, width).
    """
    rows, columns = _source_pixels(origins, (height, width), image)
    readable = image.view(torch.int16) if image.dtype == torch.uint16 else image  # torch does not index uint16
    patches = readable[:, rows, columns].view(image.dtype).to(torch.float32)
    white = white_of(image.dtype)
    if white != 1:
        patches = patches / white
    return patches.transpose(0, 1).to(dtype).contiguous()


def extract_patches_gradient(grad: Tensor, origins: Sequence[int], image: Tensor) -> Tensor:
    """Gradient with respect to the image, given that of the patches, (N, C, h, w)."""
    rows, columns = _source_pixels(origins, (grad.shape[2], grad.shape[3]), image)
    channels = torch.arange(image.shape[0], device=image.device)[:, None, None, None]
    total = torch.zeros(image.shape, dtype=torch.float32, device=image.device)
    total = total.index_put((channels, rows, columns), grad.transpose(0, 1).float(), accumulate=True)
    return total.to(image.dtype)


def _source_pixels(origins: Sequence[int], shape: tuple[int, int], image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row (N, h, 1) and the column (N, 1, w) of the image that each pixel of each patch comes from."""
    corners = torch.tensor(origins, dtype=torch.int64, device=image.device).view(-1, 2)
    rows, columns = (
        mirrored_index(first[:, None] + torch.arange(side, device=image.device), length)
        for first, side, length in zip(corners.unbind(1), shape, image.shape[-2:], strict=True)
    )
    return rows[:, :, None], columns[:, None, :]


def blend_patches_reference(
    tile_rows: Sequence[Tensor],
    rows: Axis[Tensor],
    columns: Axis[Tensor],
    *,
    span: Sequence[int],
    width: int,
    dtype: torch.dtype,
    clip: bool = False,
) -> Tensor:
    """Blend tiles as `pysr.ops.patches.blend_patches` does: the output rows ``span``, (C, last - first, width)."""
    shape = tile_rows[0].shape[1], span[1] - span[0], width
    total = torch.zeros(shape, dtype=torch.float32, device=tile_rows[0].device)
    for tiles, top, down in zip(tile_rows, rows.starts, rows.weights, strict=True):
        for tile, left, across in zip(tiles, columns.starts, columns.weights, strict=True):
            part = _overlap((top - span[0], left), tile.shape[-2:], total.shape[-2:])
            weight = down[part[2], None] * across[part[3]]
            sample = tile[:, part[2], part[3]].float()
            total[:, part[0], part[1]] += torch.where(weight != 0, weight * sample, 0)
    white = white_of(dtype)
    if white == 1:
        return (total.clamp(0, 1) if clip else total).to(dtype)
    return (total * white).nan_to_num(nan=0.0).clamp(0, white).round().to(dtype)


def blend_patches_gradient(
    grad: Tensor, rows: Axis[Tensor], columns: Axis[Tensor], *, first_row: int, shape: torch.Size, dtype: torch.dtype
) -> list[Tensor]:
    """Gradients with respect to the rows of tiles, each of that shape, given that of the output rows."""
    grads = []
    for top, down in zip(rows.starts, rows.weights, strict=True):
        tiles = []
        for left, across in zip(columns.starts, columns.weights, strict=True):
            part = _overlap((top - first_row, left), shape[-2:], grad.shape[-2:])
            weight = down[part[2], None] * across[part[3]]
            inside = torch.where(weight != 0, weight * grad[:, part[0], part[1]].float(), 0)
            margin = (part[3].start, shape[-1] - part[3].stop, part[2].start, shape[-2] - part[2].stop)
            tiles.append(torch.nn.functional.pad(inside, margin))
        grads.append(torch.stack(tiles).to(dtype))
    return grads


def _overlap(start: tuple[int, int], shape: Sequence[int], whole: Sequence[int]) -> tuple[slice, slice, slice, slice]:
    """Return where a tile overlaps the output: rows and columns of the output, then rows and columns of the tile."""
    spans = [(max(0, -s), max(0, -s, min(n, w - s))) for s, n, w in zip(start, shape, whole, strict=True)]
    of_tile = [slice(a, b) for a, b in spans]
    of_whole = [slice(s + a, s + b) for s, (a, b) in zip(start, spans, strict=True)]
    return of_whole[0], of_whole[1], of_tile[0], of_tile[1]
