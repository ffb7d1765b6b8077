"""Distributed helpers: rank, world size, collectives. No-ops for a single process."""

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
from .data import Shard

TIMEOUT = timedelta(days=7)  # all other processes wait while the main one validates, however long that takes

T = TypeVar("T")


class Distributed:
    """This process among those that torchrun started to train one network together; usually the only one.

    Attributes:
        rank: Number of this process, from 0.
        world_size: Number of processes.
        device: Where this process computes.

    Args:
        device: As in `pysr.load`; of several processes, each takes a GPU of its own for "auto" and "cuda".

    Raises:
        InputError: The device cannot be used here, or not by this many processes.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.world_size = 0, int(os.environ.get("WORLD_SIZE", "1"))
        self.device = choose_device(device) if self.world_size == 1 else self._join(device)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that validates and writes."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """The part of every batch that is this process's."""
        return self.rank, self.world_size

    def _join(self, device: str) -> torch.device:
        # Before the group exists: later, its default arguments would keep the group, and gloo's threads, alive to exit.
        import torch.distributed.nn

        chosen = _choose_shared_device(device, self.world_size)
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=TIMEOUT)
            atexit.register(_leave)
        self.rank = distributed.get_rank()
        return chosen

    def barrier(self) -> None:
        """Wait until all processes have arrived here."""
        if self.world_size > 1:
            distributed.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def all_reduce_max(self, number: int) -> int:
        """Return the largest of the numbers that the processes pass."""
        if self.world_size == 1:
            return number
        largest = torch.tensor([number], device=self.device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def broadcast_object(self, make: Callable[[], T]) -> T:
        """Return in all processes what ``make`` returns in the main one, the only one to call it."""
        if self.world_size == 1:
            return make()
        objects = [make() if self.is_main else None]
        distributed.broadcast_object_list(objects)
        return objects[0]  # type: ignore[return-value]

    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite every tensor with that of the main process."""
        self._exchange(tensors, lambda flat: distributed.broadcast(flat.view(torch.uint8), 0))

    def all_reduce_mean_(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by its mean over the processes."""

        def mean(flat: Tensor) -> None:
            distributed.all_reduce(flat)
            flat /= self.world_size

        self._exchange(tensors, mean)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; a missing gradient counts as zero.

        If no process has a gradient, it stays None, as with one process.

        This runs after the backward pass instead of using DistributedDataParallel, which overlaps the two but sums in
        buckets whose order it learns from the first pass: a resumed run, with other buckets, would not end bit for bit
        like an uninterrupted one.
        """
        if self.world_size == 1:
            return
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        present = torch.tensor([float(parameter.grad is not None) for parameter in parameters], device=self.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        self.all_reduce_mean_([*gradients, present])
        for parameter, gradient, anywhere in zip(parameters, gradients, present.tolist(), strict=True):
            parameter.grad = gradient if anywhere else None

    @torch.no_grad()
    def _exchange(self, tensors: Iterable[Tensor], exchange: Callable[[Tensor], object]) -> None:
        """Make one exchange for all tensors of a dtype, as one flat tensor."""
        if self.world_size == 1:
            return
        by_dtype = sorted(tensors, key=lambda tensor: str(tensor.dtype))
        for _, group in groupby(by_dtype, key=lambda tensor: tensor.dtype):
            _exchange_flat(list(group), exchange)


def _choose_shared_device(device: str, world_size: int) -> torch.device:
    """Choose this process's device among several processes: the GPU of its local rank, or the CPU."""
    if ":" in device:
        raise InputError(
            f"device {device!r} is a single GPU, and there are {world_size} processes; "
            "give 'cuda' or 'auto' for one GPU per process, or 'cpu'"
        )
    wanted = choose_device(device).type if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if wanted not in ("cpu", "cuda"):
        raise InputError(f"device {device!r} cannot be shared by {world_size} processes; give 'cuda', 'auto' or 'cpu'")
    if wanted == "cpu":
        return torch.device("cpu")
    local_rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local_rank >= gpus:
        raise InputError(f"there are more processes than GPUs ({gpus}); start one process for each, or give 'cpu'")
    return torch.device("cuda", local_rank)


def _leave() -> None:
    """Leave the process group: gloo's threads can abort the program if they still run at its very end."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _exchange_flat(tensors: Sequence[Tensor], exchange: Callable[[Tensor], object]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    exchange(flat)
    first = 0
    for tensor in tensors:
        tensor.copy_(flat[first : first + tensor.numel()].view(tensor.shape))
        first += tensor.numel()
