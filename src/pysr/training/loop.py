"""Train a model by one of its recipes: pictures in, weights out, and nothing lost when it is stopped on the way."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..atomic import FilePath, check_place
from ..errors import InputError, PysrError
from ..imaging.datasets import digest
from ..imaging.files import write_image
from ..ops.hardware import choose_precision
from ..plugin import Fit, Model, Progress, Recipe
from ..registry import registry
from ..upscaling.loading import bicubic_stage, make_stage
from ..upscaling.stage import Stage
from ..upscaling.tiling import Tiling
from ..upscaling.upscaler import Upscaler
from ..upscaling.weights import load_weights, save_weights
from .checkpoints import Checkpoints, check_same
from .data import Batch, PatchSampler, Prefetcher, Sampler, check_patch, read_images
from .distributed import Processes
from .interruption import Interruption
from .log import Log, check_installed
from .reproducibility import enable_determinism, preserve_global_state
from .state import Run
from .validation import Validation

logger = logging.getLogger("pysr")

REPEATED = 2.0  # seconds in which torchrun hands on a Ctrl-C that the terminal has sent to its processes, too


@dataclass(frozen=True)
class _Order:
    """What was asked of `train`, complete: model and recipe found, defaults filled in."""

    model: Model
    recipe_name: str
    scales: tuple[int, ...]
    variant: str | None
    data: Sequence[Path]
    out: Path
    validation: Path | None
    seed: int
    weights: Path | None
    pre_upsampler: str | None

    @property
    def best(self) -> Path:
        """The file of the best weights."""
        return self.out / "best.safetensors"

    def stage(self, scale: int, network: nn.Module, device: torch.device, dtype: torch.dtype) -> Stage:
        """A network of the model as users will load it."""
        return make_stage(self.model, scale, network, (device, dtype), self.pre_upsampler)

    def upscaler(self, scale: int, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> Upscaler:
        """The model with these numbers, as users will load it."""
        network = self.model.network(scale, self.variant)
        network.load_state_dict(tensors)
        stage = self.stage(scale, network, device, dtype)
        return Upscaler(stage.model, scale, (stage,), Tiling(), alpha=bicubic_stage(scale))

    def metadata(self, step: int, values: Mapping[str, Any]) -> dict[str, str]:
        """What a weights file says about itself."""
        return {
            "pysr.model": self.model.name,
            "pysr.variant": self.variant or "",
            "pysr.scales": " ".join(map(str, self.scales)),
            "pysr.plugin": self.recipe_name,
            "pysr.values": json.dumps(values),
            "pysr.step": str(step),
            "pysr.seed": str(self.seed),
            "pysr.training.data": ", ".join(folder.name for folder in self.data),
            "pysr.upscaling.weights": self.weights.name if self.weights else "",
            "pysr.initial": self.pre_upsampler or "",
            "pysr.licence": "the trainer's choice; say it before you share this file",
        }


@preserve_global_state()
def train(
    model: str | Model,
    data: FilePath | Sequence[FilePath],
    out: FilePath,
    *,
    recipe: str | None = None,
    scales: Sequence[int] | None = None,
    variant: str | None = None,
    steps: int | None = None,
    validation: FilePath | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    weights: FilePath | None = None,
    pre_upsampler: str | None = None,
    resume: bool = False,
    options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train a model by a recipe and return the path of the best weights.

    model: a name, or a description that need not be installed.
    data: a folder of training pictures, or an ``.npz`` file of small ones, or several; see `read_images`.
    out: folder, made if missing, for ``best.safetensors`` and ``last.safetensors`` (the running mean of the weights),
        ``log.csv``, ``tensorboard``, ``checkpoints`` and ``samples``.
    recipe: one of the model's; default: its first.
    scales: instead of the recipe's; together in one network.
    variant: default: the model's first.
    steps: instead of the recipe's number. seed: of everything random, 0 to 2^64 - 1.
    validation: true pictures, a folder or an ``.npz`` file (its array ``val``, or the only one of pictures). Their mean
        PSNR (`y-shave`), or for stochastic models their bits per sub-pixel, decides which weights are best; without
        them the last are.
    device, precision: as in `pysr.load`, but a model that needs float32 is trained in bfloat16 on request, which is
        faster, and validated in float32; started by torchrun, each process takes its own GPU and an even share of every
        batch.
    weights: a file to start from.
    pre_upsampler: a model whose result the network gets instead of the bicubic enlargement, as in `pysr.load`.
    resume: go on with the run that was stopped in ``out``, to the very bits that it would have had; begins one where
        there is none.
    options: what the recipe asks for, by name, such as the picture whose style is to be learnt.
    progress: called as progress(done, total) after each step, in the first process only.
    The program's random numbers, threads and settings of CUDA are afterwards what they were before.
    SIGTERM and Ctrl-C write a checkpoint after the present step and then act as they would have.
    Raises InputError for what cannot be trained, PysrError when the loss or the weights become NaN (what was saved
    before stays) and where a signal did not end the program.
    """
    about = model if isinstance(model, Model) else registry().model(model)
    name, chosen = _recipe(about, recipe, options or {})
    places = [Path(place) for place in ([data] if isinstance(data, (str, os.PathLike)) else data)]
    trained = tuple(dict.fromkeys(scales or (chosen.scales if isinstance(chosen, Recipe) else chosen.scales[:1])))
    _check_scales(about, trained, chosen)
    if about.variants:
        variant = variant or about.variants[0]
    if variant not in (about.variants or (None,)):
        raise InputError(f"{about.name} has no variant {variant!r}; it has {', '.join(about.variants) or 'none'}")
    if not 0 <= seed < 2**64:
        raise InputError(f"seed is {seed}; give a whole number from 0 to 2^64 - 1")
    order = _Order(about, name, trained, variant, places, Path(out), Path(validation) if validation else None, seed,
                   Path(weights) if weights else None, pre_upsampler)  # fmt: skip
    if isinstance(chosen, Fit):
        return _fit(
            order,
            chosen,
            progress,
            unused={"steps": steps, "resume": resume, "weights": weights, "pre_upsampler": pre_upsampler},
        )
    steps = chosen.steps if steps is None else steps
    if steps < 1:
        raise InputError(f"steps is {steps}; give 1 or more")
    check_installed()
    return _Training(order, chosen, steps, device, precision, resume).go(progress)


def _recipe(model: Model, name: str | None, options: Mapping[str, str]) -> tuple[str, Recipe | Fit]:
    if not model.recipes:
        raise InputError(f"{model.name} cannot be trained: its plugin gives no recipe")
    name = name or next(iter(model.recipes))
    if name not in model.recipes:
        raise InputError(f"{model.name} has no recipe {name!r}; it has {', '.join(model.recipes)}")
    build = model.recipes[name]
    taken = signature(build).parameters
    if unknown := options.keys() - taken.keys():
        raise InputError(
            f"the recipe {name!r} of {model.name} has no option {min(unknown)!r}; it has {', '.join(taken) or 'none'}"
        )
    return name, build(**options)


def _check_scales(model: Model, scales: Sequence[int], recipe: Recipe | Fit) -> None:
    if wrong := set(scales) - set(model.scales):
        raise InputError(f"{model.name} has no scale {min(wrong)}; it has {', '.join(map(str, model.scales))}")
    if isinstance(recipe, Recipe):
        check_patch(recipe.patch, scales)
    elif len(scales) > 1:
        raise InputError(f"{model.name} has a network for each scale; fit one at a time")
    enlarged = registry().enlarges_first(model) and not model.stochastic
    if len(scales) > 1 and not enlarged:
        raise InputError(
            f"the network of {model.name} enlarges itself, and is another one for each scale; give one scale"
        )


def _fit(order: _Order, fit: Fit, progress: Progress | None, unused: Mapping[str, Any]) -> Path:
    if given := [name for name, value in unused.items() if value]:
        raise InputError(f"{order.model.name} is fitted in one go; it takes no {', '.join(given)}")
    if order.best.exists():
        raise InputError(f"{order.out} holds the weights of another run; choose another folder")
    (scale,) = order.scales
    order.out.mkdir(parents=True, exist_ok=True)
    check_place(order.best)
    validation = Validation(order.validation, order.model, order.scales)
    network = order.model.network(scale, order.variant)
    pictures = read_images(order.data, order.model.colour, order.scales, rescale_augment=fit.rescale_augment)
    fit.fit(network, pictures, scale, order.seed, progress or (lambda done, total: None))
    save_weights(network, order.best, order.metadata(1, {"rescale_augment": fit.rescale_augment}))
    upscaler = order.upscaler(scale, network.state_dict(), torch.device("cpu"), torch.float32)
    for name, score in (validation.scores({scale: upscaler}, lambda: False) or {}).items():
        logger.info("%s %.3f", name, score)
    return order.best


class _Training:
    """One training by gradient steps, from the first step or a checkpoint to the last."""

    def __init__(self, order: _Order, recipe: Recipe, steps: int, device: str, precision: str, resume: bool) -> None:
        self.order, self.recipe, self.steps = order, recipe, steps
        self.checkpoints = Checkpoints(order.out / "checkpoints")
        if not resume and (self.checkpoints.files() or order.best.exists()):
            raise InputError(f"{order.out} holds a training; resume it, or choose another folder")
        if resume and not self.checkpoints.files() and order.best.exists():
            raise InputError(
                f"{order.out} holds weights and no checkpoint to go on from; choose another folder, and start from "
                f"those weights if you like (weights={str(order.best)!r})"
            )
        self.processes = Processes(device)
        place = self.processes.device
        if place.type == "cuda":
            enable_determinism()
        torch.manual_seed(order.seed)
        network = self._network()
        precision = "float32" if precision == "auto" and order.model.needs_float32 else precision
        dtype = choose_precision(precision, place)
        if dtype == torch.float16:
            raise InputError("precision 'float16' is for upscaling; train in 'bfloat16' or 'float32'")
        stages = {scale: order.stage(scale, network, place, dtype) for scale in order.scales}
        self.reach = max(sum(step.about.reach for step in stage.steps) for stage in stages.values())
        self.run = Run(order.model, network, recipe, {scale: stage.steps for scale, stage in stages.items()},
                       processes=self.processes, dtype=dtype, seed=order.seed)  # fmt: skip
        if recipe.batch % self.processes.count:
            raise InputError(f"a batch of {recipe.batch} cannot be dealt evenly to {self.processes.count} processes")
        self.sampler = self._sampler()
        self.validation = Validation(order.validation, order.model, order.scales)
        self.counts = deal(recipe.batch, order.scales)
        self.log = Log(order.out if self.processes.first else None)
        self.best = -math.inf
        self.facts = self._facts()
        if resume and (found := self.processes.from_first(self.checkpoints.newest)):
            self._restore(*found)

    def _network(self) -> nn.Module:
        network = self.order.model.network(self.order.scales[0], self.order.variant)
        if self.order.weights:
            load_weights(network, self.order.weights)
        elif self.recipe.init_weights:
            self.recipe.init_weights(network)
        return network

    def _sampler(self) -> Sampler:
        order, recipe = self.order, self.recipe
        if recipe.sampler:
            return recipe.sampler(order.data, order.seed)
        pictures = read_images(
            order.data, order.model.colour, order.scales, rescale_augment=recipe.rescale_augment, smallest=recipe.patch
        )
        return PatchSampler(pictures, patch=recipe.patch, seed=order.seed, margin=self.reach,
                            hard_mining_candidates=recipe.hard_mining_candidates, rotate=recipe.rotate,
                            flat_fraction=recipe.flat_fraction)  # fmt: skip

    def go(self, progress: Progress | None) -> Path:
        """Train to the end; the path of the best weights."""
        order, run = self.order, self.run
        order.out.mkdir(parents=True, exist_ok=True)
        with (
            Interruption(REPEATED if self.processes.count > 1 else 0.0) as interruption,
            Prefetcher(self._batch) as batches,
            self.log,
        ):
            if not self.checkpoints.files():
                self._save_checkpoint()  # so that a folder with weights has a checkpoint, whenever it is stopped
            while True:
                if self._due() and self.log.step < run.step:
                    self._validate(interruption)
                if number := self.processes.largest(interruption.noted or 0):
                    self._save_checkpoint()
                    self.processes.wait()
                    stopped = f"stopped at step {run.step} of {self.steps}; a checkpoint is in {order.out}"
                    if self.processes.first:
                        logger.warning(stopped)
                    interruption.deliver(number)
                    raise PysrError(f"{stopped}; resume the training to go on")
                if run.step >= self.steps:
                    break
                self._advance(batches, progress)
        return order.best

    def _batch(self, step: int) -> list[Batch]:
        return self.sampler.batch(step, self.counts, self.processes.share)

    def _due(self) -> bool:
        return self.run.step > 0 and (self.run.step % self.recipe.validate_every == 0 or self.run.step == self.steps)

    def _advance(self, batches: Prefetcher, progress: Progress | None) -> None:
        started = time.perf_counter()
        batch = batches.get(self.run.step)
        waited = time.perf_counter() - started
        losses, told = self.run.advance(batch, self.run.step / self.steps)
        total = sum(losses.values())
        if not math.isfinite(total):
            raise self._diverged(f"the loss became {total}")
        self.log.add(losses, told, time.perf_counter() - started, waited)
        if progress and self.processes.first:
            progress(self.run.step, self.steps)

    def _validate(self, interruption: Interruption) -> None:
        """Measure, write a row, the weights and a checkpoint; nothing of it if a signal comes in between."""
        if not self.run.is_sound():
            raise self._diverged("the weights became NaN or infinite")
        if self.processes.first:
            self._measure(interruption)
        else:
            self.log.step = self.run.step
        self.processes.wait()

    def _measure(self, interruption: Interruption) -> None:
        order, run = self.order, self.run
        upscalers = {s: order.upscaler(s, run.average, run.device, run.dtype) for s in order.scales}
        scores = self.validation.scores(upscalers, lambda: interruption.noted is not None)
        if scores is None:
            return
        if scores:
            title = f"step {run.step}"
            (order.out / "samples").mkdir(exist_ok=True)
            sheet = self.validation.sample(upscalers[order.scales[-1]], title)
            write_image(sheet, order.out / "samples" / f"step-{run.step:08d}.png")
        about = order.metadata(run.step, self._values())
        save_weights(run.average, order.out / "last.safetensors", about)
        if (score := self.validation.merit(scores)) >= self.best or not scores:
            self.best = score
            save_weights(run.average, order.best, about)
        self.log.write(run.step, scores or dict.fromkeys(self.validation.columns))
        self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        if not self.processes.first or not self.run.is_sound():  # a later resume would begin with NaN
            return
        tensors, facts = self.run.state()
        facts |= {"about": self.facts, "log": self.log.state(), "threads": torch.get_num_threads()}
        facts["best"] = None if self.best == -math.inf else self.best
        self.checkpoints.save(self.run.step, tensors, facts)

    def _restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        check_same(facts["about"], self.facts)
        torch.set_num_threads(facts["threads"])
        self.run.restore(tensors, facts)
        self.log.restore(facts["log"])
        self.best = -math.inf if facts["best"] is None else facts["best"]
        logger.info("resumed at step %d of %d", self.run.step, self.steps)

    def _values(self) -> dict[str, Any]:
        """Those values of the recipe that are data."""
        values = {name: getattr(self.recipe, name) for name in self.recipe.__dataclass_fields__}
        return {name: value for name, value in values.items() if name != "reasons" and not callable(value)}

    def _facts(self) -> dict[str, Any]:
        """What must be the same for a run to go on as if it had not been stopped."""
        order = self.order
        return {
            **{name: list(value) if isinstance(value, tuple) else value for name, value in self._values().items()},
            "model": order.model.name, "recipe": order.recipe_name, "variant": order.variant, "scales": order.scales,
            "steps": self.steps, "seed": order.seed, "processes": self.processes.count, "device": self.run.device.type,
            "precision": str(self.run.dtype), "pre_upsampler": order.pre_upsampler,
            "weights": order.weights.name if order.weights else None,
            "files": {name: digest(Path(name)) for name in self.run.losses.options() if Path(name).is_file()},
            "schedule": [f"{self.recipe.schedule(tenth / 10):.6g}" for tenth in range(11)],
            "data": [digest(place, images=not self.recipe.sampler) for place in order.data],
            "validation": digest(order.validation) if order.validation else None,
        }  # fmt: skip

    def _diverged(self, what: str) -> PysrError:
        return PysrError(
            f"{what} at step {self.run.step}; lower the learning rate of the recipe. "
            f"Weights saved earlier stay in {self.order.out}"
        )


def deal(batch: int, scales: Sequence[int]) -> dict[int, int]:
    """Patches of each scale; the first scales get what does not divide evenly."""
    share, rest = divmod(batch, len(scales))
    return {scale: share + (i < rest) for i, scale in enumerate(scales) if share + (i < rest)}
