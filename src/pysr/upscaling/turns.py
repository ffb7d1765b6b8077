"""Turns of threads at a network, and small images of several threads through it in one call, which costs less."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

AT_ONCE = 4  # small images of one network call; twice as many gain little more
SMALL = 32 * 32  # pixels; larger images keep a processor as busy one by one

Compute = Callable[[Tensor], Tensor]  # (N, C, h, w) to (N, C, h * scale, w * scale)

_log = logging.getLogger("pysr")


@dataclass(eq=False)
class _Request:
    """Windows that a thread wants to have computed, and what became of them; another thread may do it."""

    windows: Tensor
    output: Tensor | None = None


class Turn:
    """Lets one thread at a time compute a stage. Small images that wait meanwhile may be computed with its own.

    That never changes a bit: when a shape first comes together, noise of that shape is computed together and one by
    one, and where a bit differs, or a call fails, images of that shape are computed one by one from then on. (Images
    would prove less: of plain ones, or of those with the same maximum, a network may make the same either way.)

    Args:
        lock: Held while a network computes; the turns of other stages may share it.
        most: Pixels that one network call has the memory for.

    Attributes:
        lock: As given.
    """

    def __init__(self, lock: threading.Lock, most: float) -> None:
        self.lock, self._most = lock, most
        self._waiting: list[_Request] = []
        self._is_exact: dict[torch.Size, bool] = {}

    def __call__(self, compute: Compute, windows: Tensor) -> Tensor:
        """Compute windows, (N, C, h, w), when it is their turn. Raises whatever ``compute`` raises of them alone."""
        own = _Request(windows)
        is_small = len(windows) == 1 and windows[0, 0].numel() <= min(SMALL, self._most / AT_ONCE)
        try:
            if is_small:
                self._waiting.append(own)
            with self.lock:
                group = self._group(own) if is_small and own.output is None else []
                if len(group) == AT_ONCE:
                    self._compute_together(compute, group)
                return compute(windows) if own.output is None else own.output
        finally:
            if own in self._waiting:
                self._waiting.remove(own)

    def _group(self, own: _Request) -> list[_Request]:
        """The thread's own windows and others of their shape, as many as one call takes."""
        shape = own.windows.shape
        if not self._is_exact.get(shape, True):
            return []
        others = (o for o in list(self._waiting) if o is not own and o.output is None and o.windows.shape == shape)
        return [own, *others][:AT_ONCE]

    def _compute_together(self, compute: Compute, group: list[_Request]) -> None:
        """Fill in the outputs, unless the call fails, or a network computes several images in another way than one."""
        windows = [request.windows for request in group]
        shape = windows[0].shape
        try:
            if shape not in self._is_exact:
                self._is_exact[shape] = _gives_same_bits(compute, windows[0])
            if not self._is_exact[shape]:
                return
            outputs = compute(torch.cat(windows)).split(1)
        except Exception as error:  # each thread meets its own again, alone
            _log.debug("images of %d x %d pixels are computed one by one (%s)", shape[3], shape[2], error)
            self._is_exact[shape] = False
            return
        for request, output in zip(group, outputs, strict=True):
            request.output = output


def _gives_same_bits(compute: Compute, like: Tensor) -> bool:
    """Whether images of a shape come out the same together as alone: noise, each image of it darker than the last."""
    shape = (AT_ONCE, *like.shape[1:])
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
    noise *= torch.linspace(1, 0.1, AT_ONCE, device="cpu").reshape(-1, 1, 1, 1)
    noise = noise.to(like.device)
    together = compute(noise.clone())
    return all(
        torch.equal(output, compute(image)) for output, image in zip(together.split(1), noise.split(1), strict=True)
    )
