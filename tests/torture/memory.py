"""Memory runs out at every patch, once and twice: the result is that of the undisturbed run."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from pysr import Tiling, load
from pysr.errors import OutOfMemoryError
from pysr.plugin import Model, hookimpl
from pysr.registry import Source, core, override

from .experiment import Outcome

MESSAGES = (
    "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9",
    "CUDA out of memory. Tried to allocate 20.00 MiB",
)
_GEOMETRIES = ((40, 60), (97, 31), (64, 64), (13, 150))
_failing: set[int] = set()  # numbers of the calls that fail
_calls = 0


class _Blur(nn.Module):
    """A network with a receptive field, which runs out of memory in some of its calls."""

    def forward(self, low: Tensor) -> Tensor:
        global _calls  # noqa: PLW0603 (the module is copied, and this must not be)
        _calls += 1
        if _calls in _failing or -1 in _failing:
            raise torch.OutOfMemoryError(MESSAGES[1]) if _calls % 2 else RuntimeError(MESSAGES[0])
        blurred = nn.functional.avg_pool2d(low, 5, 1, 2, count_include_pad=False)
        return blurred.repeat_interleave(2, -1).repeat_interleave(2, -2)


def _module() -> ModuleType:
    module = ModuleType("torture_memory")
    model = Model("blur", (2,), lambda scale, variant: _Blur(), "", receptive_field=2)
    vars(module)["pysr_models"] = hookimpl(lambda: [model])
    return module


def run(count: int, folder: Path) -> Outcome:
    """Let each call fail, and pairs of calls, for the first ``count`` geometries, in every mode."""
    global _calls  # noqa: PLW0603
    outcome, generator = Outcome(), np.random.default_rng(0)
    with override([core(), Source("torture", "torture", "1", _module)]):
        for height, width in _GEOMETRIES[:count]:
            image = generator.random((height, width, 3), np.float32)
            for mode in ("exact", "blend", "mean"):
                _failing.clear()
                tiling = Tiling(mode=mode, patch=32) if mode != "exact" else Tiling(patch=32)  # type: ignore[arg-type]
                upscaler = load("blur", device="cpu", precision="float32", tiling=tiling)
                _calls = 0
                wanted, calls = upscaler.upscale(image), _calls
                pairs = [{k} for k in range(1, calls + 1)] + [{k, k + 2} for k in range(1, calls + 1, 3)]
                for failing in pairs:
                    _failing.clear()
                    _failing.update(failing)
                    _calls = 0
                    outcome.check(f"{height} x {width} {mode} {failing}", _compare(upscaler, image, wanted))
                _failing.clear()
                _failing.add(-1)
                try:
                    upscaler.upscale(image)
                    outcome.check(f"{height} x {width} {mode} always", "there was no error")
                except OutOfMemoryError:
                    outcome.check(f"{height} x {width} {mode} always", None)
                _failing.clear()
    return outcome


def _compare(upscaler: object, image: object, wanted: object) -> str | None:
    try:
        result = upscaler.upscale(image)  # type: ignore[attr-defined]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    difference = float(np.abs(result - wanted).max())
    return f"differs by {difference:.3g}" if difference > 1e-6 else None
