"""From names to an upscaler: models, their networks and weights, the device and the precision."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..errors import InputError, PluginError, PysrError
from ..ops.hardware import choose_device, choose_precision
from ..plugin import Model, Preprocessor
from ..registry import registry
from .chain import Chain, choose
from .plan import Mode
from .runner import PreparedNetwork
from .stage import BoundPreprocessor, PreUpsampler, Stage
from .tiling import OVERLAP, Tiling
from .upscaler import Upscaler
from .weights import load_weights, read_metadata, trained_scales

Hardware = tuple[torch.device, torch.dtype]

logger = logging.getLogger("pysr")


def load(
    model: str | Sequence[str],
    scale: int | None = None,
    *,
    variant: str | None = None,
    pre_upsampler: str | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    weights: str | PathLike[str] | None = None,
    patch: int | Literal["auto"] = "auto",
    mode: Mode | Literal["auto"] = "auto",
    overlap: int = OVERLAP,
    max_memory: int | None = None,
    match_histogram: bool = False,
) -> Upscaler:
    """Load a model once, to upscale any number of images.

    model: a name or alias from `pysr.models`; or several models, each of which enlarges what the one before it made:
        ``["srcnn", "vdsr"]`` in equal parts, ``["vdsr:2", "vdsr:3"]`` in parts of your own; ``"srcnn+vdsr"`` and
        ``"vdsr:2+vdsr:3"`` mean the same. The options below hold for each of them; ``variant``, ``pre_upsampler`` and
        ``weights`` are for a single model.
    scale: enlargement per side, of all models together; default: the model's first, or the product of the parts; with
        ``weights`` the first that these were trained for.
    variant: one of the model's variants; default: its first.
    pre_upsampler: a model that makes the first enlargement instead of bicubic, where the model begins with one.
    device: "auto" (a GPU when there is one), "cpu", "cuda", "cuda:1", "mps", ...
    precision: "auto" (bfloat16 where the hardware has it, else float32), "float32", "bfloat16", "float16". bfloat16
        is as good as float32 to a few thousandths of a dB in 8 bits; 16-bit images want "float32". Models that draw
        their result at random take "auto" for "float32".
    weights: a safetensors file instead of the ones that come with the model.
    patch: side in pixels of the image that a model gets, or "auto": as large as ``max_memory`` allows. At least four
        times what a patch loses on a side (halo or overlap): smaller ones would be all margin. With "mean" at least a
        pixel more than the overlap.
    mode: how patches are joined. "exact" gives what the whole image would give; "blend" fades neighbours into each
        other over ``overlap`` pixels; "mean" averages all that overlap; "auto" is exact wherever the model allows it.
    max_memory: bytes that one network call may use; default: a share of what is free, on a CPU at most 2 GiB.
    match_histogram: give each colour of the result the distribution of values that it has in the image (Johnson et
        al., ECCV 2016, section 4.2), against changed tones. It takes the whole image, whatever the patches are.
    Raises UnknownNameError, InputError, WeightsError.
    """
    chain = Chain.parse(model)
    if len(chain.models) > 1:
        _refuse_options_of_one(chain, variant=variant, pre_upsampler=pre_upsampler, weights=weights)
    chain = chain.at(resolve_scale(weights, scale, chain.scales) if weights else scale)
    if any(about.stochastic for about in chain.models):
        if len(chain.models) > 1:
            raise InputError(f"of {chain.name} one draws its result at random; such models work only by themselves")
        if match_histogram:
            raise InputError(
                f"{chain.models[0].name} draws its result at random, tones included; leave match_histogram out"
            )
        if (patch, mode, max_memory) != ("auto", "auto", None):
            raise InputError(f"{chain.models[0].name} takes images whole; leave patch, mode and max_memory out")
        precision = "float32" if precision == "auto" else precision  # the same seed, the same image on every machine
    cutting = Tiling(patch, mode, overlap, max_memory)
    torch_device = choose_device(device)
    hardware = torch_device, choose_precision(precision, torch_device)
    parts = zip(chain.models, chain.parts, strict=True)
    about = chain.describe()
    with torch.device("cpu"):  # whatever torch's default device is
        stages = tuple(_stage(about, part, hardware, variant, weights) for about, part in parts)
        if pre_upsampler is not None:
            pre_stage = _load_pre_upsampler(pre_upsampler, chain.models[0], chain.parts[0], hardware)
            stages = (_with_pre_upsampler(pre_stage, stages[0]),)
    if pre_upsampler is not None:
        about = replace(stages[0].model, name=f"{about.name}, pre_upsampler {registry().model(pre_upsampler).name}")
    if weights:
        _check_pre_upsampler(weights, pre_upsampler)
    scale = math.prod(chain.parts)
    return Upscaler(about, scale, stages, cutting, alpha=bicubic_stage(scale), match_histogram=match_histogram)


def upscale(image: Any, model: str | Sequence[str] = "vdsr", scale: int | None = None, *, device: str = "auto") -> Any:
    """Upscale one image: ``pysr.load(model, scale, device=device).upscale(image)``. See `Upscaler.upscale`."""
    return load(model, scale, device=device).upscale(image)


def resolve_scale(weights: str | PathLike[str], scale: int | None, offered: Sequence[int]) -> int | None:
    """The scale to use weights at: as asked for, or the first that they were trained for; None where nobody says."""
    trained = trained_scales(Path(weights))
    if scale is None:
        return next((candidate for candidate in trained if candidate in offered), None)
    if trained and scale not in trained:
        known = " ".join(map(str, trained))
        logger.warning("%s was trained for scale %s and is used at scale %s: worse results", weights, known, scale)
    return scale


def _check_pre_upsampler(weights: str | PathLike[str], pre_upsampler: str | None) -> None:
    """Warn of weights that learnt to go on from another enlargement than they get."""
    if (trained := read_metadata(Path(weights)).get("pysr.initial")) is None:
        return
    learnt, given = trained or "bicubic", registry().model(pre_upsampler or "bicubic").name
    if learnt != given:
        logger.warning(
            "%s was trained with the pre-upsampler %s and is used with %s: worse results", weights, learnt, given
        )


def _refuse_options_of_one(chain: Chain, **options: Any) -> None:
    if given := [name for name, value in options.items() if value is not None]:
        raise InputError(
            f"{' and '.join(given)} cannot be given for several models ({chain.name}), only for one; load them one by "
            "one, and upscale by one after the other"
        )


def _stage(
    about: Model,
    scale: int,
    hardware: Hardware,
    variant: str | None = None,
    weights: str | PathLike[str] | None = None,
) -> Stage:
    variant = choose(f"variant of {about.name}", variant, about.variants) if variant or about.variants else None
    network = _built(about, scale, variant)
    if chosen := weights or about.weights_for(scale, variant):
        load_weights(network, chosen if not isinstance(chosen, (str, PathLike)) else Path(chosen))
    elif any(True for _ in network.parameters()):
        training = f"`pysr train {about.name} --scale {scale} --data DIR --out DIR` makes one"
        raise InputError(
            f"{about.name} comes without weights for scale {scale}; give weights=, a safetensors file"
            + (f": {training}" if about.recipes else "")
        )
    return make_stage(about, scale, network, hardware)


def make_stage(
    about: Model, scale: int, network: nn.Module, hardware: Hardware, pre_upsampler: str | None = None
) -> Stage:
    """A network of a model, made ready: with its preprocessors, or with a model in place of the one that enlarges."""
    side = math.ceil((8 if about.stochastic else 32) / about.multiple_of) * about.multiple_of
    device, dtype = hardware
    runner = PreparedNetwork(
        network,
        device,
        torch.float32 if about.needs_float32 else dtype,
        (about.channels, side, side),
    )
    stage = Stage(about, scale, runner, _build_preprocessors(about))
    if not pre_upsampler:
        return stage
    return _with_pre_upsampler(_load_pre_upsampler(pre_upsampler, about, scale, hardware), stage)


def preprocessors_of(
    model: Model, scale: int, hardware: Hardware, pre_upsampler: str | None = None
) -> tuple[BoundPreprocessor, ...]:
    """Build a model's preprocessors, with a pre-upsampler in place of the one that enlarges, as `make_stage` does."""
    built = _build_preprocessors(model)
    if not pre_upsampler:
        return built
    return _in_place_of_enlarging(_load_pre_upsampler(pre_upsampler, model, scale, hardware), model, built)


def _build_preprocessors(model: Model) -> tuple[BoundPreprocessor, ...]:
    return tuple(BoundPreprocessor(p, p.build()) for p in map(registry().preprocessor, model.preprocess))


@cache
def bicubic_stage(scale: int) -> Stage:
    """Bicubic upscaling on the CPU in float32: how alpha is enlarged, whatever the model."""
    bicubic = registry().model("bicubic")
    with torch.device("cpu"):
        return make_stage(bicubic, scale, bicubic.network(scale, None), (torch.device("cpu"), torch.float32))


def _built(about: Model, scale: int, variant: str | None) -> nn.Module:
    try:
        with torch.no_grad():
            return about.network(scale, variant)
    except PysrError:
        raise
    except Exception as error:
        owner = registry().owner(about.name)
        raise PluginError(f"{owner} could not build the network of {about.name!r}: {error!r}") from error


def _load_pre_upsampler(name: str, model: Model, scale: int, hardware: Hardware) -> Stage:
    """The model that is to make the first enlargement for another one, loaded."""
    about, asking = registry().model(name), model.name
    if about.stochastic:
        raise InputError(f"{about.name} draws its result at random and works only by itself, not as a pre-upsampler")
    if not registry().enlarges_first(model):
        raise InputError(
            f"{asking} cannot take the pre-upsampler {about.name}: it begins with no enlargement (no preprocessor such "
            "as bicubic) that another model could make; leave it out"
        )
    if scale not in about.scales:
        offered = ", ".join(map(str, about.scales))
        raise InputError(
            f"{about.name} cannot be the pre-upsampler of {asking} at scale {scale}, as it offers only "
            f"{offered}; choose one of these, or another pre-upsampler"
        )
    return _stage(about, scale, hardware)


def _with_pre_upsampler(pre_upsampler: Stage, stage: Stage) -> Stage:
    """The stage with ``pre_upsampler`` in place of its enlarging preprocessor."""
    halo, model = pre_upsampler.halo, stage.model
    steps = _in_place_of_enlarging(pre_upsampler, model, stage.steps)
    model = replace(
        model,
        receptive_field=None if halo is None else model.receptive_field,
        multiple_of=math.lcm(model.multiple_of, pre_upsampler.model.multiple_of),
    )
    return replace(stage, model=model, steps=steps)


def _in_place_of_enlarging(
    pre_upsampler: Stage, model: Model, steps: Sequence[BoundPreprocessor]
) -> tuple[BoundPreprocessor, ...]:
    """A model's preprocessors with ``pre_upsampler`` as the one that enlarges."""
    run = PreUpsampler(pre_upsampler)
    about = Preprocessor(
        pre_upsampler.model.name, lambda: run, pre_upsampler.model.summary, reach=pre_upsampler.halo or 0, enlarges=True
    )
    step = BoundPreprocessor(about, run, pre_upsampler.bytes_per_pixel(1 if model.colour == "luma" else 3))
    return tuple(step if s.about.enlarges else s for s in steps)
