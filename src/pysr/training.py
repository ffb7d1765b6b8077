"""One training loop for every model whose recipe is one network and a sum of losses."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import degrade
from .data import Pairs, PatchSampler, read_pictures
from .errors import InputError, PysrError
from .files import atomic_write
from .metrics import psnr
from .plugin import Model
from .precision import arithmetic, choose_device, choose_precision, input_readers, keep_unrounded
from .recipe import Recipe
from .registry import registry
from .stage import Step
from .weights import load_weights, save_weights

logger = logging.getLogger("pysr")


@dataclass
class _Run:
    """What one training works with."""

    network: nn.Module
    average: dict[str, Tensor]
    steps: tuple[Step, ...]
    losses: list[tuple[float, Callable[[Tensor, Tensor], Tensor]]]
    device: torch.device
    dtype: torch.dtype


def train(
    name: str,
    data: Sequence[Path],
    out: Path,
    *,
    steps: int | None = None,
    validation: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    initial: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Path:
    """Train a model by its recipe and return the path of the best weights.

    name: the model. data: folders of training pictures. out: folder for ``best.safetensors``, ``last.safetensors``
    and ``log.csv``; made if missing. steps: instead of the recipe's number. validation: folder of test pictures whose
    mean PSNR decides which weights are best; without it the last are. initial: weights to start from.
    Raises InputError for unusable data, PysrError when the loss or the weights become NaN (weights saved before stay).
    """
    model = registry().model(name)
    if not model.recipes:
        raise InputError(f"{name} cannot be trained: its plugin gives no recipe")
    recipe = next(iter(model.recipes.values()))()
    if not isinstance(recipe, Recipe):
        raise NotImplementedError
    steps = recipe.steps if steps is None else steps
    if steps < 1:
        raise InputError(f"steps is {steps}; give 1 or more")
    torch.manual_seed(seed)
    run = _prepare(model, recipe, device, precision, initial)
    margin = sum(step.about.reach for step in run.steps)
    pictures = read_pictures(data, model.colour, recipe.scales, shrink=recipe.shrink, smallest=recipe.patch)
    sampler = PatchSampler(pictures, patch=recipe.patch, seed=seed, margin=margin, candidates=recipe.candidates)
    truths = read_pictures([validation], model.colour, recipe.scales) if validation else []
    optimizers = recipe.optimizers(run.network)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    counts = _deal(recipe.batch, recipe.scales)
    out.mkdir(parents=True, exist_ok=True)
    log = _Log(out / "log.csv", recipe.scales)
    best = -math.inf
    for step in range(steps):
        _set_rates(optimizers, rates, recipe.schedule(step / steps))
        loss = _step(run, sampler.batch(step, counts), optimizers)
        if not math.isfinite(loss):
            raise _diverged(f"the loss became {loss}", step, out)
        _follow(run, min(recipe.average, (step + 1) / (step + 10)))
        log.add(loss)
        if progress:
            progress(step + 1, steps, f"loss {loss:.5f}")
        if (step + 1) % recipe.validate == 0 or step + 1 == steps:
            scores = _validate(run, truths, recipe.scales)
            log.write(step + 1, scores)
            if not all(value.isfinite().all() for value in run.average.values()):
                raise _diverged("the weights became NaN or infinite", step, out)
            about = _metadata(model, recipe, step + 1, seed, data, initial)
            save_weights(run.average, out / "last.safetensors", about)
            if (score := sum(scores.values())) >= best or not truths:
                best = score
                save_weights(run.average, out / "best.safetensors", about)
    return out / "best.safetensors"


def _diverged(what: str, step: int, out: Path) -> PysrError:
    return PysrError(f"{what} at step {step + 1}; lower the learning rate. Weights saved earlier stay in {out}")


def _prepare(model: Model, recipe: Recipe, device: str, precision: str, initial: Path | None) -> _Run:
    place = choose_device(device)
    network = model.network(recipe.scales[0], model.variants[0] if model.variants else None)
    if initial:
        load_weights(network, initial)
    dtype = choose_precision(precision, place)
    if dtype != torch.float32:
        keep_unrounded(network, input_readers(network, (3 if model.colour == "rgb" else 1, 32, 32)))
    network.to(device=place, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    return _Run(
        network=network,
        average={name: value.detach().clone() for name, value in network.state_dict().items()},
        steps=tuple(Step(p, p.build()) for p in map(registry().preprocessor, model.preprocess)),
        losses=[(weight, registry().loss(name).build()) for name, weight in recipe.losses.items()],
        device=place,
        dtype=dtype,
    )


def _deal(batch: int, scales: Sequence[int]) -> dict[int, int]:
    """Patches of each scale; the first scales get what does not divide evenly."""
    share, rest = divmod(batch, len(scales))
    return {scale: share + (i < rest) for i, scale in enumerate(scales) if share + (i < rest)}


def _set_rates(optimizers: Sequence[torch.optim.Optimizer], rates: list[list[float]], share: float) -> None:
    for optimizer, own in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = rate * share


def _step(run: _Run, pairs: Sequence[Pairs], optimizers: Sequence[torch.optim.Optimizer]) -> float:
    inputs, targets = zip(*(_network_pair(run, pair) for pair in pairs), strict=True)
    low, high = torch.cat(inputs), torch.cat(targets)  # (N, C, h, w)
    with arithmetic(run.device, run.dtype):
        output = run.network(low.contiguous(memory_format=torch.channels_last)).float()
    loss: Tensor = sum((weight * loss(output, high) for weight, loss in run.losses), torch.zeros((), device=run.device))
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach())


def _network_pair(run: _Run, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """What the network gets and should give: the preprocessors' `before`, then the margin cut off."""
    planes, high = pairs.low.to(run.device), pairs.high.to(run.device)
    for step in run.steps:
        planes, _ = step.run.before(planes, pairs.scale)
    margin = (planes.shape[-1] - high.shape[-1]) // 2
    side = planes.shape[-1] - margin
    return (planes[..., margin:side, margin:side], high) if margin > 0 else (planes, high)


@torch.no_grad()
def _follow(run: _Run, decay: float) -> None:
    for name, value in run.network.state_dict().items():
        if value.is_floating_point():
            run.average[name].lerp_(value, 1 - decay)
        else:
            run.average[name].copy_(value)


@torch.inference_mode()
def _validate(run: _Run, truths: Sequence[Any], scales: Sequence[int]) -> dict[int, float]:
    """Mean PSNR by scale of the averaged weights, outputs rounded to 8 bits, ``scale`` pixels shaved."""
    if not truths:
        return {}
    present = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.network.load_state_dict(run.average)
    run.network.eval()
    scores = {}
    for scale in scales:
        found = []
        for truth in truths:
            high = degrade.crop_to_multiple(truth.high, scale).float() / 255
            pair = Pairs(scale, degrade.bicubic(high, scale)[None], high[None])
            low, high = _network_pair(run, pair)
            with arithmetic(run.device, run.dtype):
                output = run.network(low.contiguous(memory_format=torch.channels_last)).float()
            found.append(psnr((output.clamp(0, 1) * 255).round() / 255, high, shave=scale))
        scores[scale] = sum(found) / len(found)
    run.network.load_state_dict(present)
    run.network.train()
    return scores


def _metadata(
    model: Model, recipe: Recipe, step: int, seed: int, data: Sequence[Path], initial: Path | None
) -> dict[str, str]:
    values = {
        "losses": dict(recipe.losses), "batch": recipe.batch, "patch": recipe.patch, "scales": recipe.scales,
        "shrink": recipe.shrink, "candidates": recipe.candidates, "average": recipe.average,
    }  # fmt: skip
    return {
        "pysr.model": model.name,
        "pysr.step": str(step),
        "pysr.seed": str(seed),
        "pysr.recipe": json.dumps(values),
        "pysr.data": ", ".join(folder.name for folder in data),
        "pysr.initial": initial.name if initial else "",
        "pysr.licence": "the trainer's choice; say it before you share this file",
    }


class _Log:
    """Rows of step, seconds, mean loss since the last row, and PSNR by scale: a CSV file and the log."""

    def __init__(self, path: Path, scales: Sequence[int]) -> None:
        self._path, self._scales = path, scales
        self._rows: list[list[object]] = [["step", "seconds", "loss", *(f"psnr_x{scale}" for scale in scales)]]
        self._losses: list[float] = []
        self._start = time.monotonic()

    def add(self, loss: float) -> None:
        self._losses.append(loss)

    def write(self, step: int, scores: Mapping[int, float]) -> None:
        mean = sum(self._losses) / len(self._losses)
        seconds = time.monotonic() - self._start
        shown = ", ".join(f"x{scale} {score:.3f} dB" for scale, score in scores.items())
        logger.info("step %d, %.0f s, loss %.5f, %s", step, seconds, mean, shown or "not validated")
        shares = (f"{scores[scale]:.4f}" if scores else "" for scale in self._scales)
        self._rows.append([step, f"{seconds:.1f}", f"{mean:.6f}", *shares])
        self._losses = []
        with atomic_write(self._path) as file:
            text = "\n".join(",".join(map(str, row)) for row in self._rows)
            file.write(f"{text}\n".encode())
