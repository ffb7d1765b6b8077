"""Where networks compute and in which precision: the device, the dtype, and the context that both ask for."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from ..errors import InputError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str | torch.device) -> torch.device:
    """For "auto" the accelerator that works here or else the CPU; otherwise what torch calls by that name.

    The result has an index where there can be several: work goes there, whatever the calling thread's device is.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = found or "cpu"
    try:
        chosen = torch.empty(0, device=device or "none").device
        if chosen.type == "meta":
            raise NotImplementedError("it computes nothing")
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {str(device)!r} cannot be used here ({reason}); use 'auto' or 'cpu'") from None
    return chosen


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """For "auto" bfloat16 where the hardware multiplies it natively, else float32."""
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bfloat16(device) else torch.float32
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; use 'auto', {', '.join(map(repr, PRECISIONS))}")
    if precision == "float16" and device.type == "cpu":
        raise InputError("precision 'float16' is for GPUs; on a CPU use 'auto', 'float32' or 'bfloat16'")
    return PRECISIONS[precision]


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and any(_cpu_has(feature) for feature in ("avx512_bf16", "amx_tile"))


def _cpu_has(feature: str) -> bool:
    supported = getattr(torch.cpu, f"_is_{feature}_supported", None)  # torch has no public name for it before 2.13
    return bool(supported and supported())


def precision_context(
    device: torch.device, dtype: torch.dtype, *, cached: bool = True
) -> AbstractContextManager[object]:
    """The context in which a network computes in that precision, and in float32 without TF32's rounding.

    cached: whether weights are rounded once and kept, which must not be where they change inside the context.
    """
    if dtype != torch.float32:
        return torch.autocast(device.type, dtype=dtype, cache_enabled=cached)
    return _UNROUNDED_CONVOLUTIONS.hold() if device.type == "cuda" else nullcontext()


class _Setting:
    """torch's process-wide choice of TF32 for convolutions: off while anybody holds it, then what it was before."""

    def __init__(self) -> None:
        self._lock, self._holders, self._before = threading.Lock(), 0, ""
        self._conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]

    @contextmanager
    def hold(self) -> Iterator[None]:
        with self._lock:
            if not self._holders:
                self._before = self._conv.fp32_precision
                self._conv.fp32_precision = "ieee"
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._conv.fp32_precision = self._before


_UNROUNDED_CONVOLUTIONS = _Setting()
