"""The way of the data: image in -> preprocess -> patches -> network -> blend -> image out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from . import files
from .errors import InputError, OutOfMemory, PluginError, PysrError
from .image import Array, open_image
from .kernels import blend_patches, extract_patches
from .memory import budget, fit_patch, is_out_of_memory, smallest_patch
from .patches import Mode, Plan, plan
from .plugin import Model, Preprocess, Preprocessor
from .precision import Runner, choose_device, choose_precision
from .registry import registry
from .steps import Resampler
from .weights import load_weights

logger = logging.getLogger("pysr")

Progress = Callable[[int, int], None]
OVERLAP = 16  # pixels of the low-resolution image that neighbouring patches share in the modes "blend" and "mean"
_WHITE = {"uint8": 255, "uint16": 65535}
GRAY = (0.299, 0.587, 0.114)  # BT.601 luma of full-range RGB: what a gray image gets back from a colour network


@dataclass(frozen=True)
class Step:
    """A preprocessor, built: its description and its two halves."""

    about: Preprocessor
    run: Preprocess


def load(
    model: str,
    scale: int | None = None,
    *,
    variant: str | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    weights: str | PathLike[str] | None = None,
    patch: int | Literal["auto"] = "auto",
    mode: Mode | Literal["auto"] = "auto",
    overlap: int = OVERLAP,
    max_memory: int | None = None,
) -> Upscaler:
    """Load a model once, to upscale any number of images.

    model: a name or alias from `pysr.models`. scale: enlargement per side; default: the model's first.
    variant: one of the model's variants; default: its first.
    device: "auto" (a GPU when there is one), "cpu", "cuda", "cuda:1", "mps", ...
    precision: "auto" (bfloat16 where the hardware has it, else float32), "float32", "bfloat16", "float16". bfloat16
        is as good as float32 to a few thousandths of a dB in 8 bits; 16-bit images want "float32".
    weights: a safetensors file instead of the ones that come with the model.
    patch: side in pixels of the low-resolution image, or "auto": as large as ``max_memory`` allows. At least four
        times what a patch loses on a side (halo or overlap): smaller ones would be all margin.
    mode: how patches are joined. "exact" gives what the whole image would give; "blend" fades neighbours into each
        other over ``overlap`` pixels; "mean" averages all that overlap; "auto" is exact wherever the model allows it.
    max_memory: bytes that one network call may use; default: a share of what is free, on a CPU at most 2 GiB.
    Raises UnknownModel, InputError, WeightsError.
    """
    about = registry().model(model)
    scale = _choose(f"scale of {about.name}", scale, about.scales)
    variant = _choose(f"variant of {about.name}", variant, about.variants) if variant or about.variants else None
    torch_device = choose_device(device)
    dtype = choose_precision(precision, torch_device)
    steps = tuple(Step(p, p.build()) for p in map(registry().preprocessor, about.preprocess))
    network = _built(about, scale, variant)
    if chosen := weights or about.weights.get(scale) or about.weights.get((scale, variant or "")):
        load_weights(network, chosen if not isinstance(chosen, (str, PathLike)) else Path(chosen))
    elif any(True for _ in network.parameters()):
        raise InputError(f"{about.name} comes without weights for scale {scale}; give weights=, a safetensors file")
    side = math.ceil(32 / about.multiple_of) * about.multiple_of
    runner = Runner(network, torch_device, dtype, (3 if about.colour == "rgb" else 1, side, side))
    return Upscaler(about, scale, runner, steps, Cutting(patch, mode, overlap, max_memory))


def _built(about: Model, scale: int, variant: str | None) -> nn.Module:
    try:
        with torch.no_grad():
            return about.network(scale, variant)
    except PysrError:
        raise
    except Exception as error:
        owner = registry().owner(about.name)
        raise PluginError(f"{owner} could not build the network of {about.name!r}: {error!r}") from error


def _choose(what: str, given: Any, allowed: tuple[Any, ...]) -> Any:
    if given is None:
        return allowed[0]
    if given not in allowed:
        raise InputError(f"{what} is {given!r}; it can be {', '.join(map(str, allowed)) or 'nothing'}")
    return allowed[allowed.index(given)]  # 2, where 2.0 was given


@dataclass(frozen=True)
class Cutting:
    """What the user said about patches: see `load`."""

    patch: int | Literal["auto"]
    mode: Mode | Literal["auto"]
    overlap: int
    max_memory: int | None

    def __post_init__(self) -> None:
        if self.patch != "auto" and (not isinstance(self.patch, int) or self.patch < 1):
            raise InputError(f"patch is {self.patch!r}; give 'auto' or a positive number of pixels")
        if self.mode not in ("auto", "exact", "blend", "mean"):
            raise InputError(f"mode is {self.mode!r}; it can be auto, exact, blend or mean")
        if not isinstance(self.overlap, int) or self.overlap < 0:
            raise InputError(f"overlap is {self.overlap!r}; give 0 or more whole pixels")
        if self.max_memory is not None and (not isinstance(self.max_memory, int) or self.max_memory < 1):
            raise InputError(f"max_memory is {self.max_memory!r}; give a positive number of bytes")


class Upscaler:
    """A loaded model, ready to use; stateless, so any number of threads may share one. Made by `pysr.load`."""

    def __init__(self, model: Model, scale: int, runner: Runner, steps: tuple[Step, ...], cutting: Cutting) -> None:
        self.model, self.scale = model, scale
        self._runner, self._steps, self._cutting = runner, steps, cutting

    def __repr__(self) -> str:
        return f"<Upscaler {self.model.name} x{self.scale} on {self.device} in {self.precision}>"

    @property
    def device(self) -> torch.device:
        """Where the network runs. Images may lie elsewhere; results lie where the image lay."""
        return self._runner.device

    @property
    def precision(self) -> str:
        """How the network computes: "float32", "bfloat16" or "float16"."""
        return str(self._runner.dtype).removeprefix("torch.")

    def upscale(self, image: Any, *, progress: Progress | None = None) -> Any:
        """The image, ``scale`` times as large per side, as the same kind of object.

        image: a PIL image of mode 1, L, LA, P, I;16, RGB, RGBA or CMYK; a NumPy array (H, W) or (H, W, C), uint8,
            uint16, float16 or float32; a torch tensor (C, H, W) or (N, C, H, W), uint8, uint16, float16, bfloat16 or
            float32, on any device; or the path of an image file, which gives a PIL image, upright. C is 1 (gray),
            2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha). Floats are in [0, 1].
        Returns the same type, dtype, mode and device; floats are clipped to [0, 1], integers rounded half to even.
            Alpha is enlarged by bicubic, and colours are bled into transparent pixels first, so edges stay clean.
        progress: called as progress(done, total) after each patch; an exception raised in it ends the work.
        Raises InputError for images that cannot be used, OutOfMemory when even the smallest patch does not fit.
        """
        if isinstance(image, (str, PathLike)):
            image = files.read_image(Path(image))
        opened = open_image(image)
        parts = opened.parts(self.scale)
        if progress and len(parts) > 1:
            progress = _counting(progress, sum(math.prod(self._plan(planes.shape).shape) for planes, _ in parts))
        for planes, out in parts:
            self._upscale_planes(planes, out, progress)
        for alpha, out in opened.alphas(self.scale):
            white = _WHITE.get(str(alpha.dtype).removeprefix("torch."), 1)
            if (alpha == white).all():  # opaque, as most are
                out[:] = white
            else:
                _alpha(self.scale)._upscale_planes(alpha, out, None)
        return opened.result()

    def upscale_file(
        self, source: str | PathLike[str], target: str | PathLike[str], *, progress: Progress | None = None
    ) -> None:
        """Read an image file, upscale it and write it; the format is chosen by the target's extension.

        The target appears only when it is complete; an older file of that name is kept until then. The orientation
        noted by a camera is applied, the colour profile is kept. Raises InputError before any work when the target
        cannot take the result or is the source itself.
        """
        if Path(target).exists() and Path(source).exists() and Path(target).samefile(source):
            raise InputError(f"{target} is the input and would be overwritten; choose another name for the output")
        image = files.read_image(Path(source))
        size = image.width * self.scale, image.height * self.scale
        files.check_output(Path(target), size, image.mode, transparent=image.has_transparency_data)
        files.write_image(self.upscale(image, progress=progress), Path(target))

    def _upscale_planes(self, planes: Array, out: Array, progress: Progress | None) -> None:
        """Fill ``out`` (C, H * scale, W * scale) from ``planes`` (C, H, W), with smaller patches if memory runs out."""
        cut = self._plan(planes.shape)
        while True:
            failure = None
            try:
                return self._fill(planes, out, cut, progress)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failure = str(error)
            size = "{} x {}".format(*cut.patch)  # outside the except: the traceback held the tensors
            smaller = self._plan(planes.shape, area=math.prod(cut.patch) // 2)
            if math.prod(smaller.patch) >= math.prod(cut.patch):
                raise OutOfMemory(
                    f"upscaling ran out of memory even with patches of {size} pixels; close other programs or use "
                    f"device='cpu' ({failure})"
                )
            logger.warning("patches of %s pixels did not fit into memory; trying smaller ones", size)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            cut = smaller

    def _plan(self, shape: Sequence[int], area: float = math.inf) -> Plan:
        """Where to cut an image of shape (C, H, W); ``area``: at most so many pixels a patch."""
        channels, height, width = shape
        halo, mode, multiple_of = self._halo(), self._cutting.mode, self.model.multiple_of
        if mode == "auto":
            mode = "blend" if halo is None else "exact"
        if mode == "exact" and halo is None:
            raise InputError(f"{self.model.name} sees the whole image at once: use mode='blend' instead of 'exact'")
        overlap = 0 if mode == "exact" else self._cutting.overlap
        margin = (halo or 0) if mode == "exact" else overlap
        if self._cutting.patch == "auto":
            area = min(self._area(channels), area)
            size = fit_patch(height, width, area=area, halo=margin, multiple_of=multiple_of)
            if self._cutting.max_memory and math.prod(size) > self._area(channels):
                logger.warning("max_memory is too little even for patches of %d x %d pixels; using those", *size)
        else:
            side = self._cutting.patch if area == math.inf else min(self._cutting.patch, math.isqrt(int(area)))
            size = (max(side, smallest_patch(margin, multiple_of)),) * 2
        logger.debug("patches of %d x %d pixels, mode %s, halo %s", *size, mode, halo)
        return plan(height, width, scale=self.scale, patch=size, halo=halo or 0, overlap=overlap, mode=mode,
                    multiple_of=multiple_of)  # fmt: skip

    def _halo(self) -> int | None:
        """Pixels of the image around a patch that its output depends on; None when unbounded."""
        halo = self.model.receptive_field
        if halo is None:
            return None
        for step in reversed(self._steps):
            halo = (math.ceil(halo / self.scale) if step.about.enlarges else halo) + step.about.reach
        return max(halo, *(step.about.after_reach for step in self._steps), 0)

    def _fill(self, planes: Array, out: Array, cut: Plan, progress: Progress | None) -> None:
        bands: dict[int, Tensor] = {}  # the outputs of those rows of patches that are still needed
        for strip in cut.strips():
            held = range(cut.oldest(strip.row), strip.row + 1)
            bands = {row: band for row, band in bands.items() if row in held}
            bands[strip.row] = self._band(planes, cut, strip.row, progress)
            blend_patches(
                list(bands.values()),
                [cut.rows.output_starts[row] for row in held],
                cut.rows.weights[held.start : held.stop],
                cut.columns.output_starts,
                cut.columns.weights,
                rows=(strip.first, strip.last),
                out=out[:, strip.first : strip.last],
                clip=True,
            )

    def _band(self, planes: Array, cut: Plan, row: int, progress: Progress | None) -> Tensor:
        """The outputs of one row of patches, (K, C, h * scale, w * scale) float32, where the image lies."""
        origins = cut.origins(row)
        place = planes.device if isinstance(planes, Tensor) else torch.device("cpu")
        batch = 1 if self.device.type == "cpu" else max(1, int(self._area(len(planes)) // math.prod(cut.patch)))
        band: Tensor | None = None
        for first in range(0, len(origins), batch):
            group = origins[first : first + batch]
            output = self._process(extract_patches(planes, group, cut.patch)).to(place)
            if len(group) == len(origins):
                band = output
            else:
                band = output.new_empty(len(origins), *output.shape[1:]) if band is None else band
                band[first : first + len(group)] = output
            if progress:
                progress(row * len(origins) + first + len(group), math.prod(cut.shape))
        assert band is not None
        return band

    def _area(self, channels: int) -> float:
        """Pixels of the image that one network call has the memory for, its input and output included."""
        enlarged = self.scale**2 if any(step.about.enlarges for step in self._steps) else 1
        networks = channels if self.model.colour == "any" else 1
        per_pixel = self._runner.bytes_per_pixel * enlarged * networks + 8 * channels * (1 + self.scale**2)
        return budget(self.device, self._cutting.max_memory) / per_pixel

    @torch.inference_mode()
    def _process(self, windows: Tensor) -> Tensor:
        """(N, C, h, w) windows of an image -> (N, C, h * scale, w * scale), both float32."""
        planes = windows = windows.to(self.device)
        memories = []
        with torch.autocast(self.device.type, enabled=False):  # the caller's is not ours
            for step in self._steps:
                planes, memory = step.run.before(planes, self.scale)
                memories.append(memory)
            planes = self._network(planes)
            for step, memory in zip(reversed(self._steps), reversed(memories), strict=True):
                planes = step.run.after(planes, memory, self.scale)
        self._check(windows, planes)
        return planes

    def _network(self, planes: Tensor) -> Tensor:
        """The network on any number of planes: gray images through a colour network, and each plane through "any"."""
        count, channels, *side = planes.shape
        if self.model.colour == "rgb" and channels == 1:
            colour: Tensor = self._runner(planes.expand(-1, 3, -1, -1))
            return (colour * colour.new_tensor(GRAY).view(3, 1, 1)).sum(1, keepdim=True)
        if self.model.colour == "any" and channels != 1:
            output: Tensor = self._runner(planes.reshape(count * channels, 1, *side))
            return output.reshape(count, channels, *output.shape[2:])
        return self._runner(planes)

    def _check(self, windows: Tensor, output: Tensor) -> None:
        count, channels, height, width = windows.shape
        wanted = (count, channels, height * self.scale, width * self.scale)
        who = f"the model {self.model.name!r} of {registry().owner(self.model.name)}"
        if output.shape != wanted:
            raise PluginError(f"{who} gave {tuple(output.shape)} for an input of {tuple(windows.shape)}, not {wanted}")
        if not torch.isfinite(output).all():
            hint = "" if self.precision == "float32" else "; try precision='float32'"
            raise PluginError(f"{who} gave NaN or infinite pixels in {self.precision}{hint}")


def _counting(progress: Progress, total: int) -> Progress:
    """For several parts of one image: counts every call, whatever the parts count."""
    calls = count(1)
    return lambda done, of: progress(min(next(calls), total), total)


def _alpha(scale: int) -> Upscaler:
    """Enlarges alpha by bicubic."""
    about = registry().model("bicubic")
    runner = Runner(Resampler("bicubic", scale), torch.device("cpu"), torch.float32, (1, 8, 8))
    return Upscaler(about, scale, runner, (), Cutting("auto", "exact", 0, None))


def upscale(image: Any, model: str = "vdsr", scale: int | None = None, *, device: str = "auto") -> Any:
    """Upscale one image: ``pysr.load(model, scale, device=device).upscale(image)``. See `Upscaler.upscale`."""
    return load(model, scale, device=device).upscale(image)
