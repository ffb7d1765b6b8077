"""The native extension: whether it is available, and the devices on which its kernels run."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from ..errors import PysrError

__all__ = ["OLDEST_GPU", "devices", "is_native", "kernels", "on_device", "require_kernels", "stream_of"]

_log = logging.getLogger("pysr")

_missing: str | None = None  # why the extension cannot be imported
if TYPE_CHECKING:
    from .. import _kernels as kernels
else:
    try:
        from .. import _kernels as kernels
    except ImportError as error:
        _log.debug("the native kernels are missing, plain PyTorch is used instead: %s", error)
        kernels, _missing = None, str(error)
devices: tuple[str, ...] = () if _missing is not None else ("cpu", "cuda") if kernels.cuda else ("cpu",)

OLDEST_GPU = (8, 0)  # compute capability; CMakeLists.txt compiles for no older one


def require_kernels(work: str) -> None:
    """Raise PysrError, naming the work that needs them, if the native kernels are not available."""
    if _missing is not None:
        raise PysrError(f"{work} needs the native kernels, which are not available here ({_missing}); reinstall pysr")


def is_native(device: torch.device) -> bool:
    """Whether the native kernels run on a device: on CPUs, and on the CUDA GPUs that they are compiled for."""
    if device.type not in devices:
        return False
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= OLDEST_GPU


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that makes a CUDA device the current one, as DLPack and kernel launches expect."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def stream_of(device: torch.device) -> int:
    """Return the handle of torch's current CUDA stream on a device; 0 if it is not a CUDA device."""
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
