"""The native PixelCNN sampler: exact, sub-pixel by sub-pixel, in less time than one pass of the network takes in torch.

Every layer is computed once per pixel; what later pixels need is kept. As a pixel depends on the rows above only up to
a few columns to its right, pixel (i, j) is drawn at step j + 4 i, eight rows of a 32 x 32 image at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError, PysrError
from .hardware import choose_device
from .native import OLDEST_GPU, is_native, needed_kernels, on_device, stream_of

LEVELS = 256

Numbers = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Progress = Callable[[int, int], None]


class PixelCNNSampler:
    """Draws images of a gated PixelCNN, or tells how likely given ones are. Any number of threads may share one.

    weights: by their names in the state dict of the plugin's prior, already masked: ``first``, ``layers.N.vertical``,
        ``.across``, ``.horizontal``, ``.out``, ``widen``, ``answer``; and ``condition``, the last 1 x 1 layer of the
        conditioning network, whose logits are added; without it images are drawn from the prior alone. Each
        ``.weight`` and ``.bias``, float32, arrays or tensors. Sizes are read off the shapes.
    precision: "float32", or "bfloat16" where the processor has instructions for it: twice as fast, and an exact sampler
        of the rounded network.
    threads: at most so many; default: as torch uses.
    device: "cpu", or a CUDA device, where images, features, noise and logits are then tensors, and precision float32.
    In float32 a seed gives the same image for any number of images at a time, order, thread count and processor; a CUDA
    device may round otherwise (logits differ by less than 1e-4).
    Raises InputError for weights that do not fit together or are no numbers, and for a device without native kernels.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor | Numbers],
        *,
        precision: str = "float32",
        threads: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if precision not in ("float32", "bfloat16"):
            raise InputError(f"precision is {precision!r}; the sampler computes in 'float32' or 'bfloat16'")
        self.device = _checked_device(device, precision)
        numbers = {name: _as_floats(name, value) for name, value in weights.items()}
        self.planes, self.features, self.layers = _sizes(numbers)
        self.threads = _checked_threads(threads)
        channels, hidden = len(numbers["first.weight"]), len(numbers["widen.weight"])
        self.channels, self.hidden = channels, hidden
        with on_device(self.device):
            self._network = needed_kernels("drawing images").PixelCNN(
                numbers, planes=self.planes, channels=channels, layers=self.layers, hidden=hidden,
                features=self.features, reduced=precision == "bfloat16",
                device=self.device.index if self.device.type == "cuda" else -1,
            )  # fmt: skip

    def sample(
        self,
        count: int,
        height: int,
        width: int,
        *,
        features: Tensor | Numbers | None = None,
        seed: int = 0,
        image_ids: Any = None,
        temperature: float = 1.0,
        known: Any = None,
        mask: Any = None,
        noise: Any = None,
        progress: Progress | None = None,
    ) -> Pixels | Tensor:
        """Draw images, (count, height, width, planes) uint8: an array, or a tensor on the sampler's CUDA device.

        features: of the conditioning network, (count or 1, height, width, F) float32. seed: 0 to 2^64 - 1.
        image_ids: which noise each image gets, whole numbers from 0; default: 0, 1, 2, ... temperature: divides the
        logits; 0 takes the likeliest level of every sub-pixel in turn. known: (count, height, width, planes) uint8,
        kept where mask, bool, (count, height, width) or with planes, is True. noise: (count, height * width * planes,
        256) float32, instead of Gumbel noise by Philox4x32-10 with the key seed and the counter (category block,
        sub-pixel, image id). progress: called as progress(done, total) in pixels, now and then; an exception raised
        in it ends the work, as Ctrl-C does, and comes out.
        Raises InputError for arguments that do not fit.
        """
        if min(count, height, width) < 1:
            raise InputError(f"{count} images of {height} x {width} pixels cannot be drawn; give 1 or more of each")
        if not is_temperature(temperature):
            raise InputError(f"temperature is {temperature!r}; give 0, or from 1e-6 to 1e6")
        try:
            images = np.zeros((count, height, width, self.planes), np.uint8)
        except ValueError as error:  # NumPy's for absurd sizes
            raise InputError(f"{count} images of {height} x {width} pixels cannot be: {error}") from None
        kept = None
        if known is not None or mask is not None:
            kept = self._kept(images, known, mask)
        ids = np.arange(count, dtype=np.uint64) if image_ids is None else _ids(image_ids, count)
        inverse = 1 / float(temperature) if temperature else 0.0
        drawn = self._placed(images)
        self._draw(drawn, ids, seed=seed, inverse_temperature=inverse, features=features, progress=progress,
                   kept=None if kept is None else self._placed(kept.view(np.uint8)),
                   noise=None if noise is None else self._floats("noise", noise))  # fmt: skip
        return drawn

    def logits(self, images: Any, features: Tensor | Numbers | None = None) -> Numbers | Tensor:
        """Of given images, (N, H, W, planes) uint8: (N, H, W, planes, 256) float32, each value's from those before."""
        given = self._given(images)
        shape = len(given), given[0].size, LEVELS
        on_cuda = self.device.type == "cuda"
        logits = torch.empty(shape, dtype=torch.float32, device=self.device) if on_cuda else np.empty(shape, np.float32)
        self._measure(given, features, logits=logits)
        return logits.reshape(*given.shape, LEVELS)

    def log_likelihood(self, images: Any, features: Tensor | Numbers | None = None) -> NDArray[np.float64]:
        """The logarithm of the probability of given images, (N, H, W, planes) uint8: (N,), in nats."""
        given = self._given(images)
        rows = np.zeros(given.shape[:2], np.float64)
        self._measure(given, features, log_likelihood=rows)
        nats: NDArray[np.float64] = rows.sum(1)
        if not np.isfinite(nats).all():
            raise PysrError("the network's logits became infinite or no numbers; are these weights trained?")
        return nats

    def flops(self, height: int, width: int) -> int:
        """Multiplications and additions of an image of that size, as the layers say and each value computed once.

        In float32 the processor makes a fifth fewer: the vertical sums of two columns share their products.
        """
        channels, hidden = groups(self.channels, self.planes), groups(self.hidden, self.planes)
        levels = (LEVELS,) * self.planes
        first = 24 * self.planes * self.channels + sum(plane * share for plane, share in enumerate(channels))
        layer = (20 + 4 + 4) * self.channels**2 + 3 * _seen(
            channels, channels
        )  # vertical, across, left; centre and out
        head = _seen(channels, hidden) + _seen(hidden, levels) + self.features * sum(levels)
        return 2 * height * width * (first + self.layers * layer + head)

    def _draw(self, images: Pixels | Tensor, ids: NDArray[np.uint64], *, features: Any, seed: Any = 0,
              inverse_temperature: float = 1.0, noise: Any = None, kept: Any = None, all_kept: bool = False,
              logits: Any = None, log_likelihood: Any = None, progress: Progress | None = None) -> None:  # fmt: skip
        if not isinstance(seed, Integral) or not 0 <= int(seed) < 2**64:
            raise InputError(f"seed is {seed!r}; give a whole number from 0 to 2^64 - 1")
        if (features is None) != (self.features == 0):
            known = f"{self.features} features a pixel" if self.features else "no conditioning network"
            raise InputError(f"features {'are missing' if features is None else 'are given'}: the weights have {known}")
        placed = None if features is None else self._floats("features", features)

        def draw() -> None:
            with on_device(self.device):
                self._network.draw(
                    images, ids, seed=int(seed), inverse_temperature=inverse_temperature, noise=noise, kept=kept,
                    features=placed, all_kept=all_kept, logits=logits, log_likelihood=log_likelihood,
                    threads=self.threads, stream=stream_of(self.device), progress=progress,
                )  # fmt: skip

        try:
            with_memory_of_torch(draw, self.device)
        except OverflowError as error:
            raise PysrError(f"{error}; are these weights trained?") from None

    def _measure(self, images: Pixels, features: Any, **out: Any) -> None:
        self._draw(self._placed(images), np.zeros(len(images), np.uint64), features=features, all_kept=True, **out)

    def _placed(self, array: NDArray[Any]) -> NDArray[Any] | Tensor:
        """On the sampler's device: the array itself, or a tensor."""
        return torch.tensor(array, device=self.device) if self.device.type == "cuda" else array

    def _floats(self, name: str, value: Any) -> Numbers | Tensor:
        """Contiguous finite float32 on the sampler's device."""
        if self.device.type != "cuda" or not (isinstance(value, Tensor) and value.is_floating_point()):
            return self._placed(_as_floats(name, value))
        floats = value.detach().to(self.device, torch.float32).contiguous()
        if not floats.isfinite().all():
            raise InputError(f"{name} must hold finite floats; {value.dtype} with NaN or infinity came")
        return floats

    def _given(self, images: Any) -> Pixels:
        given = _array(images)
        if given.dtype != np.uint8 or given.ndim != 4 or given.shape[-1] != self.planes or not given.size:
            raise InputError(
                f"images are {given.dtype} of shape {given.shape}; give uint8 (N, height, width, {self.planes})"
            )
        return np.require(given, requirements=["C", "W"])

    def _kept(self, images: Pixels, known: Any, mask: Any) -> NDArray[np.bool_]:
        """Fill in what is known and return where, in the images' shape."""
        if known is None or mask is None:
            raise InputError("known and mask belong together: known holds the values, mask says which of them count")
        values, where = _array(known), _array(mask)
        if where.ndim == 3:
            where = where[..., None]
        if values.dtype != np.uint8 or where.dtype != np.bool_:
            raise InputError(f"known is {values.dtype} and mask {where.dtype}; give uint8 and bool")
        try:
            kept = np.broadcast_to(where, images.shape)
            np.copyto(images, np.broadcast_to(values, images.shape), where=kept)
        except ValueError:
            raise InputError(
                f"known has shape {values.shape} and mask {_array(mask).shape}; the images are {images.shape}"
            ) from None
        return np.ascontiguousarray(kept)


def is_temperature(value: Any) -> bool:
    """Whether logits can be divided by it in float32, or it is 0."""
    return isinstance(value, Real) and (float(value) == 0 or 1e-6 <= float(value) <= 1e6)


def native_device(device: torch.device) -> torch.device:
    """Where a sampler can work for a network on that device: there, or on the CPU where there are no kernels for it."""
    return device if device.type == "cuda" and is_native(device) else torch.device("cpu")


def with_memory_of_torch(draw: Callable[[], None], device: torch.device) -> None:
    """Call it; where a GPU has no memory left for it, once more with what torch keeps there for later."""
    try:
        draw()
    except MemoryError:
        if device.type != "cuda":
            raise
        torch.cuda.empty_cache()
        draw()


def _checked_device(wanted: torch.device | str, precision: str) -> torch.device:
    device = choose_device(wanted)
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device is {str(wanted)!r}; the sampler draws on 'cpu' or 'cuda'")
    if device.type == "cuda" and not needed_kernels("drawing images").cuda:
        raise InputError("this build of pysr has no CUDA kernels; draw images with device='cpu'")
    if device.type == "cuda" and not is_native(device):
        raise InputError(
            f"{torch.cuda.get_device_name(device)} is too old for the CUDA kernels, which need compute capability"
            f" {'.'.join(map(str, OLDEST_GPU))}; draw images with device='cpu'"
        )
    if device.type == "cuda" and precision != "float32":
        raise InputError(f"precision is {precision!r}; on a CUDA device the sampler computes in 'float32'")
    return device


def _checked_threads(threads: int | None) -> int:
    if threads is None:
        return torch.get_num_threads()
    if not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads is {threads!r}; give 1 or more")
    return min(threads, 4 * (os.cpu_count() or 1))


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)


def _as_floats(name: str, value: Any) -> Numbers:
    """Contiguous finite float32."""
    array = _array(value.float() if isinstance(value, Tensor) else value)
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, dtype=np.float32) if array.dtype.kind == "f" else array
    if floats.dtype != np.float32 or not np.isfinite(floats).all():
        raise InputError(f"{name} must hold finite floats; {array.dtype} with NaN or infinity, or no floats, came")
    return floats


def _ids(given: Any, count: int) -> NDArray[np.uint64]:
    ids = np.asarray(given)
    if ids.shape != (count,) or ids.dtype.kind not in "ui" or (ids.dtype.kind == "i" and ids.min() < 0):
        raise InputError(f"image_ids must be {count} whole numbers from 0; got {ids.dtype} of shape {ids.shape}")
    return ids.astype(np.uint64)


def _sizes(numbers: Mapping[str, Numbers]) -> tuple[int, int, int]:
    """Planes, features and layers; the kernel holds every shape against them."""
    for name in ("first.weight", "widen.weight", "answer.weight"):
        if name not in numbers or numbers[name].ndim != 4:
            raise InputError(f"the weights lack {name} of four dimensions; are they those of a PixelCNN prior?")
    planes = numbers["first.weight"].shape[1]
    if planes not in (1, 3):
        raise InputError(f"the weights are for images of {planes} planes; the sampler draws 1 (gray) or 3 (RGB)")
    smallest = min(len(numbers["first.weight"]), len(numbers["widen.weight"]))
    if smallest < 4:
        raise InputError(f"the weights have a layer of {smallest} channels; the sampler needs at least 4")
    layers = sum(name.startswith("layers.") and name.endswith(".vertical.weight") for name in numbers)
    condition = numbers.get("condition.weight")
    if condition is not None and condition.ndim != 4:
        raise InputError(f"condition.weight has shape {condition.shape}; it must be (planes * 256, features, 1, 1)")
    return planes, 0 if condition is None else condition.shape[1], layers


def groups(channels: int, planes: int) -> tuple[int, ...]:
    """How many of a layer's channels belong to each plane: half to the first, for it is the hardest to predict.

    Equal shares would not do: whole groups of 16 keep vector registers full while an image is drawn.
    """
    return (channels,) if planes == 1 else (channels - 2 * (channels // 4), channels // 4, channels // 4)


def _seen(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
    """Products of a layer in which a plane's outputs see the inputs of the planes up to it."""
    return sum(sum(inputs[: plane + 1]) * share for plane, share in enumerate(outputs))
