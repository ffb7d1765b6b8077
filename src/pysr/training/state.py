"""One training under way: the network, the running mean of its weights, its optimizers, and the step."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..ops.hardware import precision_context
from ..ops.seeds import step_seed
from ..plugin import Model, Recipe
from ..upscaling.runner import input_readers, keep_unrounded
from ..upscaling.stage import BoundPreprocessor
from ..upscaling.weights import difference
from .checkpoints import check_same
from .data import Batch
from .distributed import Processes
from .losses import Losses


class Run:
    """What a recipe makes of a network, step by step. A step is a function of the state, the seed and its number."""

    def __init__(
        self,
        model: Model,
        network: nn.Module,
        recipe: Recipe,
        steps: Mapping[int, Sequence[BoundPreprocessor]],
        *,
        processes: Processes,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        self.step = 0
        self.recipe, self._seed, self._preprocess = recipe, seed, steps
        self._processes, self.device, self.dtype = processes, processes.device, dtype
        if self.dtype != torch.float32:
            keep_unrounded(network, input_readers(network, (model.channels, 32, 32)))
        self.network = network.to(device=self.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.losses = Losses(recipe.losses, self.device)
        processes.copy_first([*self.network.state_dict().values(), *self.losses.state().values()])
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.optimizers = recipe.optimizers(self.network)
        for optimizer in self.losses.optimizers:
            optimizer.register_step_pre_hook(lambda owner, *_: self._average_gradients(owner))
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._all_optimizers]

    @property
    def _all_optimizers(self) -> list[torch.optim.Optimizer]:
        return [*self.optimizers, *self.losses.optimizers]

    def advance(self, batch: Sequence[Batch], done: float) -> tuple[dict[str, float], dict[str, float]]:
        """Take one step with this process's share of a batch.

        done: share of the training before this step, for the schedule. Returns the losses by name, and what the losses
        tell of their own steps; both are means over all processes.
        """
        self._seed_everything()
        self._set_rates(self.recipe.schedule(done))
        inputs, targets = zip(*(self._network_pair(pairs) for pairs in batch), strict=True)
        low, high = torch.cat(inputs).contiguous(memory_format=torch.channels_last), torch.cat(targets)  # (N, C, h, w)
        with precision_context(self.device, self.dtype, cached=not self.recipe.compute_losses):
            if self.recipe.compute_losses:
                losses = self.recipe.compute_losses(self.network, low, high)
            else:
                output = self.network(low).float()
                if shave := self.recipe.shave:
                    output, high = (planes[..., shave:-shave, shave:-shave] for planes in (output, high))
                losses = self.losses(output, high)
        with precision_context(self.device, torch.float32) if self.dtype == torch.float32 else nullcontext():
            self._descend(losses)
        with precision_context(self.device, self.dtype, cached=False):
            told = {} if self.recipe.compute_losses else self.losses.update(output.detach(), high)
        self._processes.copy_first([*self.network.buffers(), *self.losses.buffers()])
        self.step += 1
        self._follow(min(self.recipe.ema_decay, self.step / (self.step + 9)))
        return self._over_processes({name: loss.detach() for name, loss in losses.items()}), self._over_processes(told)

    def _descend(self, losses: Mapping[str, Tensor]) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            self._average_gradients(optimizer)
        self._clip()
        for optimizer in self.optimizers:
            optimizer.step()

    def _average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        self._processes.average_gradients(p for group in optimizer.param_groups for p in group["params"])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a step changes, as tensors and as JSON facts."""
        tensors, numbers = self._own_tensors(), {}
        for name, value in self._optimizer_values():
            if isinstance(value, Tensor):
                tensors[name] = value
            else:
                numbers[name] = value
        return tensors, {"step": self.step, "optimizer": numbers, "optimizers": self._optimizer_names()}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Become what `state` described, with every tensor in the memory order that it had.

        Raises InputError where that was the state of another network, other losses or other optimizers.
        """
        given = {name: value for name, value in tensors.items() if not name.startswith("optimizer.")}
        if found := difference(given, self._own_tensors()):
            raise InputError(
                f"the run to be resumed had another network or other losses: {found}; undo that change, or start from "
                "its weights in another folder"
            )
        check_same({"optimizers": facts["optimizers"]}, {"optimizers": self._optimizer_names()})
        self.step = facts["step"]
        self.network.load_state_dict(_below("network.", tensors))
        for name, value in _below("average.", tensors).items():
            self.average[name].copy_(value)
        self.losses.restore(_below("loss.", tensors))
        for number, optimizer in enumerate(self._all_optimizers):
            values = _below(f"optimizer.{number}.", {**tensors, **facts["optimizer"]})
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state: dict[int, dict[str, Any]] = {}
            for key, value in values.items():
                index, _, name = key.partition(".")
                state.setdefault(int(index), {})[name] = _ordered_as(parameters[int(index)], value)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def _own_tensors(self) -> dict[str, Tensor]:
        """Those of the network, its running mean and the losses."""
        kinds = ("network", self.network.state_dict()), ("average", self.average), ("loss", self.losses.state())
        return {f"{kind}.{name}": value for kind, tensors in kinds for name, value in tensors.items()}

    def is_sound(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return all(bool(value.isfinite().all()) for value in (*self.average.values(), *self.losses.state().values()))

    def _optimizer_names(self) -> list[str]:
        """What each optimizer is, of how many parameters, and at which rates."""
        names = []
        for optimizer, rates in zip(self._all_optimizers, self._rates, strict=True):
            count = sum(len(group["params"]) for group in optimizer.param_groups)
            names.append(f"{type(optimizer).__name__} of {count} at {', '.join(f'{rate:g}' for rate in rates)}")
        return names

    def _optimizer_values(self) -> Iterator[tuple[str, Any]]:
        for number, optimizer in enumerate(self._all_optimizers):
            for index, values in optimizer.state_dict()["state"].items():
                for name, value in values.items():
                    yield f"optimizer.{number}.{index}.{name}", value

    def _seed_everything(self) -> None:
        seed = step_seed(self._seed, self.step, self._processes.rank)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # a plugin's loss may use it

    def _set_rates(self, share: float) -> None:
        for optimizer, rates in zip(self._all_optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share

    def _clip(self) -> None:
        """Section 3.2 of VDSR: gradients within [-theta / rate, theta / rate], so that no step exceeds theta."""
        if self.recipe.clip_theta is None:
            return
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if group["lr"] > 0:
                    nn.utils.clip_grad_value_(group["params"], self.recipe.clip_theta / group["lr"])

    def _network_pair(self, pairs: Batch) -> tuple[Tensor, Tensor]:
        """What the network gets and should give: the preprocessors' `before`, then the margin cut off."""
        planes, high = pairs.low.to(self.device), pairs.high.to(self.device)
        for step in self._preprocess[pairs.scale]:
            planes, _ = step.impl.preprocess(planes, pairs.scale)
        planes = planes.clone() if planes.is_inference() else planes  # those of another model
        enlarged = any(step.spec.enlarges for step in self._preprocess[pairs.scale])
        height, width = (side if enlarged else side // pairs.scale for side in high.shape[-2:])
        top, left = (planes.shape[-2] - height) // 2, (planes.shape[-1] - width) // 2
        return planes[..., top : top + height, left : left + width], high

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _over_processes(self, values: Mapping[str, Tensor | float]) -> dict[str, float]:
        means = torch.tensor([float(value) for value in values.values()], device=self.device)
        self._processes.average([means])
        return dict(zip(values, means.tolist(), strict=True))


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _ordered_as(parameter: Tensor, value: Any) -> Any:
    """A value of an optimizer, laid out in memory as its parameter: the order of sums depends on it."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
