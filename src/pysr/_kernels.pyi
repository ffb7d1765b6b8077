# The native kernels, as csrc/python registers them. Arguments are checked there and raise InputError.
# Arrays are NumPy arrays or tensors, borrowed without a copy; outputs are written in place.

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

# Whether this build includes the CUDA kernels.
cuda: bool

# Instruction sets of this CPU that the kernels are compiled for, fastest first.
def isas() -> list[str]: ...

# The instruction set in use; with a name, makes that one the one in use first.
def isa(name: str | None = None) -> str: ...

# image: (C, H, W). origins: top, left, top, left, ... of the patches. out: (N, C, height, width), floating point.
def extract_patches(image: Any, origins: Sequence[int], out: Any, *, threads: int, stream: int) -> None: ...

# bands: (N, C, height, width) each. row_weights: (bands, height) float32. column_weights: (N, width) float32.
# out: (C, H, W), the output rows from first_row on.
def blend_patches(
    bands: Sequence[Any],
    row_starts: Sequence[int],
    row_weights: Any,
    column_starts: Sequence[int],
    column_weights: Any,
    first_row: int,
    clip: bool,
    out: Any,
    *,
    threads: int,
    stream: int,
) -> None: ...

# image: (C, H, W) on the CPU. weights: (scale, taps) float32; each row ends before its first zero. offsets: where
# the input pixels are that the weights are for, row by row. out: (C, rows * scale, W * scale), those of the rows
# from first_row on.
def enlarge(
    image: Any, offsets: Sequence[int], weights: Any, first_row: int, clip: bool, out: Any, *, threads: int
) -> None: ...

# Images of one size to be drawn. images: (count, height, width, planes) uint8, written in place. image_ids: (count,).
# features: (count or 1, height, width, features) float32. noise, logits: (count, height * width * planes, 256) float32.
# kept: bool, in the shape of images, which values are given. log_likelihood: (count, height), to which nats are added.
@final
class DrawnBatch:
    def __init__(
        self,
        images: Any,
        image_ids: NDArray[np.uint64],
        *,
        features: Any,
        noise: Any,
        kept: Any,
        logits: Any,
        log_likelihood: NDArray[np.float64] | None,
    ) -> None: ...

# A gated PixelCNN, packed for one device. numbers: the weights by their names in the state dict.
# reduced: multiply in bfloat16. device: a CUDA device, or -1 for the CPU.
@final
class PixelCNN:
    def __init__(
        self,
        numbers: Mapping[str, NDArray[np.float32]],
        *,
        planes: int,
        channels: int,
        layers: int,
        hidden: int,
        features: int,
        reduced: bool,
        device: int,
    ) -> None: ...

    # all_kept: all values are given, only score them. progress: called with (done, total) pixels. OverflowError if
    # logits are not finite; MemoryError if a GPU has too little memory.
    def draw(
        self,
        batches: Sequence[DrawnBatch],
        *,
        seed: int,
        inverse_temperature: float,
        all_kept: bool,
        threads: int,
        stream: int,
        progress: Callable[[int, int], object] | None,
    ) -> None: ...

# For tests: the Philox words of the 64 blocks of one value, (4, 64).
def philox(key: int, value: int, image_id: int) -> NDArray[np.uint32]: ...

# For benchmarks: operations done in `rounds` rounds of multiply-adds in registers; 0 without bfloat16 instructions.
def exercise(rounds: int, reduced: bool) -> float: ...
