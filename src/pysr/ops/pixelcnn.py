"""The native PixelCNN sampler: exact, sub-pixel by sub-pixel, in less time than a forward pass of torch.

Every layer is computed once per pixel, and activations that later pixels need are kept. As a pixel depends on the rows
above only up to a few columns to its right, pixel (i, j) can be drawn at step j + 4 i: eight rows of a 32 x 32 image at
a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError, PysrError
from ..plugin import Progress
from .hardware import choose_device
from .native import OLDEST_GPU, is_native, kernels, on_device, require_kernels, stream_of
from .pixelcnn_checks import Numbers, Pixels, as_array, as_floats, checked_ids, fill_in, is_temperature, sizes_of
from .seeds import check_seed

LEVELS = 256  # values of a sub-pixel


@dataclass(frozen=True)
class KnownPixels:
    """Pixels that stay as given, while the others are drawn to fit them.

    Attributes:
        levels: uint8, in the shape of the images drawn (or broadcastable to it).
        mask: bool, True where a level is given; of the same shape, or without the axis of colours.
    """

    levels: Tensor
    mask: Tensor


@dataclass(frozen=True)
class NoiseSource:
    """The random numbers that each image is drawn with.

    Attributes:
        image_ids: Whole numbers from 0, one per image, which choose the noise of the seed; None for 0, 1, 2, ...
        values: (count, height * width * planes, 256) float32, used in place of Gumbel noise; None for noise by
            Philox4x32-10, whose key is the seed and whose counter is (block of levels, sub-pixel, image id).
    """

    image_ids: Any = None
    values: Tensor | Numbers | None = None


BY_SEED = NoiseSource()


class PixelCNNSampler:
    """Draws images from a gated PixelCNN, and computes the likelihood of given ones. Threads may share a sampler.

    In float32 a seed gives the same image for any number of images at a time, order, thread count and processor. A CUDA
    device may round differently: logits differ by less than 1e-4.

    Args:
        weights: float32 arrays or tensors by their names in the state dict of the plugin's prior, already masked:
            ``first``, ``layers.N.vertical``, ``.across``, ``.horizontal``, ``.out``, ``widen`` and ``answer``, each
            with ``.weight`` and ``.bias``; and optionally ``condition``, the last 1 x 1 layer of a conditioning
            network, whose logits are added. Sizes are read from the shapes.
        precision: "float32"; or "bfloat16" where the processor has instructions for it: twice as fast, and an exact
            sampler of the rounded network.
        threads: The largest number of threads to use; by default as many as torch uses.
        device: "cpu", or a CUDA device, on which images, features, noise and logits are tensors, and the precision is
            float32.

    Raises:
        InputError: Weights do not fit together or are not finite, or there are no native kernels for the device.
        PysrError: There are no native kernels at all.
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
        require_kernels("drawing images")
        self.device = _checked_device(device, precision)
        numbers = {name: as_floats(name, value) for name, value in weights.items()}
        self.planes, self.features, self.layers = sizes_of(numbers)
        self.threads = _checked_threads(threads)
        self.channels, self.hidden = len(numbers["first.weight"]), len(numbers["widen.weight"])
        sizes = {"planes": self.planes, "channels": self.channels, "layers": self.layers}
        sizes |= {"hidden": self.hidden, "features": self.features}
        index = self.device.index if self.device.type == "cuda" else -1
        with on_device(self.device):
            self._network = kernels.PixelCNN(numbers, **sizes, reduced=precision == "bfloat16", device=index)

    def sample(
        self,
        count: int,
        shape: tuple[int, int],
        *,
        features: Tensor | Numbers | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        known: KnownPixels | None = None,
        noise: NoiseSource = BY_SEED,
        progress: Progress | None = None,
    ) -> Pixels | Tensor:
        """Draw images.

        Args:
            count: Number of images.
            shape: (height, width) of each in pixels.
            features: Output of the conditioning network, (count or 1, height, width, F) float32.
            seed: 0 to 2^64 - 1.
            temperature: Divides the logits, 1e-6 to 1e6; 0 for greedy decoding.
            known: Pixels that stay as given; of shape (count, height, width, planes).
            noise: The noise that each image is drawn with.
            progress: Called as progress(done, total), in pixels, about every 50 ms; an exception that it raises stops
                the work and is propagated, as is Ctrl-C.

        Returns:
            (count, height, width, planes) uint8: an array, or a tensor on the sampler's CUDA device.

        Raises:
            InputError: Arguments do not fit the network or each other.
            PysrError: The logits overflow.
        """
        batch = self._batch(count, shape, features, known, noise)
        (images,) = self._draw([batch], seed, temperature, progress)
        return images

    def sample_each(
        self,
        count: int,
        shapes: Sequence[tuple[int, int]],
        *,
        features: Sequence[Tensor | Numbers] | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        known: Sequence[KnownPixels] | None = None,
        progress: Progress | None = None,
    ) -> list[Pixels | Tensor]:
        """Draw images of several shapes in one call, which keeps all threads and registers busy.

        Image i of every shape has the noise of image id i: each image is, to the bit, the one that `sample` draws of
        its shape and features alone.

        Args:
            count: Number of images of each shape.
            shapes: (height, width) of each in pixels.
            features: Of each shape, as in `sample`.
            seed: As in `sample`.
            temperature: As in `sample`.
            known: Of each shape, as in `sample`.
            progress: As in `sample`, over the pixels of all images.

        Returns:
            Of each shape, what `sample` returns.

        Raises:
            InputError: Arguments do not fit the network or each other.
            PysrError: The logits overflow.
        """
        for name, given in (("features", features), ("known", known)):
            if given is not None and len(given) != len(shapes):
                raise InputError(f"{name} are given for {len(given)} shapes of {len(shapes)}; give them for each")
        all_features = [None] * len(shapes) if features is None else features
        all_known = [None] * len(shapes) if known is None else known
        batches = [self._batch(count, *given, BY_SEED) for given in zip(shapes, all_features, all_known, strict=True)]
        return self._draw(batches, seed, temperature, progress)

    def logits(self, images: Any, features: Tensor | Numbers | None = None) -> Numbers | Tensor:
        """Compute the logits of every sub-pixel of given images, each from the sub-pixels before it.

        Args:
            images: (N, H, W, planes) uint8.
            features: Output of the conditioning network, (N or 1, H, W, F) float32.

        Returns:
            (N, H, W, planes, 256) float32: an array, or a tensor on the sampler's CUDA device.

        Raises:
            InputError: Arguments do not fit the network or each other.
        """
        checked = self._checked(images)
        shape = len(checked), checked[0].size, LEVELS
        on_cuda = self.device.type == "cuda"
        logits = torch.empty(shape, dtype=torch.float32, device=self.device) if on_cuda else np.empty(shape, np.float32)
        self._score(checked, features, logits=logits)
        return logits.reshape(*checked.shape, LEVELS)

    def log_likelihood(self, images: Any, features: Tensor | Numbers | None = None) -> NDArray[np.float64]:
        """Compute the log-likelihood of given images.

        Args:
            images: (N, H, W, planes) uint8.
            features: Output of the conditioning network, (N or 1, H, W, F) float32.

        Returns:
            (N,) float64, in nats.

        Raises:
            InputError: Arguments do not fit the network or each other.
            PysrError: The logits overflow.
        """
        checked = self._checked(images)
        rows = np.zeros(checked.shape[:2], np.float64)
        self._score(checked, features, log_likelihood=rows)
        nats: NDArray[np.float64] = rows.sum(1)
        if not np.isfinite(nats).all():
            raise PysrError("the network's logits became NaN or infinite; are these weights trained?")
        return nats

    def flops(self, shape: tuple[int, int]) -> int:
        """Count the multiplications and additions for one image of (height, width), with every value computed once.

        In float32 the CPU does a fifth fewer, as the vertical sums of two columns share their products.
        """
        channels, hidden = channel_groups(self.channels, self.planes), channel_groups(self.hidden, self.planes)
        levels = (LEVELS,) * self.planes
        # 24 taps of the first layer (3 rows of 7, and 3 to the left) see all planes, its centre the planes before
        first = 24 * self.planes * self.channels + sum(plane * share for plane, share in enumerate(channels))
        # 2 x 5 vertical to twice the channels; across; the left two of three horizontal; then its centre and out
        layer = (20 + 4 + 4) * self.channels**2 + 3 * _masked_products(channels, channels)
        head = _masked_products(channels, hidden) + _masked_products(hidden, levels) + self.features * sum(levels)
        height, width = shape
        return 2 * height * width * (first + self.layers * layer + head)

    def _batch(
        self,
        count: int,
        shape: tuple[int, int],
        features: Tensor | Numbers | None,
        known: KnownPixels | None,
        noise: NoiseSource,
    ) -> dict[str, Any]:
        """Images of one shape to be drawn, as arguments of the native `DrawnBatch`."""
        height, width = shape
        if min(count, height, width) < 1:
            raise InputError(f"{count} images of {height} x {width} pixels cannot be drawn; give 1 or more of each")
        try:
            images = np.zeros((count, height, width, self.planes), np.uint8)
        except ValueError as error:  # NumPy's for absurd sizes
            raise InputError(f"{count} images of {height} x {width} pixels cannot be drawn: {error}") from None
        kept = None if known is None else self._placed(fill_in(images, known.levels, known.mask).view(np.uint8))
        ids = np.arange(count, dtype=np.uint64) if noise.image_ids is None else checked_ids(noise.image_ids, count)
        values = None if noise.values is None else self._floats("noise", noise.values)
        placed = self._placed(images)
        return self._given(placed, features) | {"image_ids": ids, "kept": kept, "noise": values}

    def _given(self, images: Pixels | Tensor, features: Tensor | Numbers | None) -> dict[str, Any]:
        """Arguments of the native `DrawnBatch` for images on the sampler's device."""
        if (features is None) != (self.features == 0):
            known = f"{self.features} features a pixel" if self.features else "no conditioning network"
            raise InputError(f"features {'are missing' if features is None else 'are given'}: the weights have {known}")
        placed = None if features is None else self._floats("features", features)
        return {"images": images, "features": placed, "kept": None, "noise": None, "logits": None} | {
            "image_ids": np.zeros(len(images), np.uint64),
            "log_likelihood": None,
        }

    def _draw(
        self, batches: Sequence[dict[str, Any]], seed: int, temperature: float, progress: Progress | None
    ) -> list[Pixels | Tensor]:
        if not is_temperature(temperature):
            raise InputError(f"temperature is {temperature!r}; give 0, or from 1e-6 to 1e6")
        inverse = 1 / float(temperature) if temperature else 0.0
        self._run(batches, seed=check_seed(seed), inverse_temperature=inverse, all_kept=False, progress=progress)
        return [batch["images"] for batch in batches]

    def _run(self, batches: Sequence[dict[str, Any]], **options: Any) -> None:
        options |= {"threads": self.threads, "stream": stream_of(self.device)}

        def draw() -> None:
            with on_device(self.device):
                self._network.draw([kernels.DrawnBatch(**batch) for batch in batches], **options)

        try:
            with_memory_of_torch(draw, self.device)
        except OverflowError as error:
            raise PysrError(f"{error}; are these weights trained?") from None

    def _score(self, images: Pixels, features: Any, **out: Any) -> None:
        """Compute the logits or likelihoods of images, drawing nothing."""
        batch = self._given(self._placed(images), features) | out
        self._run([batch], seed=0, inverse_temperature=1.0, all_kept=True, progress=None)

    def _placed(self, array: NDArray[Any]) -> NDArray[Any] | Tensor:
        """The array on the sampler's device: itself, or a tensor."""
        return torch.tensor(array, device=self.device) if self.device.type == "cuda" else array

    def _floats(self, name: str, value: Any) -> Numbers | Tensor:
        """Contiguous finite float32 on the sampler's device."""
        if self.device.type != "cuda" or not (isinstance(value, Tensor) and value.is_floating_point()):
            return self._placed(as_floats(name, value))
        floats = value.detach().to(self.device, torch.float32).contiguous()
        if not floats.isfinite().all():
            raise InputError(f"{name} must hold finite floats; got {value.dtype} with NaN or infinity")
        return floats

    def _checked(self, images: Any) -> Pixels:
        array = as_array(images)
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != self.planes or not array.size:
            raise InputError(
                f"images are {array.dtype} of shape {array.shape}; give uint8 (N, height, width, {self.planes})"
            )
        return np.require(array, requirements=["C", "W"])


def native_device(device: torch.device) -> torch.device:
    """Return the device for the sampler of a network on ``device``: the same if it has native kernels, else the CPU."""
    return device if device.type == "cuda" and is_native(device) else torch.device("cpu")


def with_memory_of_torch(draw: Callable[[], None], device: torch.device) -> None:
    """Call ``draw``; if a GPU runs out of memory, release torch's cache there and call it once more."""
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
    if device.type == "cuda" and not kernels.cuda:
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
    return min(threads, 4 * (os.cpu_count() or 1))  # more would only wait for one another


def channel_groups(channels: int, planes: int) -> tuple[int, ...]:
    """Split a layer's channels among the planes: half to the first, which is the hardest to predict.

    Equal shares would be slower: whole groups of 16 keep vector registers full while an image is drawn.

    Args:
        channels: Channels of the layer, 4 or more.
        planes: 1 (gray) or 3 (RGB).

    Returns:
        Channels of each plane, in order; they add up to ``channels``.
    """
    return (channels,) if planes == 1 else (channels - 2 * (channels // 4), channels // 4, channels // 4)


def _masked_products(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
    """Products of a 1 x 1 layer in which a plane's outputs see the inputs of the planes up to it."""
    return sum(sum(inputs[: plane + 1]) * share for plane, share in enumerate(outputs))
