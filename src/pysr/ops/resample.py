"""Enlarge an image by interpolation, straight from its pixels to those of the result."""

from functools import lru_cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..imaging.resize import enlarging_taps, resize
from .hardware import device_of
from .native import is_native, kernels
from .patches import from_float, to_float

_CPU = torch.device("cpu")


class Resampler(nn.Module):
    """Interpolation as a network: (N, C, h, w) float to (N, C, h * scale, w * scale), not clipped.

    Args:
        kernel: "nearest", "bicubic" or "lanczos"; see `pysr.imaging.resize.resize`.
        scale: Enlargement per side.
    """

    def __init__(self, kernel: str, scale: int) -> None:
        super().__init__()
        self.kernel, self.scale = kernel, scale

    def forward(self, low: Tensor) -> Tensor:
        return enlarged(low, self.scale, self.kernel)

    @property
    def reach(self) -> int:
        """How many pixels of the image, in each direction, a pixel of the result depends on."""
        return max(abs(offset) for phase in enlarging_taps(self.scale, self.kernel) for offset, _ in phase)


def resamples_natively(device: torch.device) -> bool:
    """Return whether `enlarge` uses the native kernel for images on a device."""
    return device == _CPU and is_native(_CPU)


def enlarge(
    image: Tensor | NDArray[Any],
    scale: int,
    kernel: str,
    out: Tensor | NDArray[Any],
    *,
    first_row: int = 0,
    clip: bool = True,
) -> None:
    """Enlarge rows of an image into ``out``, as `pysr.imaging.resize.resize` does.

    The native kernel computes the sums of `resize` in float32 and in the same order, without a float image: it needs
    100 KB for each thread. It is used on CPUs.

    Args:
        image: (C, H, W) view with any strides: a NumPy array or a tensor of uint8, uint16, float16 or float32, or a
            tensor of bfloat16.
        scale: Enlargement per side.
        kernel: "nearest", "bicubic" or "lanczos".
        out: Where to put the result, (C, rows * scale, W * scale) of any of these dtypes, with any strides. Integers
            are clipped and rounded half to even.
        first_row: The row of the image at which ``out`` begins.
        clip: Whether floats are clipped to [0, 1].

    Raises:
        InputError: Shapes, dtypes or memory that cannot be used.
    """
    if resamples_natively(device_of(image)) and resamples_natively(device_of(out)):
        offsets, weights = _filter(scale, kernel)
        kernels.enlarge(image, offsets, weights, first_row, clip, out, threads=torch.get_num_threads())
        return
    rows = slice(first_row * scale, first_row * scale + out.shape[1])
    from_float(resize(to_float(image), scale, kernel=kernel)[:, rows], out, clip=clip)


def enlarged(planes: Tensor, scale: int, kernel: str = "bicubic") -> Tensor:
    """Return ``resize(planes, scale, kernel=kernel)`` to the bit, by the native kernel where it can compute that.

    Args:
        planes: (N, C, h, w) float32 or float64 of any range.
        scale: Enlargement per side.
        kernel: "nearest", "bicubic" or "lanczos".

    Returns:
        (N, C, h * scale, w * scale) of the same dtype and device, not clipped.
    """
    wants_gradient = planes.requires_grad and torch.is_grad_enabled()
    computable = planes.dtype == torch.float32 and resamples_natively(planes.device) and planes.numel() > 0
    if wants_gradient or not computable or torch.compiler.is_compiling():
        return resize(planes, scale, kernel=kernel)
    count, channels, height, width = planes.shape
    out = planes.new_empty(count, channels, height * scale, width * scale)
    enlarge(planes.detach().flatten(0, 1), scale, kernel, out.flatten(0, 1), clip=False)
    return out


@lru_cache(maxsize=32)
def _filter(scale: int, kernel: str) -> tuple[list[int], Tensor]:
    """Return the offsets of all phases, and their weights: (scale, taps) float32, zero where a phase has fewer taps."""
    taps = enlarging_taps(scale, kernel)
    most = max(map(len, taps))
    padded = [[*phase, *[(0, 0.0)] * (most - len(phase))] for phase in taps]
    weights = torch.tensor([[weight for _, weight in phase] for phase in padded], dtype=torch.float32, device=_CPU)
    return [offset for phase in padded for offset, _ in phase], weights
