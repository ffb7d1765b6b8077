"""The native kernels: typed wrappers, their registration with ``torch.library``, and plain-PyTorch references.

A reference does the same sums in the same order. It serves devices without a native kernel and builds without the
extension, and the tests hold the kernels against it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import InputError
from .native import is_native, kernels, on_device, stream_of

_WHITE = {torch.uint8: 255.0, torch.uint16: 65535.0}  # the integer that stands for 1.0
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)

Out = TypeVar("Out", Tensor, NDArray[Any])


def extract_patches(
    image: Tensor | NDArray[Any],
    origins: ArrayLike,
    size: tuple[int, int],
    *,
    dtype: torch.dtype = torch.float32,
    out: Tensor | None = None,
) -> Tensor:
    """AxisPlan patches out of an image, as a batch of floats, in one pass.

    image: (C, H, W) view with any strides (an HWC array is ``array.transpose(2, 0, 1)``): NumPy uint8, uint16, float16
        or float32, also read-only, reversed or broadcast; or a tensor of these or bfloat16, on any device.
    origins: (N, 2) integers, top and left of each patch in pixels. What lies outside the image is mirrored including
        the edge pixel, at any distance.
    size: height and width of every patch in pixels.
    dtype: float32, bfloat16 or float16 of the result.
    out: where to put the result, (N, C, h, w) with any strides; its dtype counts. Records no gradient.
    Returns (N, C, h, w) on the image's device. uint8 is divided by 255, uint16 by 65535 (a true division: back in
    integers the float32 result is exactly what it was); floats stay as they are. Gradients flow to float images.
    Raises InputError for shapes, dtypes or memory that cannot be used.
    """
    corners = _corners(origins)
    if out is not None:
        _refuse_gradient([image])
        _extract_into(out, image, corners)
        return out
    if dtype not in _FLOATS:
        raise InputError(f"patches can be float32, bfloat16 or float16; got dtype {dtype}")
    height, width = size
    if height < 1 or width < 1:
        raise InputError(f"patches must be at least 1 x 1 pixel; got size {height} x {width}")
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
    bands: Sequence[Tensor],
    row_starts: Sequence[int],
    row_weights: Tensor | NDArray[np.float32],
    column_starts: Sequence[int],
    column_weights: Tensor | NDArray[np.float32],
    *,
    rows: tuple[int, int],
    width: int | None = None,
    dtype: torch.dtype | None = None,
    clip: bool = False,
) -> Tensor: ...
@overload
def blend_patches(
    bands: Sequence[Tensor],
    row_starts: Sequence[int],
    row_weights: Tensor | NDArray[np.float32],
    column_starts: Sequence[int],
    column_weights: Tensor | NDArray[np.float32],
    *,
    rows: tuple[int, int],
    width: int | None = None,
    clip: bool = False,
    out: Out,
) -> Out: ...
def blend_patches(
    bands: Sequence[Tensor],
    row_starts: Sequence[int],
    row_weights: Tensor | NDArray[np.float32],
    column_starts: Sequence[int],
    column_weights: Tensor | NDArray[np.float32],
    *,
    rows: tuple[int, int],
    width: int | None = None,
    dtype: torch.dtype | None = None,
    clip: bool = False,
    out: Tensor | NDArray[Any] | None = None,
) -> Tensor | NDArray[Any]:
    """Add up weighted patches to finished output rows, in one pass and without a canvas.

    bands: one per row of patches, top to bottom, each (K, C, h, w) float32, bfloat16 or float16 with any strides.
    row_starts: output pixel where each band begins, ascending. row_weights: (len(bands), h) float32.
    column_starts: output pixel where each patch of a band begins, ascending. column_weights: (K, w) float32.
    rows: the output rows [first, last) to make. width: of the output; by default up to the end of the last patch.
    dtype: uint8 (times 255, clipped, rounded half to even; NaN becomes 0), uint16 (times 65535, likewise), or a float
        dtype; by default that of the bands. clip: whether floats are clipped to [0, 1].
    out: where to put the result instead: a tensor or NumPy view of shape (C, last - first, width) with any strides, for
        example the rows of an HWC image. Its dtype counts. Records no gradient.
    Returns (C, last - first, width), or ``out``. Samples of weight zero never count, not even when they are NaN; the
    sums are the same for every number of threads. Gradients flow to the bands. Raises InputError for shapes, dtypes or
    memory that cannot be used.
    """
    first, last = rows
    if not len(bands) or not len(column_starts) or last <= first:
        counts = f"{len(bands)} bands of {len(column_starts)} patches"
        raise InputError(f"there is nothing to blend: {counts}, output rows {first} to {last}")
    down, across = _weights(row_weights, bands[0]), _weights(column_weights, bands[0])
    starts = [int(i) for i in row_starts], [int(i) for i in column_starts]
    if out is not None:
        if tuple(out.shape[1:]) != (last - first, out.shape[-1] if width is None else width):
            raise InputError(
                f"out has shape {tuple(out.shape)}, but {last - first} rows of width {width} are asked for"
            )
        _refuse_gradient(bands)
        _blend_into(out, bands, _Axis(starts[0], down), _Axis(starts[1], across), first_row=first, clip=clip)
        return out
    if width is None:
        width = starts[1][-1] + bands[0].shape[-1]
    dtype = dtype or bands[0].dtype
    result: Tensor = torch.ops.pysr.blend_patches(
        bands, starts[0], down, starts[1], across, first_row=first, height=last - first, width=width, dtype=dtype
    )
    return result.clamp(0, 1) if clip and dtype in _FLOATS else result


class _Axis(NamedTuple):
    """Where patches begin along an axis, output pixels, and (patches, size) what their pixels weigh."""

    starts: list[int]
    weights: Tensor


def _refuse_gradient(sources: Sequence[object]) -> None:
    if torch.is_grad_enabled() and any(isinstance(source, Tensor) and source.requires_grad for source in sources):
        raise InputError("out= records no gradient; leave it away, or work under torch.no_grad()")


def _corners(origins: ArrayLike) -> list[int]:
    array = np.asarray(origins)
    if array.size and (array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "iu"):
        raise InputError(f"origins must be whole numbers, one row of (top, left) per patch; got shape {array.shape}")
    corners: list[int] = array.ravel().tolist()
    return corners


def _weights(weights: Tensor | NDArray[np.float32], like: Tensor) -> Tensor:
    if isinstance(weights, np.ndarray):
        weights = torch.from_numpy(weights if weights.flags.writeable else weights.copy())
    return weights.to(like.device, non_blocking=True).contiguous()


def _device_of(array: object) -> torch.device:
    return array.device if isinstance(array, Tensor) else torch.device("cpu")


def _how(array: object) -> dict[str, int]:
    return {"threads": torch.get_num_threads(), "stream": stream_of(_device_of(array))}


def _plain(array: Any) -> Any:
    return array.detach() if isinstance(array, Tensor) else array


# ---- extract_patches ------------------------------------------------------------------------------------------------


def _extract_into(out: Tensor, image: Tensor | NDArray[Any], origins: list[int]) -> None:
    if is_native(_device_of(image)) and is_native(_device_of(out)):
        with on_device(_device_of(out)):
            kernels.extract_patches(_plain(image), origins, _plain(out), **_how(out))
    else:
        planes = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
        out.copy_(extract_patches_reference(planes, origins, out.shape[2], out.shape[3], out.dtype))


@torch.library.custom_op("pysr::extract_patches", mutates_args=())
def _extract_op(image: Tensor, origins: Sequence[int], height: int, width: int, dtype: torch.dtype) -> Tensor:
    out = image.new_empty((len(origins) // 2, image.shape[0], height, width), dtype=dtype)
    _extract_into(out, image, list(origins))
    return out


@_extract_op.register_fake
def _(image: Tensor, origins: Sequence[int], height: int, width: int, dtype: torch.dtype) -> Tensor:
    return image.new_empty((len(origins) // 2, image.shape[0], height, width), dtype=dtype)


def _mirrored(starts: Tensor, size: int, length: int) -> Tensor:
    """(N,) first pixels -> (N, size) pixels of a side of `length`, mirrored including the edge pixel."""
    index = (starts[:, None] + torch.arange(size, device=starts.device)) % (2 * length)
    return torch.where(index < length, index, 2 * length - 1 - index)


def _sources(origins: Sequence[int], size: tuple[int, int], image: Tensor) -> tuple[Tensor, Tensor]:
    """Row (N, h, 1) and column (N, 1, w) of the image that each pixel of each patch comes from."""
    corners = torch.tensor(origins, dtype=torch.int64, device=image.device).view(-1, 2)
    rows = _mirrored(corners[:, 0], size[0], image.shape[-2])
    columns = _mirrored(corners[:, 1], size[1], image.shape[-1])
    return rows[:, :, None], columns[:, None, :]


def extract_patches_reference(
    image: Tensor, origins: Sequence[int], height: int, width: int, dtype: torch.dtype
) -> Tensor:
    """`extract_patches` in plain PyTorch: the same arguments, origins as top, left, top, left, ..."""
    rows, columns = _sources(origins, (height, width), image)
    readable = image.view(torch.int16) if image.dtype == torch.uint16 else image  # torch does not index uint16
    patches = readable[:, rows, columns].view(image.dtype).to(torch.float32)
    if image.dtype in _WHITE:
        patches = patches / _WHITE[image.dtype]
    return patches.transpose(0, 1).to(dtype).contiguous()


def _extract_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, ctx.origins, *_ = inputs
    ctx.save_for_backward(image)


def _extract_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (image,) = ctx.saved_tensors
    rows, columns = _sources(ctx.origins, (grad.shape[2], grad.shape[3]), image)
    channels = torch.arange(image.shape[0], device=image.device)[:, None, None, None]
    total = torch.zeros(image.shape, dtype=torch.float32, device=image.device)
    total = total.index_put((channels, rows, columns), grad.transpose(0, 1).float(), accumulate=True)
    return total.to(image.dtype), None, None, None, None


_extract_op.register_autograd(_extract_backward, setup_context=_extract_setup)


# ---- blend_patches --------------------------------------------------------------------------------------------------


def _blend_into(
    out: Tensor | NDArray[Any], bands: Sequence[Tensor], rows: _Axis, columns: _Axis, *, first_row: int, clip: bool
) -> None:
    if is_native(_device_of(bands[0])) and is_native(_device_of(out)):
        weights = rows.weights.detach(), columns.weights.detach()
        plain = [band.detach() for band in bands]
        with on_device(bands[0].device):
            kernels.blend_patches(
                plain,
                rows.starts,
                weights[0],
                columns.starts,
                weights[1],
                first_row,
                clip,
                _plain(out),
                **_how(plain[0]),
            )
        return
    target = out if isinstance(out, Tensor) else torch.from_numpy(np.empty(out.shape, out.dtype))
    size: dict[str, Any] = {
        "first_row": first_row,
        "height": out.shape[1],
        "width": out.shape[2],
        "dtype": target.dtype,
    }
    result = blend_patches_reference(
        bands, rows.starts, rows.weights, columns.starts, columns.weights, **size, clip=clip
    )
    target.copy_(result)
    if not isinstance(out, Tensor):
        out[...] = target.numpy()


@torch.library.custom_op("pysr::blend_patches", mutates_args=())
def _blend_op(
    bands: Sequence[Tensor],
    row_starts: Sequence[int],
    row_weights: Tensor,
    column_starts: Sequence[int],
    column_weights: Tensor,
    *,
    first_row: int,
    height: int,
    width: int,
    dtype: torch.dtype,
) -> Tensor:
    out = bands[0].new_empty((bands[0].shape[1], height, width), dtype=dtype)
    rows, columns = _Axis(list(row_starts), row_weights), _Axis(list(column_starts), column_weights)
    _blend_into(out, bands, rows, columns, first_row=first_row, clip=False)
    return out


@_blend_op.register_fake
def _(
    bands: Sequence[Tensor],
    row_starts: Sequence[int],
    row_weights: Tensor,
    column_starts: Sequence[int],
    column_weights: Tensor,
    *,
    first_row: int,
    height: int,
    width: int,
    dtype: torch.dtype,
) -> Tensor:
    return bands[0].new_empty((bands[0].shape[1], height, width), dtype=dtype)


def blend_patches_reference(
    bands: Sequence[Tensor],
    row_starts: Sequence[int],
    row_weights: Tensor,
    column_starts: Sequence[int],
    column_weights: Tensor,
    *,
    first_row: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    clip: bool = False,
) -> Tensor:
    """`blend_patches` in plain PyTorch: the output rows [first_row, first_row + height), summed in the same order."""
    total = torch.zeros((bands[0].shape[1], height, width), device=bands[0].device)
    for band, top, down in zip(bands, row_starts, row_weights, strict=True):
        for patch, left, across in zip(band, column_starts, column_weights, strict=True):
            part = _overlap((top - first_row, left), patch.shape[-2:], total.shape[-2:])
            weight = down[part[2], None] * across[part[3]]
            sample = patch[:, part[2], part[3]].float()
            total[:, part[0], part[1]] += torch.where(weight != 0, weight * sample, 0)
    if dtype not in _WHITE:
        return (total.clamp(0, 1) if clip else total).to(dtype)
    white = _WHITE[dtype]
    return (total * white).nan_to_num(nan=0.0).clamp(0, white).round().to(dtype)


def _overlap(start: tuple[int, int], size: Sequence[int], whole: Sequence[int]) -> tuple[slice, slice, slice, slice]:
    """Where a patch lies inside the output, as rows and columns of the output, then of the patch."""
    spans = [(max(0, -s), max(0, -s, min(n, w - s))) for s, n, w in zip(start, size, whole, strict=True)]
    of_patch = [slice(a, b) for a, b in spans]
    of_whole = [slice(s + a, s + b) for s, (a, b) in zip(start, spans, strict=True)]
    return of_whole[0], of_whole[1], of_patch[0], of_patch[1]


def _blend_setup(ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: Tensor) -> None:
    bands, ctx.row_starts, row_weights, ctx.column_starts, column_weights = inputs
    ctx.first_row = keyword_only_inputs["first_row"]
    ctx.shape, ctx.dtype = bands[0].shape, bands[0].dtype
    ctx.save_for_backward(row_weights, column_weights)


def _blend_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    row_weights, column_weights = ctx.saved_tensors
    grads = []
    for top, down in zip(ctx.row_starts, row_weights, strict=True):
        patches = []
        for left, across in zip(ctx.column_starts, column_weights, strict=True):
            part = _overlap((top - ctx.first_row, left), ctx.shape[-2:], grad.shape[-2:])
            weight = down[part[2], None] * across[part[3]]
            inside = torch.where(weight != 0, weight * grad[:, part[0], part[1]].float(), 0)
            margin = (part[3].start, ctx.shape[-1] - part[3].stop, part[2].start, ctx.shape[-2] - part[2].stop)
            patches.append(torch.nn.functional.pad(inside, margin))
        grads.append(torch.stack(patches).to(ctx.dtype))
    return grads, None, None, None, None


_blend_op.register_autograd(_blend_backward, setup_context=_blend_setup)
