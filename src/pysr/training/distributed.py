"""This process among those that torchrun started to train one network together; mostly it is alone."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from ..errors import InputError
from ..ops.hardware import choose_device
from .data import Share

PATIENCE = timedelta(days=7)  # the others wait while the first validates, however long that takes

T = TypeVar("T")


class Processes:
    """Where this process computes, and what it exchanges with the others; alone it exchanges nothing.

    device: as in `pysr.load`; of several processes each takes a GPU of its own for "auto" and "cuda".
    """

    def __init__(self, device: str) -> None:
        self.rank, self.count = 0, int(os.environ.get("WORLD_SIZE", "1"))
        self.device = choose_device(device) if self.count == 1 else self._join(device)

    @property
    def first(self) -> bool:
        """Whether it is this process that validates and writes."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """Which part of every batch is this process's."""
        return self.rank, self.count

    def _join(self, device: str) -> torch.device:
        import torch.distributed.nn  # imported once there is a group, its defaults hold it for ever
        from accelerate.state import PartialState

        if ":" in device:
            raise InputError(
                f"device {device!r} is a single one, and there are {self.count} processes; "
                "give 'cuda' or 'auto', and each takes a GPU of its own, or 'cpu'"
            )
        if device != "auto":
            choose_device("cpu" if device == "cpu" else device)
        cpu = device == "cpu" or not torch.cuda.is_available()
        self._state = PartialState(cpu=cpu, timeout=PATIENCE)
        if distributed.get_backend() == "gloo":
            atexit.register(_leave)
        self.rank = self._state.process_index
        return self._state.device  # type: ignore[no-any-return]

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            self._state.wait_for_everyone()

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes give."""
        if self.count == 1:
            return number
        told = torch.tensor([number], device=self.device)
        distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return int(told)

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all of them; only it calls ``make``."""
        if self.count == 1:
            return make()
        made = [make() if self.first else None]
        distributed.broadcast_object_list(made)
        return made[0]  # type: ignore[return-value]

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Make every tensor, in place, its mean over the processes."""

        def mean(flat: Tensor) -> None:
            distributed.all_reduce(flat)
            flat /= self.count

        self._exchange(tensors, mean)

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Make every tensor, in place, that of the first process."""
        self._exchange(tensors, lambda flat: distributed.broadcast(flat.view(torch.uint8), 0))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make every gradient its mean over the processes; a process without one counts as zero.

        Where no process has a gradient, it stays None, as with one process.
        """
        if self.count == 1:
            return
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        given = torch.tensor([float(parameter.grad is not None) for parameter in parameters], device=self.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        self.average([*gradients, given])
        for parameter, gradient, anywhere in zip(parameters, gradients, given.tolist(), strict=True):
            parameter.grad = gradient if anywhere else None

    @torch.no_grad()
    def _exchange(self, tensors: Iterable[Tensor], exchange: Callable[[Tensor], object]) -> None:
        """One exchange for all tensors of a dtype, as one flat tensor."""
        if self.count == 1:
            return
        by_dtype = sorted(tensors, key=lambda tensor: str(tensor.dtype))
        for _, group in groupby(by_dtype, key=lambda tensor: tensor.dtype):
            _exchange_flat(list(group), exchange)


def _leave() -> None:
    """Gloo's threads, which end with the group, may abort the program where they still run at its very end."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _exchange_flat(tensors: Sequence[Tensor], exchange: Callable[[Tensor], object]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    exchange(flat)
    first = 0
    for tensor in tensors:
        tensor.copy_(flat[first : first + tensor.numel()].view(tensor.shape))
        first += tensor.numel()
