"""Device and precision: choose them, find an array's device, and set the context in which a network computes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from ..errors import InputError
from .host import SharedSetting

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.int8}


def device_of(array: object) -> torch.device:
    """Return the device of a tensor; the CPU for anything else, such as a NumPy array."""
    return array.device if isinstance(array, torch.Tensor) else torch.device("cpu")


def choose_device(device: str | torch.device) -> torch.device:
    """Resolve and check a device.

    Args:
        device: "auto" (the accelerator if there is a working one, else the CPU), or a name that torch knows.

    Returns:
        The device, with an index where there can be several, so that the calling thread's current device is irrelevant.

    Raises:
        InputError: Nothing can be computed on it here.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = found or "cpu"
    try:
        chosen = torch.empty(0, device=device or "none").device
        if chosen.type == "meta":
            raise NotImplementedError("it does not compute anything")
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {str(device)!r} cannot be used here ({reason}); use 'auto' or 'cpu'") from None
    return chosen


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Resolve and check a precision.

    Args:
        precision: "auto" (bfloat16 where the hardware multiplies it natively, else float32), "float32", "bfloat16",
            "float16" (GPUs only) or "int8" (CPUs only).
        device: Where it is to be used.

    Raises:
        InputError: It is unknown, or not available on the device.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bfloat16(device) else torch.float32
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; use 'auto', {', '.join(map(repr, PRECISIONS))}")
    if precision == "float16" and device.type == "cpu":
        raise InputError("precision 'float16' is for GPUs; on a CPU use 'auto', 'float32' or 'bfloat16'")
    if precision == "int8" and device.type != "cpu":
        raise InputError(f"precision 'int8' is for CPUs; on {device.type} use 'auto', 'bfloat16' or 'float16'")
    return PRECISIONS[precision]


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere, the first with bfloat16 tensor cores
    return device.type == "cpu" and any(_cpu_has(feature) for feature in ("avx512_bf16", "amx_tile"))


def _cpu_has(feature: str) -> bool:
    supported = getattr(torch.cpu, f"_is_{feature}_supported", None)  # public only since torch 2.13
    return bool(supported and supported())


def precision_context(
    device: torch.device, dtype: torch.dtype, *, cached: bool = True
) -> AbstractContextManager[object]:
    """Return the context in which a network computes in a precision; for float32, without autocast and TF32 rounding.

    Args:
        device: Where the network computes.
        dtype: torch.float32, torch.bfloat16 or torch.float16.
        cached: Whether autocast may round weights once and keep them; must be False if they change inside the context.
    """
    if dtype != torch.float32:
        return torch.autocast(device.type, dtype=dtype, cache_enabled=cached)
    return _float32_on_cuda() if device.type == "cuda" else torch.autocast(device.type, enabled=False)


_conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
_tf32_off = SharedSetting(  # for convolutions
    lambda: _conv.fp32_precision, lambda value: setattr(_conv, "fp32_precision", value), "ieee"
)


@contextmanager
def _float32_on_cuda() -> Iterator[None]:
    with torch.autocast("cuda", enabled=False), _tf32_off.hold():
        yield
