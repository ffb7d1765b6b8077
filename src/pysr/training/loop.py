"""The training loop: train a model from images, and stop and resume without losing work."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..atomic import FilePath, check_place
from ..errors import InputError, PysrError
from ..files import write_image
from ..ops.hardware import choose_precision
from ..ops.host import own_defaults
from ..plugin import Fit, Model, Progress, Recipe
from ..registry import registry
from ..upscaling.loading import preprocessors_of
from ..upscaling.weights import load_weights, save_weights
from .checkpoints import Checkpoints, check_same
from .config import TrainingConfig, TrainingOptions
from .config import recipe as build_recipe
from .data import Batch, PatchSampler, Prefetcher, Sampler, read_images, split_batch
from .distributed import Distributed
from .interruption import Interruption
from .log import Log, check_installed
from .reproducibility import enable_determinism, preserve_global_state
from .state import TrainState
from .validation import Validation

logger = logging.getLogger("pysr")

REPEATED = 2.0  # seconds within which torchrun repeats a Ctrl-C that the terminal has already sent to its processes
DEFAULTS = TrainingOptions()


@preserve_global_state()
@own_defaults()
@torch.enable_grad()
def train(
    model: str | Model,
    data: FilePath | Sequence[FilePath],
    out: FilePath,
    *,
    recipe: str | Recipe | Fit | None = None,
    validation: FilePath | None = None,
    options: TrainingOptions = DEFAULTS,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a model by a recipe.

    Random number generators, thread count, default dtype and CUDA settings of the program are restored afterwards.
    SIGTERM and Ctrl-C first write a checkpoint after the current step, and then take their usual effect.

    Args:
        model: A name or alias, or a description, which need not be installed.
        data: A folder of training images, or an ``.npz`` file of small ones (its array ``train``, or its only array of
            images, (N, H, W, 3) or (N, H, W) uint8), or several of either.
        out: Folder, created if missing, for ``best.safetensors`` and ``last.safetensors`` (the running mean of the
            weights), ``log.csv``, ``tensorboard``, ``checkpoints`` and ``samples``.
        recipe: The name of one of the model's recipes, or a `Recipe` or `Fit`, such as one from `pysr.training.recipe`
            with changed values; None is the model's first.
        validation: Ground-truth images, a folder or an ``.npz`` file (its array ``val``, or its only array of images).
            The mean PSNR on them (`y-shave`), or for stochastic models the bits per sub-pixel, decides which weights
            are best; without them the last are.
        options: Variant, seed, device, precision, weights to start from, pre-upsampler.
        resume: Continue the run that was stopped in ``out``, bit for bit as if it had not been; start one if there is
            none.
        progress: Called as progress(done, total) after each step, in the main process only.

    Returns:
        The path of the best weights.

    Raises:
        UnknownNameError: There is no such model, loss or pre-upsampler.
        InputError: Something cannot be trained or read.
        PysrError: The loss or the weights become NaN or infinite (files saved earlier are kept), or a signal stops the
            training but not the program.
    """
    spec = model if isinstance(model, Model) else registry().model(model)
    config = TrainingConfig(
        spec,
        recipe if isinstance(recipe, (Recipe, Fit)) else build_recipe(spec, recipe),
        tuple(Path(place) for place in ([data] if isinstance(data, (str, os.PathLike)) else data)),
        Path(out),
        Path(validation) if validation else None,
        options,
    )
    if isinstance(config.recipe, Fit):
        if resume:
            raise InputError(f"{spec.name} is fitted in one go; it takes no resume")
        return _fit(config, config.recipe, progress)
    check_installed()
    return _TrainingLoop(config, config.recipe, resume).run(progress)


def _fit(config: TrainingConfig, fit: Fit, progress: Progress | None) -> Path:
    if config.best.exists():
        raise InputError(f"{config.out} holds the weights of another run; choose another folder")
    (scale,) = config.scales
    config.out.mkdir(parents=True, exist_ok=True)
    check_place(config.best)
    validation = Validation(config)
    network = config.model.network(scale, config.variant)
    images = read_images(config.data, config.model.colour, config.scales, rescale_augment=fit.rescale_augment)
    fit.fit(network, images, scale, config.options.seed, progress or (lambda done, total: None))
    save_weights(network, config.best, config.metadata(step=1))
    upscalers = validation.upscalers(network.state_dict(), torch.device("cpu"), torch.float32)
    for name, score in (validation.scores(upscalers, lambda: False) or {}).items():
        logger.info("%s %.3f", name, score)
    return config.best


class _TrainingLoop:
    """One training by gradient steps, from the first step or a checkpoint to the last."""

    def __init__(self, config: TrainingConfig, recipe: Recipe, resume: bool) -> None:
        self.config, self.recipe, self.steps = config, recipe, recipe.steps
        self.checkpoints = Checkpoints(config.out / "checkpoints")
        self._check_folder(resume)
        self.distributed = Distributed(config.options.device)
        if recipe.batch % self.distributed.world_size:
            raise InputError(
                f"a batch of {recipe.batch} cannot be divided evenly among {self.distributed.world_size} processes; "
                "change the batch or the number of processes"
            )
        if self.distributed.device.type == "cuda":
            enable_determinism()
        self.state, margin = self._start_state()
        self.sampler = self._make_sampler(margin)
        self.validation = Validation(config)
        self.counts = split_batch(recipe.batch, config.scales)
        self.log = Log(config.out if self.distributed.is_main else None)
        self.best_merit = -math.inf
        self.facts = {
            **config.resume_facts(),
            "world_size": self.distributed.world_size,
            "device": self.state.device.type,
            "precision": str(self.state.dtype).removeprefix("torch."),
        }
        if resume and (found := self.distributed.broadcast_object(self.checkpoints.newest)):
            self._restore(*found)

    def _check_folder(self, resume: bool) -> None:
        out, best = self.config.out, self.config.best
        if not resume and (self.checkpoints.files() or best.exists()):
            raise InputError(f"{out} holds a training; resume it, or choose another folder")
        if resume and not self.checkpoints.files() and best.exists():
            raise InputError(
                f"{out} holds weights and no checkpoint to resume from; choose another folder, and start from those "
                f"weights if you like (weights={str(best)!r})"
            )

    def _start_state(self) -> tuple[TrainState, int]:
        """Make the initial state; return it with the margin, in low-resolution pixels, that its preprocessors need."""
        config, options, device = self.config, self.config.options, self.distributed.device
        torch.manual_seed(options.seed)
        network = self._new_network()
        wanted = "float32" if options.precision == "auto" and config.model.needs_float32 else options.precision
        dtype = choose_precision(wanted, device)
        preprocessors = {
            scale: preprocessors_of(config.model, scale, (device, dtype), options.pre_upsampler)
            for scale in config.scales
        }
        state = TrainState(
            config.model,
            network,
            self.recipe,
            preprocessors,
            distributed=self.distributed,
            dtype=dtype,
            seed=options.seed,
        )
        return state, max(sum(step.spec.reach for step in chain) for chain in preprocessors.values())

    def _new_network(self) -> nn.Module:
        config = self.config
        network = config.model.network(config.scales[0], config.variant)
        if config.weights:
            load_weights(network, config.weights)
        elif self.recipe.init_weights:
            self.recipe.init_weights(network)
        return network

    def _make_sampler(self, margin: int) -> Sampler:
        config, recipe = self.config, self.recipe
        if recipe.sampler:
            return recipe.sampler(config.data, config.options.seed)
        images = read_images(
            config.data,
            config.model.colour,
            config.scales,
            rescale_augment=recipe.rescale_augment,
            smallest=recipe.patch,
        )
        return PatchSampler(
            images,
            patch=recipe.patch,
            seed=config.options.seed,
            margin=margin,
            hard_mining_candidates=recipe.hard_mining_candidates,
            rotate=recipe.rotate,
            flat_fraction=recipe.flat_fraction,
            neutral_fraction=recipe.neutral_fraction,
            degrade=registry().degradation(recipe.degradation).build() if recipe.degradation else None,
        )

    def run(self, progress: Progress | None) -> Path:
        """Train to the last step and return the path of the best weights."""
        self.config.out.mkdir(parents=True, exist_ok=True)
        with (
            Interruption(REPEATED if self.distributed.world_size > 1 else 0.0) as interruption,
            Prefetcher(self._make_batches) as batches,
            self.log,
        ):
            if not self.checkpoints.files():
                self._save_checkpoint()  # so that a folder with weights always has a checkpoint
            while True:
                if self._validation_is_due() and self.log.step < self.state.step:
                    self._validate(interruption)
                if number := self.distributed.all_reduce_max(interruption.signal_number or 0):
                    self._stop(interruption, number)
                if self.state.step >= self.steps:
                    return self.config.best
                self._advance(batches, progress)

    def _make_batches(self, step: int) -> list[Batch]:
        return self.sampler.batch(step, self.counts, self.distributed.shard)

    def _validation_is_due(self) -> bool:
        step = self.state.step
        return step > 0 and (step % self.recipe.validate_every == 0 or step == self.steps)

    def _stop(self, interruption: Interruption, number: int) -> None:
        self._save_checkpoint()
        self.distributed.barrier()
        stopped = f"stopped at step {self.state.step} of {self.steps}; a checkpoint is in {self.config.out}"
        if self.distributed.is_main:
            logger.warning(stopped)
        interruption.deliver(number)
        raise PysrError(f"{stopped}; resume the training to continue")

    def _advance(self, batches: Prefetcher, progress: Progress | None) -> None:
        started = time.perf_counter()
        batch = batches.get(self.state.step)
        waited = time.perf_counter() - started
        losses, metrics = self.state.advance(batch, self.state.step / self.steps)
        total = sum(losses.values())
        if not math.isfinite(total):
            raise self._diverged(f"the loss became {total}")
        self.log.add(losses, metrics, time.perf_counter() - started, waited)
        if self.distributed.is_main:
            logger.debug("step %d of %d, loss %.5f", self.state.step, self.steps, total)
            if progress:
                progress(self.state.step, self.steps)

    def _validate(self, interruption: Interruption) -> None:
        """Validate, and write a log row, the weights and a checkpoint; write nothing if a signal arrives meanwhile."""
        if not self.state.is_finite():
            raise self._diverged("the weights became NaN or infinite")
        if self.distributed.is_main:
            self._measure(interruption)
        else:
            self.log.step = self.state.step
        self.distributed.barrier()

    def _measure(self, interruption: Interruption) -> None:
        config, state, step = self.config, self.state, self.state.step
        upscalers = self.validation.upscalers(state.average, state.device, state.dtype)
        scores = self.validation.scores(upscalers, lambda: interruption.signal_number is not None)
        if scores is None:
            return
        if scores:
            (config.out / "samples").mkdir(exist_ok=True)
            sheet = self.validation.sample(upscalers[config.scales[-1]], f"step {step}")
            write_image(sheet, config.out / "samples" / f"step-{step:08d}.png")
        metadata = config.metadata(step)
        save_weights(state.average, config.last, metadata)
        if (merit := self.validation.merit(scores)) >= self.best_merit or not scores:
            self.best_merit = merit
            save_weights(state.average, config.best, metadata)
        self.log.write(step, scores or dict.fromkeys(self.validation.columns))
        self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        if not self.distributed.is_main or not self.state.is_finite():  # a resumed run would start with NaN
            return
        tensors, facts = self.state.state()
        facts |= {"run": self.facts, "log": self.log.state(), "threads": torch.get_num_threads()}
        facts["best"] = None if self.best_merit == -math.inf else self.best_merit
        self.checkpoints.save(self.state.step, tensors, facts)

    def _restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        check_same(facts["run"], self.facts)
        torch.set_num_threads(facts["threads"])
        self.state.restore(tensors, facts)
        self.log.restore(facts["log"])
        self.best_merit = -math.inf if facts["best"] is None else facts["best"]
        logger.info("resumed at step %d of %d", self.state.step, self.steps)

    def _diverged(self, what: str) -> PysrError:
        return PysrError(
            f"{what} at step {self.state.step}; lower the learning rate of the recipe (weights saved earlier stay in "
            f"{self.config.out})"
        )
