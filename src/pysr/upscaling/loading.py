"""Loading: names to an `Upscaler`, with networks, weights, device and precision."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any, overload

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ..atomic import FilePath
from ..errors import InputError
from ..namespaces import AUTO
from ..ops.hardware import choose_device, choose_precision
from ..ops.host import own_defaults
from ..plugin import Model, Preprocessor
from ..registry import registry
from ..torch_defaults import preserve_torch_defaults
from .auto import AutoUpscaler, auto_scale
from .blame import blamed
from .chain import Chain, ModelName, validate_choice
from .memory import memory_errors_named
from .model_files import find_model
from .opening import ImageFile, ImageLike, PixelArray
from .openvino_network import choose_backend
from .plan import round_up
from .quantization import calibration_files, quantized
from .runner import ForeignNetwork, PreparedNetwork
from .stage import BoundPreprocessor, PreUpsampler, Stage
from .strength import with_strength
from .tiling import Tiling
from .upscaler import Pixel, Upscaler
from .weights import load_weights, read_metadata, resolve_scale

Hardware = tuple[torch.device, torch.dtype]
PROBE_SIDE = 32  # pixels a side of the input for calibration: larger than any kernel, and quick
SAMPLER_PROBE_SIDE = 8  # likewise, for networks that draw sub-pixel by sub-pixel, which is slow
AUTOMATIC = Tiling()
logger = logging.getLogger("pysr")


@memory_errors_named("a model was loaded", "or choose a smaller one")
def load(
    model: ModelName | Sequence[ModelName],
    scale: int | None = None,
    *,
    variant: str | None = None,
    pre_upsampler: ModelName | None = None,
    weights: str | PathLike[str] | None = None,
    strength: float | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    calibration: FilePath | None = None,
    backend: str = "auto",
    tiling: Tiling = AUTOMATIC,
    match_histogram: bool = False,
    ensemble: bool = False,
) -> Upscaler:
    """Load a model once, to upscale any number of images.

    ``variant``, ``pre_upsampler``, ``weights`` and ``strength`` belong to one model and need a single name; the other
    options apply to whatever models are loaded.

    Args:
        model: A name or alias from `pysr.models`; "auto" to choose one for each image, by how its file was compressed;
            or several models, each of which enlarges the result of the one before it: ``["srcnn", "vdsr"]`` in equal
            parts, ``["vdsr:2", "vdsr:3"]`` in given parts; ``"srcnn+vdsr"`` and ``"vdsr:2+vdsr:3"`` mean the same. In a
            name's place there may be a model file's path, or its name in a folder that ``PYSR_MODELS`` names; an
            installed plugin must read such files (`pysr.plugin.ModelReader`).
        scale: Enlargement per side, of all models together; by default the model's first (2 for "auto"), the product of
            the parts, or the first that ``weights`` were trained for.
        variant: One of the model's variants; by default its first.
        pre_upsampler: A model that replaces bicubic in the enlargement with which the model starts, if it has one.
        weights: A safetensors file to use in place of the weights shipped with the model.
        strength: How much a model that is made for compressed images does: 1, the default, is the model itself, and 0
            a model for clean images. Few models have it (`Model.strength_from`).
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps", ...
        precision: "auto" (bfloat16 where the hardware has it, else float32), "float32", "bfloat16", "float16"; "int8",
            computed by OpenVINO, is nearly twice as fast as bfloat16. bfloat16 is as good as float32 to thousandths of
            a dB in 8 bits; for 16-bit images use "float32". For models that draw at random, "auto" is "float32".
        calibration: For "int8": a folder of images. Its network is adjusted to them, and refused if it loses more than
            0.05 dB on them, reduced and enlarged again.
        backend: What computes networks on a CPU: "torch"; "openvino" (the extra ``[openvino]``; ONNX files, too), which
            is faster but loads longer; or "auto": OpenVINO if installed and as exact as torch. The log tells which.
        tiling: How images are cut into patches; by default whatever is exact and fits into memory.
        match_histogram: Whether to match the histogram of each colour channel to that of the image (Johnson et al.,
            ECCV 2016, section 4.2), against changed tones. The whole image is matched at once, however it is tiled.
        ensemble: Whether to average over the eight flips and quarter turns of the image ("geometric self-ensemble",
            Timofte et al., CVPR 2016; marked "+" after a model's name in papers): slightly more accurate, for eight
            times the work.

    Returns:
        The model, ready for use.

    Raises:
        UnknownNameError: No such model is installed.
        InputError: An option cannot be used, alone or with the others; or a model file holds no model that can be read.
        WeightsError: Weights are missing, damaged or for another network.
        PluginError: A plugin fails to build its network, or to read a model file.
        OutOfMemoryError: There is no room for the model.
    """
    own = {"variant": variant, "pre_upsampler": pre_upsampler, "weights": weights, "strength": strength}
    if model == AUTO:
        _refuse_options_of_one("the choice among all models ('auto')", "name one model", own)
        load_model = partial(
            load,
            calibration=calibration,
            backend=backend,
            tiling=tiling,
            match_histogram=match_histogram,
            ensemble=ensemble,
        )
        return _load_auto(scale, device, precision, load_model)
    chain = Chain.parse(model)
    if len(chain.models) > 1:
        whole = f"several models ({chain.name}), only for one"
        _refuse_options_of_one(whole, "load the models separately and apply them in turn", own)
    chain = chain.at(resolve_scale(weights, scale, chain.scales) if weights else scale)
    if any(spec.stochastic for spec in chain.models):
        _check_stochastic(chain, tiling, precision, match_histogram=match_histogram, ensemble=ensemble)
        precision = "float32" if precision == "auto" else precision  # the same seed, the same image on every machine
    files = calibration_files(precision, calibration, backend)
    torch_device = choose_device(device)
    hardware = torch_device, choose_precision(precision, torch_device)
    spec = chain.describe()
    with own_defaults():
        stages = tuple(
            _load_stage(part, part_scale, hardware, variant, weights, strength, backend)
            for part, part_scale in zip(chain.models, chain.parts, strict=True)
        )
        if pre_upsampler is not None:
            first = _load_pre_upsampler(pre_upsampler, chain.models[0], chain.parts[0], hardware, backend)
            stages = (_with_pre_upsampler(first, stages[0]),)
            spec = replace(stages[0].model, name=f"{spec.name}, pre_upsampler {first.model.name}")
    stages = tuple(quantized(stage, files) if files else stage for stage in stages)
    if strength is not None:
        spec = replace(spec, name=f"{spec.name}, strength {strength:g}")
    _check_pre_upsampler(weights, pre_upsampler)
    if ensemble:
        stages = tuple(replace(stage, ensemble=True) for stage in stages)
        spec = replace(spec, name=f"{spec.name}, ensemble")
    scale = math.prod(chain.parts)
    return Upscaler(spec, scale, stages, tiling, alpha=bicubic_stage(scale), match_histogram=match_histogram)


@overload
def upscale(
    image: Image.Image | ImageFile,
    model: ModelName | Sequence[ModelName] = "auto",
    scale: int | None = None,
    *,
    device: str | torch.device = "auto",
) -> Image.Image: ...
@overload
def upscale(
    image: NDArray[Pixel],
    model: ModelName | Sequence[ModelName] = "auto",
    scale: int | None = None,
    *,
    device: str | torch.device = "auto",
) -> NDArray[Pixel]: ...
@overload
def upscale(
    image: Tensor,
    model: ModelName | Sequence[ModelName] = "auto",
    scale: int | None = None,
    *,
    device: str | torch.device = "auto",
) -> Tensor: ...
def upscale(
    image: ImageLike,
    model: ModelName | Sequence[ModelName] = "auto",
    scale: int | None = None,
    *,
    device: str | torch.device = "auto",
) -> Image.Image | PixelArray:
    """Upscale one image: ``pysr.load(model, scale, device=device).upscale(image)``.

    Args:
        image: A PIL image, NumPy array, torch tensor, or an image file, by its path or open; see `Upscaler.upscale`.
        model: As in `load`.
        scale: As in `load`.
        device: As in `load`.

    Returns:
        The image, ``scale`` times as large per side, of the same type; for a file, a PIL image.

    Raises:
        PysrError: As for `load` and `Upscaler.upscale`.
    """
    return load(model, scale, device=device).upscale(image)


def _check_pre_upsampler(weights: str | PathLike[str] | None, pre_upsampler: ModelName | None) -> None:
    """Warn of weights that were trained with another pre-upsampler. The shipped ones were trained with bicubic."""
    if (trained := read_metadata(Path(weights)).get("pysr.initial") if weights else "bicubic") is None:
        return
    trained, used, file = trained or "bicubic", find_model(pre_upsampler or "bicubic").name, weights or "the network"
    if trained != used:
        logger.warning("%s was trained with the pre-upsampler %s, not %s; expect worse results", file, trained, used)


def _load_auto(
    scale: int | None, device: str | torch.device, precision: str, load_model: Callable[..., Upscaler]
) -> AutoUpscaler:
    scale, torch_device = auto_scale(scale), choose_device(device)
    hardware = torch_device, choose_precision(precision, torch_device)
    load_here = partial(load_model, scale=scale, device=device, precision=precision)
    return AutoUpscaler(scale, load_here, bicubic_stage(scale), hardware)


def _refuse_options_of_one(whole: str, remedy: str, options: Mapping[str, Any]) -> None:
    if given := [name for name, value in options.items() if value is not None]:
        raise InputError(f"{' and '.join(given)} cannot be given for {whole}; {remedy}")


def _check_stochastic(chain: Chain, tiling: Tiling, precision: str, *, match_histogram: bool, ensemble: bool) -> None:
    name = chain.models[0].name
    if len(chain.models) > 1:
        raise InputError(f"a model of {chain.name} draws its result at random; use that model by itself")
    if match_histogram:
        raise InputError(f"{name} draws its result at random, tones included; leave match_histogram out")
    if ensemble:
        raise InputError(f"{name} draws its result at random, and a mean of draws is not a draw; leave ensemble out")
    if precision == "int8":
        raise InputError(f"{name} draws its result at random, which is not done in int8; use precision='auto'")
    if tiling != AUTOMATIC:
        raise InputError(f"{name} processes the whole image at once; leave the tiling (patch, mode, max_memory) out")


def _load_stage(
    model: Model,
    scale: int,
    hardware: Hardware,
    variant: str | None = None,
    weights: str | PathLike[str] | None = None,
    strength: float | None = None,
    backend: str = "torch",
) -> Stage:
    """Load a model with its weights, shipped or from a file."""
    network, mixed_in = _load_network(model, scale, variant, weights), ""
    if strength is not None:
        load_clean, has_own = partial(_load_by_name, scale=scale), weights is not None
        network, mixed_in = with_strength(network, strength, model, scale, variant, load_clean, own_weights=has_own)
    chosen = Path(weights) if weights else model.weights_for(scale, variant or next(iter(model.variants), None))
    return replace(make_stage(model, scale, network, hardware, backend=backend), weights=chosen, mixed_in=mixed_in)


def _load_by_name(name: str, scale: int) -> nn.Module:
    return _load_network(registry().model(name), scale)


def _load_network(
    model: Model, scale: int, variant: str | None = None, weights: str | PathLike[str] | None = None
) -> nn.Module:
    variants = model.variants
    variant = validate_choice("variant", variant, variants, of=model.name) if variant or variants else None
    network = _build_network(model, scale, variant)
    if weights and model.file:
        raise InputError(f"{model.file} has its own weights; leave weights out, or give {weights} as the model")
    if chosen := Path(weights) if weights else model.weights_for(scale, variant):
        load_weights(network, chosen)
    elif not model.file and any(True for _ in network.parameters()):
        training = f"`pysr train {model.name} --scale {scale} --data DIR --out DIR` makes one"
        raise InputError(
            f"{model.name} comes without weights for scale {scale}; name a safetensors file as its weights"
            + (f": {training}" if model.recipes else "")
        )
    return network


def make_stage(
    model: Model,
    scale: int,
    network: nn.Module,
    hardware: Hardware,
    pre_upsampler: ModelName | None = None,
    *,
    backend: str = "torch",
) -> Stage:
    """Prepare a network for use, with its model's preprocessors.

    Args:
        model: The network's description; it need not be installed.
        scale: Enlargement per side.
        network: The model's network, with its weights; it is copied if torch computes it.
        hardware: The device, and the dtype in which to compute (float32 if the model needs that). Without effect on a
            network that torch does not compute.
        pre_upsampler: Name of a model to use in place of the preprocessor that enlarges.
        backend: What computes the network; see `load`.

    Raises:
        InputError: The pre-upsampler or the backend cannot be used.
    """
    with blamed(f"the network of the model {model.name!r} of {registry().owner(model.name)} failed on a small image"):
        runner = _prepare(model, network, hardware, backend)
    stage = Stage(model, scale, runner, _build_preprocessors(model), registry().owner(model.name))
    pre = _load_pre_upsampler(pre_upsampler, model, scale, hardware) if pre_upsampler else None
    return _with_pre_upsampler(pre, stage) if pre else stage


def probe_sides(model: Model) -> tuple[int, int]:
    """Return the (height, width) of a small input that the model's network takes."""
    least = max(SAMPLER_PROBE_SIDE if model.stochastic else PROBE_SIDE, model.minimum_size)
    return model.input_size or (round_up(least, model.multiple_of),) * 2


def _prepare(model: Model, network: nn.Module, hardware: Hardware, backend: str) -> PreparedNetwork:
    probe_shape, (device, dtype) = (model.channels, *probe_sides(model)), hardware
    dtype, backend = (choose_precision("auto", device), "openvino") if dtype == torch.int8 else (dtype, backend)
    if model.runtime != "torch":
        return choose_backend(network, ForeignNetwork(network, model.bytes_per_pixel), probe_shape, backend, model.name)
    runner = PreparedNetwork(network, device, torch.float32 if model.needs_float32 else dtype, probe_shape)
    if not model.stochastic:
        runner = choose_backend(network, runner, probe_shape, backend, model.name)
    runner.bytes_per_pixel = model.bytes_per_pixel or runner.bytes_per_pixel
    return runner


def preprocessors_of(
    model: Model, scale: int, hardware: Hardware, pre_upsampler: ModelName | None = None
) -> tuple[BoundPreprocessor, ...]:
    """Build a model's preprocessors, with a pre-upsampler in place of the one that enlarges, as `make_stage` does."""
    built = _build_preprocessors(model)
    pre = _load_pre_upsampler(pre_upsampler, model, scale, hardware) if pre_upsampler else None
    return _in_place_of_enlarging(pre, model, built) if pre else built


@cache
def bicubic_stage(scale: int) -> Stage:
    """Return bicubic upscaling on the CPU in float32: how alpha is enlarged, whatever the model."""
    bicubic = registry().model("bicubic")
    with own_defaults():
        return make_stage(bicubic, scale, bicubic.network(scale, None), (torch.device("cpu"), torch.float32))


def _build_preprocessors(model: Model) -> tuple[BoundPreprocessor, ...]:
    with blamed(f"a preprocessor of {model.name!r} could not be built"):
        return tuple(BoundPreprocessor(p, p.build()) for p in map(registry().preprocessor, model.preprocess))


def _build_network(model: Model, scale: int, variant: str | None) -> nn.Module:
    with blamed(f"{registry().owner(model.name)} could not build the network of {model.name!r}"):
        with preserve_torch_defaults():
            network = model.network(scale, variant)
        if not isinstance(network, nn.Module):
            raise TypeError(f"{type(network).__name__} is no torch.nn.Module")
        return network


def _load_pre_upsampler(name: ModelName, model: Model, scale: int, hardware: Hardware, backend: str = "torch") -> Stage:
    """Load the model ``name`` as the pre-upsampler of ``model``."""
    spec = find_model(name)
    if spec.stochastic:
        raise InputError(f"{spec.name} draws its result at random and cannot be a pre-upsampler; use it by itself")
    if not registry().enlarges_first(model):
        raise InputError(
            f"{model.name} cannot take the pre-upsampler {spec.name}: it has no enlarging preprocessor, such as "
            "bicubic, to replace; leave it out"
        )
    if scale not in spec.scales:
        offered = ", ".join(map(str, sorted(spec.scales)))
        raise InputError(
            f"{spec.name} cannot be the pre-upsampler of {model.name} at scale {scale}: it offers only {offered}; "
            "choose one of these, or another pre-upsampler"
        )
    return _load_stage(spec, scale, hardware, backend=backend)


def _with_pre_upsampler(pre_upsampler: Stage, stage: Stage) -> Stage:
    """Return the stage with ``pre_upsampler`` in place of its enlarging preprocessor."""
    model = replace(
        stage.model,
        receptive_field=None if pre_upsampler.halo is None else stage.model.receptive_field,
        multiple_of=math.lcm(stage.model.multiple_of, pre_upsampler.model.multiple_of),
        minimum_size=max(stage.model.minimum_size, pre_upsampler.model.minimum_size),
        input_size=stage.model.input_size or pre_upsampler.model.input_size,
    )
    return replace(stage, model=model, steps=_in_place_of_enlarging(pre_upsampler, model, stage.steps))


def _in_place_of_enlarging(
    pre_upsampler: Stage, model: Model, steps: Sequence[BoundPreprocessor]
) -> tuple[BoundPreprocessor, ...]:
    """Return a model's preprocessors with ``pre_upsampler`` as the one that enlarges."""
    name, summary = pre_upsampler.model.name, pre_upsampler.model.summary
    build = partial(PreUpsampler, pre_upsampler)
    spec = Preprocessor(name, build, summary, reach=pre_upsampler.halo or 0, enlarges=True)
    step = BoundPreprocessor(spec, build(), pre_upsampler.bytes_per_pixel(1 if model.colour == "luma" else 3))
    return tuple(step if s.spec.enlarges else s for s in steps)
