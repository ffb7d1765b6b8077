"""Training state: network, EMA weights, optimizers, and the update step."""

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
from ..upscaling.runner import input_readers
from ..upscaling.stage import BoundPreprocessor
from ..upscaling.unrounded import keep_unrounded
from ..upscaling.weights import difference
from .checkpoints import check_same
from .data import Batch
from .distributed import Distributed
from .losses import Losses

PROBE_SIDE = 32  # pixels of the input on which the layers that read it are found; large enough for any network here
NUMPY_SEEDS = 2**32  # numpy.random.seed takes 32 bits


class TrainState:
    """Everything that a training step changes. A step is a function of this state, the seed and the step's number.

    Attributes:
        step: Steps done.
        network: The network in training, on its device.
        average: Running mean (EMA) of the network's weights, by name; buffers are copied.
        losses: The recipe's losses.
        optimizers: The recipe's optimizers.
        device: Where it computes.
        dtype: torch.float32, or the dtype of autocast.

    Args:
        model: The network's description.
        network: A new network, which is moved to the device.
        recipe: How it is trained.
        preprocessors: The preprocessors that run before the network, by scale.
        distributed: This process among the others.
        dtype: torch.float32 or torch.bfloat16.
        seed: Seed of everything random in the steps.
    """

    def __init__(
        self,
        model: Model,
        network: nn.Module,
        recipe: Recipe,
        preprocessors: Mapping[int, Sequence[BoundPreprocessor]],
        *,
        distributed: Distributed,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        self.step = 0
        self.recipe, self._seed, self._preprocessors = recipe, seed, preprocessors
        self._distributed, self.device, self.dtype = distributed, distributed.device, dtype
        if self.dtype != torch.float32:
            keep_unrounded(network, input_readers(network, (model.channels, PROBE_SIDE, PROBE_SIDE)))
        self.network = network.to(device=self.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.losses = Losses(recipe.losses, self.device)
        distributed.broadcast_([*self.network.state_dict().values(), *self.losses.state().values()])
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.optimizers = recipe.optimizers(self.network)
        for optimizer in self.losses.optimizers:
            optimizer.register_step_pre_hook(lambda owner, *_: self._average_gradients(owner))
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._all_optimizers]

    @property
    def _all_optimizers(self) -> list[torch.optim.Optimizer]:
        return [*self.optimizers, *self.losses.optimizers]

    def advance(self, batches: Sequence[Batch], progress: float) -> tuple[dict[str, float], dict[str, float]]:
        """Take one step with this process's part of a batch.

        Args:
            batches: Patch pairs of every scale.
            progress: Training progress before this step, 0 to 1, for the schedule.

        Returns:
            The losses by name, and the metrics of losses that train themselves; both are means over all processes.
        """
        self._seed_everything()
        self._set_rates(self.recipe.schedule(progress))
        inputs, targets = zip(*(self._network_pair(batch) for batch in batches), strict=True)
        low, high = torch.cat(inputs).contiguous(memory_format=torch.channels_last), torch.cat(targets)  # (N, C, h, w)
        with precision_context(self.device, self.dtype, cached=not self.recipe.compute_losses):
            if self.recipe.compute_losses:
                losses = self.recipe.compute_losses(self.network, low, high)
            else:
                output = self.network(low).float()
                if shave := self.recipe.shave:
                    output, high = (image[..., shave:-shave, shave:-shave] for image in (output, high))
                losses = self.losses(output, high)
        with precision_context(self.device, torch.float32) if self.dtype == torch.float32 else nullcontext():
            self._descend(losses)
        with precision_context(self.device, self.dtype, cached=False):
            metrics = {} if self.recipe.compute_losses else self.losses.update(output.detach(), high)
        self._distributed.broadcast_([*self.network.buffers(), *self.losses.buffers()])
        self.step += 1
        self._update_ema()
        return self._mean({name: loss.detach() for name, loss in losses.items()}), self._mean(metrics)

    def _descend(self, losses: Mapping[str, Tensor]) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        for optimizer in self.optimizers:
            self._average_gradients(optimizer)
        self._clip_gradients()
        for optimizer in self.optimizers:
            optimizer.step()

    def _average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        self._distributed.average_gradients(p for group in optimizer.param_groups for p in group["params"])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that a step changes, as tensors and as JSON types."""
        tensors, numbers = self._own_tensors(), {}
        for name, value in self._optimizer_values():
            if isinstance(value, Tensor):
                tensors[name] = value
            else:
                numbers[name] = value
        return tensors, {"step": self.step, "optimizer": numbers, "optimizers": self._optimizer_names()}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Load what `state` returned, every tensor in the memory layout that it had.

        Raises:
            InputError: It is the state of another network, other losses or other optimizers.
        """
        own = {name: value for name, value in tensors.items() if not name.startswith("optimizer.")}
        if found := difference(own, self._own_tensors()):
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
                state.setdefault(int(index), {})[name] = _in_layout_of(parameters[int(index)], value)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def _own_tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the network, its running mean and the losses."""
        kinds = ("network", self.network.state_dict()), ("average", self.average), ("loss", self.losses.state())
        return {f"{kind}.{name}": value for kind, tensors in kinds for name, value in tensors.items()}

    def is_finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return all(bool(value.isfinite().all()) for value in (*self.average.values(), *self.losses.state().values()))

    def _optimizer_names(self) -> list[str]:
        """Describe each optimizer: its class, how many parameters it has, and its base rates."""
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
        seed = step_seed(self._seed, self.step, self._distributed.rank)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % NUMPY_SEEDS)  # a plugin's loss may use it

    def _set_rates(self, factor: float) -> None:
        for optimizer, rates in zip(self._all_optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def _clip_gradients(self) -> None:
        """Clip gradients to [-theta / rate, theta / rate], so that no step exceeds theta (VDSR, section 3.2)."""
        if self.recipe.clip_theta is None:
            return
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if group["lr"] > 0:
                    nn.utils.clip_grad_value_(group["params"], self.recipe.clip_theta / group["lr"])

    def _network_pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the network's input, preprocessed and without the margin, and the ground truth."""
        low, high = batch.low.to(self.device), batch.high.to(self.device)
        preprocessors = self._preprocessors[batch.scale]
        for preprocessor in preprocessors:
            low, _ = preprocessor.impl.preprocess(low, batch.scale)
        low = low.clone() if low.is_inference() else low  # a pre-upsampler model runs in inference mode
        enlarged = any(preprocessor.spec.enlarges for preprocessor in preprocessors)
        height, width = (side if enlarged else side // batch.scale for side in high.shape[-2:])
        top, left = (low.shape[-2] - height) // 2, (low.shape[-1] - width) // 2
        return low[..., top : top + height, left : left + width], high

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Move the running mean towards the current weights.

        torch.optim.swa_utils.AveragedModel would change the weights: its mean begins with the weights after the first
        step, this one with those before it. It would also need an averaging function of its own, for the warm-up and
        for integer buffers, and a second copy of the network.
        """
        # Warm-up min(decay, (1 + n) / (10 + n)) of TensorFlow's ExponentialMovingAverage, n counting steps from 0: it
        # forgets the random initial weights sooner than the full decay would.
        decay = min(self.recipe.ema_decay, self.step / (self.step + 9))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def _mean(self, values: Mapping[str, Tensor | float]) -> dict[str, float]:
        means = torch.tensor([float(value) for value in values.values()], device=self.device)
        self._distributed.all_reduce_mean_([means])
        return dict(zip(values, means.tolist(), strict=True))


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _in_layout_of(parameter: Tensor, value: Any) -> Any:
    """Give an optimizer's tensor the memory layout of its parameter, on which the order of sums depends."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
