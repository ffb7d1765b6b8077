"""Cut an image into patches, and blend tiles of output together: the native kernels behind typed wrappers.

Both are custom operators of ``torch.library`` with gradients. Where there is no native kernel, the plain-PyTorch
versions in `patches_reference` compute the same sums in the same order.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import InputError
from .axis import Axis
from .hardware import device_of
from .native import is_native, kernels, on_device, stream_of
from .patches_reference import (
    blend_patches_gradient,
    blend_patches_reference,
    extract_patches_gradient,
    extract_patches_reference,
)

_FLOATS = (torch.float32, torch.bfloat16, torch.float16)

Out = TypeVar("Out", bound=Tensor | NDArray[Any])
AnyAxis = Axis[Tensor] | Axis[NDArray[np.float32]]


def extract_patches(
    image: Tensor | NDArray[Any],
    origins: ArrayLike,
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    out: Tensor | None = None,
) -> Tensor:
    """Cut patches out of an image, as a batch of floats, in one pass.

    uint8 is divided by 255 and uint16 by 65535 (a true division: converted back, the float32 result gives exactly the
    same integers); floats stay as they are. Gradients flow to float images.

    Args:
        image: (C, H, W) view with any strides (for an HWC array pass ``array.transpose(2, 0, 1)``): a NumPy array of
            uint8, uint16, float16 or float32, which may be read-only, reversed or broadcast; or a tensor of these
            dtypes or bfloat16, on any device.
        origins: (N, 2) integers, top and left of each patch in pixels. Outside its borders the image is mirrored, edge
            pixels included, at any distance.
        shape: (height, width) of every patch in pixels.
        dtype: float32, bfloat16 or float16: dtype of the result.
        out: Where to put the result, (N, C, height, width) with any strides; its dtype is used. Records no gradient.

    Returns:
        (N, C, height, width) on the image's device.

    Raises:
        InputError: Shapes, dtypes or memory that cannot be used.
    """
    corners = _corners(origins)
    if out is not None:
        _refuse_gradient([image])
        _extract_into(out, image, corners)
        return out
    if dtype not in _FLOATS:
        raise InputError(f"patches can be float32, bfloat16 or float16; got dtype {dtype}")
    height, width = shape
    if height < 1 or width < 1:
        raise InputError(f"patches must be at least 1 x 1 pixel; got shape {height} x {width}")
    if isinstance(image, Tensor):
        result: Tensor = torch.ops.pysr.extract_patches(image, corners, height, width, dtype)
        return result
    if image.ndim != 3:
        raise InputError(f"image must have shape (channels, height, width); got {image.shape}")
    out = torch.empty(len(corners) // 2, image.shape[0], height, width, dtype=dtype, device="cpu")
    _extract_into(out, image, corners)
    return out


@overload
def blend_patches(
    tile_rows: Sequence[Tensor],
    rows: AnyAxis,
    columns: AnyAxis,
    *,
    span: tuple[int, int],
    width: int | None = None,
    dtype: torch.dtype | None = None,
    clip: bool = False,
) -> Tensor: ...
@overload
def blend_patches(
    tile_rows: Sequence[Tensor],
    rows: AnyAxis,
    columns: AnyAxis,
    *,
    span: tuple[int, int],
    width: int | None = None,
    clip: bool = False,
    out: Out,
) -> Out: ...
def blend_patches(
    tile_rows: Sequence[Tensor],
    rows: AnyAxis,
    columns: AnyAxis,
    *,
    span: tuple[int, int],
    width: int | None = None,
    dtype: torch.dtype | None = None,
    clip: bool = False,
    out: Tensor | NDArray[Any] | None = None,
) -> Tensor | NDArray[Any]:
    """Sum weighted tiles into finished output rows, in one pass and without a canvas for the whole output.

    Samples of weight zero are ignored, even if they are NaN. The sums are the same for any number of threads. Gradients
    flow to the tiles.

    Args:
        tile_rows: One tensor per row of tiles, top to bottom, each (K, C, h, w) float32, bfloat16 or float16 with any
            strides.
        rows: Where each row of tiles begins in the output, and weights (len(tile_rows), h).
        columns: Where each tile of a row begins in the output, and weights (K, w).
        span: The output rows [first, last) to make.
        width: Width of the output; by default up to the end of the last tile.
        dtype: uint8 (times 255, clipped, rounded half to even; NaN becomes 0), uint16 (times 65535, likewise), or a
            float dtype; by default that of the tiles.
        clip: Whether floats are clipped to [0, 1].
        out: Where to put the result instead: a tensor or NumPy view of shape (C, last - first, width) with any strides,
            for example rows of an HWC image. Its dtype is used. Records no gradient.

    Returns:
        (C, last - first, width), or ``out``.

    Raises:
        InputError: Shapes, dtypes or memory that cannot be used.
    """
    first, last = span
    if not len(tile_rows) or not len(columns.starts) or last <= first:
        counts = f"{len(tile_rows)} rows of {len(columns.starts)} tiles"
        raise InputError(f"there is nothing to blend: {counts}, output rows {first} to {last}")
    down, across = _prepared(rows, tile_rows[0]), _prepared(columns, tile_rows[0])
    if out is not None:
        if tuple(out.shape[1:]) != (last - first, out.shape[-1] if width is None else width):
            raise InputError(
                f"out has shape {tuple(out.shape)}, but {last - first} rows"
                + (f" of width {width}" if width is not None else "")
                + " are asked for; give one of that shape"
            )
        _refuse_gradient(tile_rows)
        _blend_into(out, tile_rows, down, across, first_row=first, clip=clip)
        return out
    if width is None:
        width = across.starts[-1] + tile_rows[0].shape[-1]
    dtype = dtype or tile_rows[0].dtype
    result: Tensor = torch.ops.pysr.blend_patches(tile_rows, *down, *across, span=span, width=width, dtype=dtype)
    return result.clamp(0, 1) if clip and dtype in _FLOATS else result


def to_float(image: Tensor | NDArray[Any]) -> Tensor:
    """Convert (C, H, W) of any supported dtype to float32, white being 1.0, on the image's device.

    It uses the kernel of `extract_patches`: one pass, any strides.
    """
    return extract_patches(image, [(0, 0)], image.shape[1:])[0]


def from_float(image: Tensor, out: Out, *, clip: bool = True) -> Out:
    """Write floats, (C, H, W), into ``out`` of the same shape and any supported dtype, and return it.

    Floats are clipped to [0, 1] unless ``clip`` is False; integers are clipped and rounded half to even. It uses the
    kernel of `blend_patches`: one pass, any strides.
    """
    _, height, width = image.shape
    rows, columns = (Axis([0], np.ones((1, side), np.float32)) for side in (height, width))
    return blend_patches([image[None].to(device_of(out))], rows, columns, span=(0, height), out=out, clip=clip)


def _refuse_gradient(sources: Sequence[object]) -> None:
    if torch.is_grad_enabled() and any(isinstance(source, Tensor) and source.requires_grad for source in sources):
        raise InputError("out= records no gradient; leave it out, or use torch.no_grad()")


def _corners(origins: ArrayLike) -> list[int]:
    array = np.asarray(origins)
    if array.size and (array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu"):
        raise InputError(f"origins must be whole numbers, one row of (top, left) per patch; got shape {array.shape}")
    corners: list[int] = array.ravel().tolist()
    return corners


def _prepared(axis: AnyAxis, like: Tensor) -> Axis[Tensor]:
    """Return the axis with starts as plain integers and weights as a contiguous tensor on the tiles' device."""
    weights = axis.weights
    if isinstance(weights, np.ndarray):
        weights = torch.from_numpy(weights if weights.flags.writeable else weights.copy())
    return Axis([int(i) for i in axis.starts], weights.to(like.device, non_blocking=True).contiguous())


def _launch_options(device: torch.device) -> dict[str, int]:
    return {"threads": torch.get_num_threads(), "stream": stream_of(device)}


def _detached(array: Any) -> Any:
    return array.detach() if isinstance(array, Tensor) else array


# ---- extract_patches ------------------------------------------------------------------------------------------------


def _extract_into(out: Tensor, image: Tensor | NDArray[Any], origins: list[int]) -> None:
    if is_native(device_of(image)) and is_native(out.device):
        with on_device(out.device):
            kernels.extract_patches(_detached(image), origins, _detached(out), **_launch_options(out.device))
    else:
        tensor = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
        out.copy_(extract_patches_reference(tensor, origins, out.shape[2], out.shape[3], out.dtype))


@torch.library.custom_op("pysr::extract_patches", mutates_args=())
def _extract_op(image: Tensor, origins: Sequence[int], height: int, width: int, dtype: torch.dtype) -> Tensor:
    out = image.new_empty((len(origins) // 2, image.shape[0], height, width), dtype=dtype)
    _extract_into(out, image, list(origins))
    return out


@_extract_op.register_fake
def _(image: Tensor, origins: Sequence[int], height: int, width: int, dtype: torch.dtype) -> Tensor:
    return image.new_empty((len(origins) // 2, image.shape[0], height, width), dtype=dtype)


def _extract_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, ctx.origins, *_ = inputs
    ctx.save_for_backward(image)


def _extract_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (image,) = ctx.saved_tensors
    return extract_patches_gradient(grad, ctx.origins, image), None, None, None, None


_extract_op.register_autograd(_extract_backward, setup_context=_extract_setup)


# ---- blend_patches --------------------------------------------------------------------------------------------------


def _blend_into(
    out: Tensor | NDArray[Any],
    tile_rows: Sequence[Tensor],
    rows: Axis[Tensor],
    columns: Axis[Tensor],
    *,
    first_row: int,
    clip: bool,
) -> None:
    if is_native(tile_rows[0].device) and is_native(device_of(out)):
        device = tile_rows[0].device
        with on_device(device):
            kernels.blend_patches(
                [tiles.detach() for tiles in tile_rows],
                rows.starts,
                rows.weights.detach(),
                columns.starts,
                columns.weights.detach(),
                first_row,
                clip,
                _detached(out),
                **_launch_options(device),
            )
        return
    target = out if isinstance(out, Tensor) else torch.from_numpy(np.empty(out.shape, out.dtype))
    span = first_row, first_row + out.shape[1]
    target.copy_(
        blend_patches_reference(tile_rows, rows, columns, span=span, width=out.shape[2], dtype=target.dtype, clip=clip)
    )
    if not isinstance(out, Tensor):
        out[...] = target.numpy()


@torch.library.custom_op("pysr::blend_patches", mutates_args=())
def _blend_op(
    tile_rows: Sequence[Tensor],
    row_starts: Sequence[int],
    row_weights: Tensor,
    column_starts: Sequence[int],
    column_weights: Tensor,
    *,
    span: Sequence[int],
    width: int,
    dtype: torch.dtype,
) -> Tensor:
    out = tile_rows[0].new_empty((tile_rows[0].shape[1], span[1] - span[0], width), dtype=dtype)
    rows, columns = Axis(list(row_starts), row_weights), Axis(list(column_starts), column_weights)
    _blend_into(out, tile_rows, rows, columns, first_row=span[0], clip=False)
    return out


@_blend_op.register_fake
def _(
    tile_rows: Sequence[Tensor],
    row_starts: Sequence[int],
    row_weights: Tensor,
    column_starts: Sequence[int],
    column_weights: Tensor,
    *,
    span: Sequence[int],
    width: int,
    dtype: torch.dtype,
) -> Tensor:
    return tile_rows[0].new_empty((tile_rows[0].shape[1], span[1] - span[0], width), dtype=dtype)


def _blend_setup(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Tensor) -> None:
    tile_rows, ctx.row_starts, row_weights, ctx.column_starts, column_weights = inputs
    ctx.first_row = keyword_only_inputs["span"][0]
    ctx.shape, ctx.dtype = tile_rows[0].shape, tile_rows[0].dtype
    ctx.save_for_backward(row_weights, column_weights)


def _blend_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    row_weights, column_weights = ctx.saved_tensors
    rows, columns = Axis(ctx.row_starts, row_weights), Axis(ctx.column_starts, column_weights)
    grads = blend_patches_gradient(grad, rows, columns, first_row=ctx.first_row, shape=ctx.shape, dtype=ctx.dtype)
    return grads, None, None, None, None


_blend_op.register_autograd(_blend_backward, setup_context=_blend_setup)
