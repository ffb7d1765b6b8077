"""Memory: the budget of a network call, the patch that fits it, and how to recognise that memory ran out."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from torch import Tensor

from ..errors import OutOfMemoryError, format_error

CPU_SHARE = 0.25  # of the free memory: other programs run beside it, and the estimate may be too low
CPU_LIMIT = 2 * 2**30  # bytes; larger patches are hardly faster
ALWAYS_THERE = 2**25  # bytes, on a CPU: looking up what is free takes longer than a small image has to spare
GPU_SHARE = 0.6  # of the free memory: the rest is for workspace of cuDNN and for fragmentation
_CONTROL_GROUPS = {  # of version 2 and of version 1, by folder: files with the limit and with what is in use,
    "": ("memory.max", "memory.current", "inactive_file"),  # and key of what is only cached
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}

_OUT_OF_MEMORY = re.compile(  # torch on CPUs, oneDNN, posix_memalign, NumPy; CUDA, its libraries and ROCm
    r"DefaultCPUAllocator: (can't allocate|not enough) memory|could not create a (primitive|memory)"
    r"|could not allocate memory|unable to allocate|failed to allocate memory|posix_memalign|bad_alloc"
    r"|(CUDA|HIP)( driver)? error: out of memory|(CUDA|HIP) out of memory|_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)


def budget(device: torch.device, max_memory: int | None, enough: float = math.inf) -> int:
    """Return the bytes that one network call may use: ``max_memory``, or a share of what is free on the device.

    Args:
        device: Where the network computes.
        max_memory: What the user allows.
        enough: More bytes than this are of no use.
    """
    if max_memory is not None:
        return max_memory
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for reuse
        return int((torch.cuda.mem_get_info(device)[0] + cached) * GPU_SHARE)
    if enough <= ALWAYS_THERE:
        return ALWAYS_THERE
    return min(int(free_memory() * CPU_SHARE), CPU_LIMIT)


def free_memory(groups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes that this process may still allocate, within the limits of the computer and of its container.

    Args:
        groups: Where Linux shows the limits of control groups, in version 1 or 2.
        membership: Where it tells the groups of this process.
    """
    free = psutil.virtual_memory().available
    for folder, (limit, used, cache) in _groups_of_process(groups, membership):
        try:
            listed = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            taken = int((folder / used).read_text()) - int(listed[cache])  # cached files make room
            free = min(free, max(0, int((folder / limit).read_text()) - taken))
        except (OSError, ValueError, KeyError):  # no such version, or no limit ("max")
            continue
    return free


def _groups_of_process(groups: Path, membership: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Yield the folders of this process's groups and of those around them, each with the names of its files."""
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:  # not Linux
        lines = []
    paths = dict.fromkeys(_CONTROL_GROUPS, "/")
    paths |= {controller: path for _, controllers, path in lines for controller in controllers.split(",")}
    for version, files in _CONTROL_GROUPS.items():
        inner = Path(paths[version].lstrip("/"))
        for group in (inner, *inner.parents):
            yield groups / version / group, files


def fit_patch(
    shape: tuple[int, int], *, area: float, halo: int, multiple_of: int, tallest: float = math.inf
) -> tuple[int, int]:
    """Choose the patch that covers an image with the least work.

    A patch loses a halo on each interior side, so few large patches waste the least.

    Args:
        shape: (height, width) of the image in pixels.
        area: The largest number of pixels in a patch.
        halo: Pixels that a patch loses on each interior side.
        multiple_of: Sides of patches are multiples of this.
        tallest: The largest height of a patch.

    Returns:
        (height, width) in pixels; the smallest patch that can work if none is as small as ``area``, and the lowest if
        none is as low as ``tallest``.
    """
    height, width = shape
    smallest = smallest_patch(halo, multiple_of)
    whole_height, whole_width = _side(height, 1, halo, multiple_of), _side(width, 1, halo, multiple_of)
    lowest, narrowest = best = min(smallest, whole_height), min(smallest, whole_width)
    least: tuple[float, int, int] = (math.inf, 0, 0)
    for rows in _counts(height, halo, multiple_of):
        tall = max(_side(height, rows, halo, multiple_of), lowest)
        widest = min(int(area // tall) // multiple_of * multiple_of, whole_width)
        if widest < narrowest or lowest < tall > tallest:
            continue
        stride = (widest - 2 * halo) // multiple_of * multiple_of
        columns = 1 if widest == whole_width else math.ceil((width - 2 * halo) / stride)
        wide = min(max(_side(width, columns, halo, multiple_of), narrowest), widest)
        work = rows * tall * columns * wide, rows * columns, max(tall, wide)
        if work < least:  # of equal work, the fewest; of equal number, the squarest
            least, best = work, (tall, wide)
    return best


def _counts(length: int, halo: int, multiple_of: int) -> Iterator[int]:
    """Yield the numbers of patches along an axis that make them shorter than fewer patches do: some square root."""
    count = 1
    while count <= math.ceil(length / multiple_of):
        yield count
        shorter = _side(length, count, halo, multiple_of) - multiple_of - 2 * halo
        if shorter < 1:
            return
        count = max(count + 1, math.ceil((length - 2 * halo) / shorter))


def smallest_patch(halo: int, multiple_of: int) -> int:
    """Return the smallest side worth computing: over four halos, so that half of it (a quarter of the area) is kept."""
    return math.ceil((4 * halo + multiple_of) / multiple_of) * multiple_of


def _side(length: int, count: int, halo: int, multiple_of: int) -> int:
    """Side of each of ``count`` equal patches that cover ``length`` and share 2 * halo with their neighbours."""
    side = math.ceil((length + (count - 1) * 2 * halo) / count)
    return math.ceil(side / multiple_of) * multiple_of


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed; errors that merely mention memory or CUDA do not count."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if not isinstance(error, RuntimeError) or isinstance(error, NotImplementedError):
        return False
    return bool(_OUT_OF_MEMORY.search(str(error)))


@contextmanager
def memory_errors_named(
    what: str = "an image was upscaled", remedy: str = "choose a smaller scale, or upscale parts of the image"
) -> Iterator[None]:
    """Turn every error that means that an allocation failed into an `OutOfMemoryError`.

    Args:
        what: What is done in the ``with`` block.
        remedy: What to do if closing other programs does not help.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"memory ran out while {what} ({format_error(error)}); close other programs, {remedy}"
        ) from error


def empty_image(channels: int, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Allocate (channels, *shape) float32, for what one stage of a chain passes to the next.

    Raises:
        OutOfMemoryError: There is no room for it.
    """
    try:
        return torch.empty(channels, *shape, dtype=torch.float32, device=device)
    except RuntimeError as error:
        raise OutOfMemoryError(
            f"the intermediate image of the chain, {shape[1]} x {shape[0]} pixels, does not fit into memory; choose a "
            "smaller scale, or upscale parts of the image"
        ) from error
