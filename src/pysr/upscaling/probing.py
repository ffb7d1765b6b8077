"""What pysr must know of a network that comes without a description: how far it sees, its memory and its precision."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ..cache import cached_facts
from ..ops.hardware import choose_device, choose_precision
from .plan import round_up
from .runner import PreparedNetwork

REVISION = 1  # of the measurement: raised when its results change
REACHES = (96, 32)  # pixels of input: how far is looked, or less far if that is too slow; larger halos would not pay
BUDGET = 1.5e12  # floating-point operations of a look; networks beyond it have their patches blended
_HEIGHT = 40  # pixels of the strips that are looked at: what lies farther to the side hardly counts
EXACT = 2e-5  # difference that counts as none: float32 rounds by about that in a deep network
INVISIBLE = 1 / 1020  # a quarter of a level of 8 bits
_SLOW = 5e6  # floating-point operations per pixel from which the look takes seconds
_SMALL = 24  # pixels a side of the image for memory and precision
_CORE = 8  # pixels beyond the reach on which the difference must have ended
_MARGIN = 1.25  # on what is found: it was measured on one image
_SLACK = 1.5  # on the memory in use at once: workspace of convolutions, fragmentation

logger = logging.getLogger("pysr")


@dataclass(frozen=True)
class Probe:
    """What was measured on a network; the names are those of `pysr.plugin.Model`."""

    receptive_field: int | None
    bytes_per_pixel: float
    needs_float32: bool


@dataclass(frozen=True)
class _Shape:
    """What a network takes and gives; the names are those of `probe`."""

    channels: int
    scale: int
    multiple_of: int
    minimum_size: int

    def image(self, height: int, width: int) -> Tensor:
        """An image of at least that size with detail of all sizes, as photographs have, (1, C, h, w) in [0, 1]."""
        height, width = self.side(height), self.side(width)
        generator = torch.Generator().manual_seed(0)
        image = torch.zeros(1, self.channels, height, width)
        for block, share in ((1, 0.05), (2, 0.19), (4, 0.19), (8, 0.19), (16, 0.19), (32, 0.19)):
            random = torch.rand(1, self.channels, height // block + 1, width // block + 1, generator=generator)
            image += share * random.repeat_interleave(block, -2).repeat_interleave(block, -1)[..., :height, :width]
        return image

    def side(self, pixels: int) -> int:
        return round_up(max(pixels, self.minimum_size), self.multiple_of)


def probe(
    network: nn.Module,
    *,
    channels: int,
    scale: int,
    multiple_of: int = 1,
    minimum_size: int = 1,
    flops_per_pixel: float | None = None,
    bounded: bool = True,
    key: str = "",
) -> Probe:
    """Measure a network that comes without a description.

    The receptive field is how far from its edge a patch of an image differs from the same part of the whole image: by
    2e-5, or if there is no end to such differences, by a quarter of a level of 8 bits; a quarter is added, because it
    is measured on one image. It is None if there is no end to those either, within 96 pixels or within 1.5 * 10^12
    floating-point operations.

    Args:
        network: Maps (1, channels, h, w) float32 in [0, 1] to (1, channels, h * scale, w * scale), in evaluation mode
            and on the CPU. It is not changed.
        channels: Channels of its input and output.
        scale: Output pixels per input pixel and side.
        multiple_of: The sides of its input must be multiples of this.
        minimum_size: The sides of its input must be at least this.
        flops_per_pixel: Floating-point operations per pixel of input of a network that torch does not compute; memory
            and precision are then not measured.
        bounded: False if it is known to see the whole image: no end is looked for.
        key: Identifies network and method, for the user's cache: letters, digits and "-._", such as the file's digest
            and the versions of what builds the network. Empty: nothing is kept.

    Returns:
        The receptive field, the working memory per pixel, and whether bfloat16 costs more than a quarter of a level of
        8 bits (root mean square) or fails.
    """
    shape = _Shape(channels, scale, multiple_of, minimum_size)

    def measure() -> dict[str, Any]:
        with torch.inference_mode(), torch.device("cpu"):
            flops = _flops_per_pixel(network, shape) if flops_per_pixel is None else flops_per_pixel
            if bounded and key and flops > _SLOW:
                logger.info("measuring how far the network sees, which takes a while, but only once for each file")
            seen = _receptive_field(network, shape, flops) if bounded else None
            if flops_per_pixel is not None:
                return asdict(Probe(seen, 0, needs_float32=True))
            return asdict(Probe(seen, _bytes_per_pixel(network, shape), _needs_float32(network, shape)))

    return Probe(**(cached_facts(f"{key}-probe{REVISION}", measure) if key else measure()))


def _receptive_field(network: nn.Module, shape: _Shape, flops_per_pixel: float) -> int | None:
    """Look as far as the budget allows, along both axes."""
    for reach in REACHES:
        part, beyond = shape.side(reach + _CORE), shape.side(max(reach // 2, _CORE))
        height = shape.side(_HEIGHT)
        work = 2 * height * (3 * part + beyond) * flops_per_pixel
        if work > BUDGET:
            logger.debug("a look %d pixels far takes %.2g operations: too many", reach, work)
            continue
        across = _differences(network, shape.image(height, part + beyond), part)
        down = _differences(lambda image: network(image.mT.contiguous()).mT, shape.image(height, part + beyond), part)
        differences = torch.maximum(across, down)
        for tolerance in (EXACT, INVISIBLE):
            seen = int(((differences > tolerance).nonzero() + 1).max()) if (differences > tolerance).any() else 0
            if seen <= reach:
                return math.ceil(seen * _MARGIN)
        return None
    return None


def _differences(network: Callable[[Tensor], Tensor], image: Tensor, width: int) -> Tensor:
    """Compare both ends of an image, by themselves, with the same parts of the whole.

    Returns:
        (width,): the largest difference in the columns at each distance from the cut, nearest first.
    """
    output = network(image)
    scale = output.shape[-1] // image.shape[-1]
    size = output.abs().max().clamp_min(1)
    left = (network(image[..., :width].contiguous()) - output[..., : width * scale]).abs().flip(-1)
    right = (network(image[..., -width:].contiguous()) - output[..., -width * scale :]).abs()
    columns = torch.maximum(left, right).nan_to_num(math.inf).amax((0, 1, 2)) / size
    return columns.reshape(width, scale).amax(1)


def _flops_per_pixel(network: nn.Module, shape: _Shape) -> float:
    image = shape.image(_CORE, _CORE)
    with FlopCounterMode(display=False) as counter:
        network(image)
    return float(counter.get_total_flops()) / image[0, 0].numel()


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that live at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._live = 0
        self._users: dict[int, int] = {}  # of each storage

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._change(storage.data_ptr(), storage.nbytes(), 1)
                weakref.finalize(tensor, self._change, storage.data_ptr(), storage.nbytes(), -1)
        return result

    def _change(self, storage: int, size: int, by: int) -> None:
        before = self._users.get(storage, 0)
        after = self._users[storage] = before + by
        if (before > 0) != (after > 0):
            self._live += size if after else -size
            self.peak = max(self.peak, self._live)


def _bytes_per_pixel(network: nn.Module, shape: _Shape) -> float:
    image = shape.image(_SMALL, _SMALL)
    with _LiveBytes() as live:
        network(image)
    return float(_SLACK * live.peak) / image[0, 0].numel()


def _needs_float32(network: nn.Module, shape: _Shape) -> bool:
    device = choose_device("auto")
    if choose_precision("auto", device) == torch.float32:
        return True  # the hardware would not gain from less, nor could it tell
    image = shape.image(_SMALL, _SMALL)
    try:
        reduced = PreparedNetwork(network, device, torch.bfloat16, tuple(image.shape[1:]))  # type: ignore[arg-type]
        difference = (reduced(image).cpu() - network(image)).double()
    except Exception as error:  # code of the network that knows float32 alone
        logger.debug("the network does not compute in bfloat16: %s", error)
        return True
    return not float(difference.square().mean().sqrt()) <= INVISIBLE
