"""Where the native kernels work: on CPUs, and on CUDA GPUs that they are compiled for."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from ..errors import PysrError

_log = logging.getLogger("pysr")

kernels: Any = None
try:
    from .. import _kernels as kernels
except ImportError as error:
    _log.debug("the native kernels are missing, plain PyTorch does their work: %s", error)
    _missing = str(error)
devices: tuple[str, ...] = () if kernels is None else ("cpu", "cuda") if kernels.cuda else ("cpu",)

OLDEST_GPU = (8, 0)  # compute capability; CMakeLists.txt compiles for no older ones


def needed_kernels(work: str) -> Any:
    """The module of the kernels; PysrError where there is none, saying what work needs it."""
    if kernels is None:
        raise PysrError(f"{work} needs the native kernels, and they cannot be used here: {_missing}")
    return kernels


def is_native(device: torch.device) -> bool:
    """Whether the native kernels work there."""
    if device.type not in devices:
        return False
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= OLDEST_GPU


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Makes a CUDA device the current one, where DLPack and a launch expect it."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def stream_of(device: torch.device) -> int:
    """The CUDA stream that torch uses there at present; 0 on other devices."""
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
