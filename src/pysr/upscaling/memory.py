"""How large a patch may be: the memory model, and telling a real out-of-memory error from others."""

import math
from pathlib import Path

import psutil
import torch

CPU_SHARE, CPU_LIMIT = 0.25, 2 * 2**30  # of the free memory, and at most: larger patches are hardly faster
GPU_SHARE = 0.6
_GROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def budget(device: torch.device, max_memory: int | None) -> int:
    """Bytes that one network call may use: ``max_memory``, or a share of what is free on the device."""
    if max_memory is not None:
        return max_memory
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for reuse
        return int((torch.cuda.mem_get_info(device)[0] + kept) * GPU_SHARE)
    return min(int(free_memory() * CPU_SHARE), CPU_LIMIT)


def free_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still take: of the computer, or of the container that it is in.

    groups: where Linux shows the container's limits, by either version of its control groups.
    """
    free = psutil.virtual_memory().available
    for limit, used, cache in _GROUPS:
        try:
            place = (groups / limit).parent
            listed = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
            taken = int((groups / used).read_text()) - int(listed[cache])  # files kept in memory make room
            free = min(free, max(0, int((groups / limit).read_text()) - taken))
        except (OSError, ValueError, KeyError):  # no such version, or no limit ("max")
            continue
    return free


def fit_patch(height: int, width: int, *, area: float, halo: int, multiple_of: int) -> tuple[int, int]:
    """The patch (height, width), at most ``area`` pixels, that covers an image with the least work.

    All sizes in pixels of the image, sides in multiples of ``multiple_of``. A patch gives all but a halo on each
    interior side, so few large patches waste least. Where nothing that small can work, the smallest that does.
    """
    smallest = smallest_patch(halo, multiple_of)
    whole_height, whole_width = _side(height, 1, halo, multiple_of), _side(width, 1, halo, multiple_of)
    lowest, narrowest = best = min(smallest, whole_height), min(smallest, whole_width)
    least: tuple[float, int, int] = (math.inf, 0, 0)
    for rows in range(1, whole_height // multiple_of + 1):
        tall = max(_side(height, rows, halo, multiple_of), lowest)
        widest = min(int(area // tall) // multiple_of * multiple_of, whole_width)
        if widest < narrowest:
            continue
        stride = (widest - 2 * halo) // multiple_of * multiple_of
        columns = 1 if widest == whole_width else math.ceil((width - 2 * halo) / stride)
        wide = min(max(_side(width, columns, halo, multiple_of), narrowest), widest)
        work = rows * tall * columns * wide, rows * columns, max(tall, wide)
        if work < least:  # of equal work, the fewest; of equal number, the squarest
            least, best = work, (tall, wide)
    return best


def smallest_patch(halo: int, multiple_of: int) -> int:
    """The smallest side worth computing: four halos and something between, so that a quarter of the work is kept."""
    return math.ceil((4 * halo + multiple_of) / multiple_of) * multiple_of


def _side(length: int, count: int, halo: int, multiple_of: int) -> int:
    """Side of each of ``count`` equal patches that cover ``length`` and share 2 * halo with their neighbours."""
    side = math.ceil((length + (count - 1) * 2 * halo) / count)
    return math.ceil(side / multiple_of) * multiple_of


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; other errors that only mention memory or CUDA are not taken for one."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return type(error) is RuntimeError and "DefaultCPUAllocator: can't allocate memory" in str(error)
