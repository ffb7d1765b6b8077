"""The way of the data: image in -> preprocess -> patches -> network -> blend -> image out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..atomic import FilePath
from ..errors import InputError, OutOfMemoryError
from ..imaging import files
from ..imaging.histogram import match_histogram
from ..imaging.image import Array, OpenedImage, open_image
from ..plugin import Model
from . import sampling
from .folder import FileJob, FileResult, FilesProgress, plan_folder
from .plan import Plan
from .stage import Stage
from .tiling import Progress, Tiling, device_of

_WHITE = {"uint8": 255, "uint16": 65535}


class Upscaler:
    """Loaded models, ready to use; stateless, so any number of threads may share one. Made by `pysr.load`.

    model: the model's description; for a chain or with a pre-upsampler model, one that names them all.
    scale: enlargement per side, of all stages together.
    """

    def __init__(
        self,
        model: Model,
        scale: int,
        stages: tuple[Stage, ...],
        cutting: Tiling,
        *,
        alpha: Stage,
        match_histogram: bool = False,
    ) -> None:
        self.model, self.scale = model, scale
        self._stages, self._cutting, self._alpha, self._match_histogram = stages, cutting, alpha, match_histogram

    def __repr__(self) -> str:
        return f"<Upscaler {self.model.name} x{self.scale} on {self.device} in {self.precision}>"

    @property
    def device(self) -> torch.device:
        """Where the networks run. Images may lie elsewhere; results lie where the image lay."""
        return self._stages[0].runner.device

    @property
    def precision(self) -> str:
        """How the networks compute: "float32", "bfloat16" or "float16"; of a chain the lowest."""
        dtype = min((stage.runner.dtype for stage in self._stages), key=lambda dtype: dtype.itemsize)
        return str(dtype).removeprefix("torch.")

    def upscale(self, image: Any, *, seed: int | None = None, progress: Progress | None = None) -> Any:
        """The image, ``scale`` times as large per side, as the same kind of object.

        image: a PIL image of mode 1, L, LA, P, I;16, RGB, RGBA or CMYK; a NumPy array (H, W) or (H, W, C), uint8,
            uint16, float16 or float32; a torch tensor (C, H, W) or (N, C, H, W), uint8, uint16, float16, bfloat16 or
            float32, on any device; or the path of an image file, which gives a PIL image, upright. C is 1 (gray),
            2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha). Floats are in [0, 1].
        Returns the same type, dtype, mode and device; floats are clipped to [0, 1], integers rounded half to even;
            between the models of a chain nothing is clipped or rounded.
            Alpha is enlarged by bicubic, and colours are bled into transparent pixels first, so edges stay clean.
        seed: for models that draw their result at random: another seed, another result; default: 0.
        progress: called as progress(done, total) after each patch; an exception raised in it ends the work.
        Raises InputError for images that cannot be used, OutOfMemoryError when even the smallest patch does not fit.
        """
        if self.model.stochastic:
            return self._draw(image, sampling.SamplingParams.checked(seed=seed or 0), progress=progress)[0]
        if seed is not None:
            raise InputError(f"{self.model.name} draws nothing at random; leave the seed out")
        opened = _opened(image)
        parts = opened.parts(self.scale)
        plans = [self._plans(planes.shape) for planes, _ in parts]
        reports = _shares(progress, [math.prod(cut.shape) for cuts in plans for cut in cuts])
        for (planes, out), cuts in zip(parts, plans, strict=True):
            self._upscale_planes(planes, out, cuts, reports)
            if self._match_histogram:
                match_histogram(out, planes)
        return self._finish(opened)

    def sample(
        self,
        image: Any,
        n: int = 16,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        known: Any = None,
        mask: Any = None,
        progress: Progress | None = None,
    ) -> Any:
        """``n`` results that the model draws at random, for models that do (`Model.stochastic`).

        image: as `upscale` takes it. seed: the same gives the same results; the first is what `upscale` gives.
        temperature: divides the logits: below 1 safer results, 0 the likeliest value of every sub-pixel in turn.
        known: an image of the result's size, of which the pixels where ``mask``, bool (H, W) or a PIL image of mode 1,
            is True are kept, while the others are drawn to fit them.
        Returns n of what `upscale` returns: a list of PIL images, one array (n, H, W) or (n, H, W, C), or one tensor
            (n, C, H, W) or (n, N, C, H, W).
        progress: called as progress(done, total) now and then; an exception raised in it ends the work.
        Raises InputError for models that draw nothing at random and for arguments that cannot be used.
        """
        results = self._draw(image, sampling.SamplingParams.checked(n, seed, temperature), known, mask, progress)
        if isinstance(results[0], np.ndarray):
            return np.stack(results)
        return torch.stack(results) if isinstance(results[0], Tensor) else results

    def uncertainty(self, image: Any, n: int = 16, *, seed: int = 0, temperature: float = 1.0) -> NDArray[np.float32]:
        """How much ``n`` samples of an image differ, pixel by pixel: (H, W) or, for a batch, (N, H, W).

        Standard deviations over the samples, in units of white, 0 to 0.5: the root of the colours' mean variance.
        Arguments and errors: as for `sample`.
        """
        stage, opened, draw = self._stochastic(), _opened(image), sampling.SamplingParams.checked(n, seed, temperature)
        drawn = [sampling.samples(stage, planes, draw, None, None) for planes, _ in opened.parts(self.scale)]
        if isinstance(image, Tensor) and image.ndim == 4:
            return np.stack([sampling.sample_std(samples).numpy() for samples in drawn])
        return sampling.sample_std(torch.cat(drawn, 1)).numpy()

    def bits_per_dim(self, low: Any, high: Any) -> float:
        """What the model needs to tell ``high`` when it knows ``low``: bits per sub-pixel; the mean over a batch.

        low, high: images as `upscale` takes them, of the same kind; ``high`` is ``scale`` times as large, in 8 bits. A
        sub-pixel is one that the model draws: gray counts as RGB for a model of RGB. 8 is what it takes without a
        model. Raises InputError for models that have no likelihood, for wrong sizes and for different kinds.
        """
        stage, small, large = self._stochastic(), _opened(low), _opened(high)
        wanted = small.size[0] * self.scale, small.size[1] * self.scale
        if large.size != wanted:
            raise InputError(
                f"high is {large.size[1]} x {large.size[0]} pixels; for this low it must be {wanted[1]} x {wanted[0]}"
            )
        lows, highs = ([planes for planes, _ in opened.parts(1)] for opened in (small, large))
        if [len(planes) for planes in lows] != [len(planes) for planes in highs]:
            raise InputError("low and high are of different kinds; give both as gray or RGB, and batches of one size")
        return fmean(sampling.bits_per_dim(stage, *pair) for pair in zip(lows, highs, strict=True))

    def _stochastic(self) -> Stage:
        if not self.model.stochastic:
            raise InputError(f"{self.model.name} draws nothing at random; use upscale, or a model that samples")
        return self._stages[0]

    def _draw(
        self,
        image: Any,
        draw: sampling.SamplingParams,
        known: Any = None,
        mask: Any = None,
        progress: Progress | None = None,
    ) -> list[Any]:
        """The results of `sample`, each by itself."""
        stage, opened = self._stochastic(), _opened(image)
        known = _opened(known) if known is not None else None
        parts = opened.parts(self.scale)
        size = opened.size[0] * self.scale, opened.size[1] * self.scale
        reports = _shares(progress, [math.prod(size)] * len(parts))
        drawn = [
            sampling.samples(stage, planes, draw, sampling.given(known, mask, size, len(planes)), next(reports))
            for planes, _ in parts
        ]
        results = []
        for number in range(draw.n):
            for (_, out), images in zip(opened.parts(self.scale), drawn, strict=True):
                sampling.write(images[number], out)
            results.append(self._finish(opened))
        return results

    def _finish(self, opened: OpenedImage) -> Any:
        """The result, now that its colours are filled: alpha is enlarged by bicubic."""
        for alpha, out in opened.alphas(self.scale):
            white = _WHITE.get(str(alpha.dtype).removeprefix("torch."), 1)
            if (alpha == white).all():  # opaque, as most are
                out[:] = white
            else:
                tiles = Tiling()
                tiles.enlarge(self._alpha, alpha, out, tiles.plan(self._alpha, alpha.shape))
        return opened.result()

    def upscale_file(
        self, source: str | PathLike[str], target: str | PathLike[str], *, progress: Progress | None = None
    ) -> tuple[int, int]:
        """Read an image file, upscale it and write it, (width, height) large; the target's extension says the format.

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
        return size

    def upscale_folder(
        self,
        source: FilePath,
        target: FilePath,
        *,
        format: str | None = None,
        suffix: str | None = None,
        progress: Progress | None = None,
    ) -> Iterator[FileResult]:
        """Upscale every image in a folder into another folder, one by one as the results are taken.

        Args:
            source: Folder of images. Sub-folders, hidden files and files of other kinds are left out.
            target: Folder for the results, created if missing. An existing result is replaced.
            format: Ending of the results, such as "png". Default: the input's (PNG if pysr cannot write that).
            suffix: Appended to each name as NAME_SUFFIX.EXT. Default: nothing.
            progress: Called as progress(done, total), in pixels of output of all files, at the start of each file and
                after each patch; an exception raised in it ends the work.

        Returns:
            One result per file, in the order of their names. An error of one file is in its result and is not raised.

        Raises:
            InputError: At once, if ``source`` has no images, ``format`` cannot be written, a file of ``source`` would
                be overwritten, or two files would become one.
        """
        return self.upscale_files(plan_folder(source, target, format=format, suffix=suffix), progress=progress)

    def upscale_files(self, jobs: Sequence[FileJob], *, progress: Progress | None = None) -> Iterator[FileResult]:
        """Upscale planned files one by one; see `upscale_folder`."""
        reports = FilesProgress(progress, [job.source for job in jobs], self.scale) if progress else None
        for number, job in enumerate(jobs):
            report = reports.of(number) if reports else None
            size, failure, started = None, None, time.perf_counter()
            try:
                job.target.parent.mkdir(parents=True, exist_ok=True)
                size = self.upscale_file(job.source, job.target, progress=report)
            except Exception as error:
                if reports and error is reports.error:
                    raise
                failure = error
            yield FileResult(job.source, job.target, size, time.perf_counter() - started, failure)

    def _plans(self, shape: Sequence[int]) -> list[Plan]:
        """Where each stage cuts, for planes of shape (C, H, W)."""
        channels, height, width = shape
        plans = []
        for stage in self._stages:
            plans.append(self._cutting.plan(stage, (channels, height, width)))
            height, width = plans[-1].output_shape
        return plans

    def _upscale_planes(
        self, planes: Array, out: Array, plans: Sequence[Plan], reports: Iterator[Progress | None]
    ) -> None:
        """Fill ``out`` (C, H * scale, W * scale) from ``planes`` (C, H, W), one stage after the other."""
        for number, (stage, cut) in enumerate(zip(self._stages, plans, strict=True), 1):
            last = number == len(plans)
            result = out if last else _empty(len(planes), cut.output_shape, device_of(planes))
            self._cutting.enlarge(stage, planes, result, cut, progress=next(reports), clip=last)
            planes = result


def _opened(image: Any) -> OpenedImage:
    """An image, or the file of a path."""
    return open_image(files.read_image(Path(image)) if isinstance(image, (str, PathLike)) else image)


def _shares(progress: Progress | None, sizes: Sequence[int]) -> Iterator[Progress | None]:
    """For each piece of the work, in order, a callback that reports its share of the whole; sizes: their patches."""
    before, total = 0, sum(sizes)
    for size in sizes:

        def report(done: int, of: int, before: int = before, size: int = size) -> None:
            assert progress
            progress(before + done * size // of, total)

        yield report if progress else None
        before += size


def _empty(channels: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """Room for what one stage hands to the next, float32."""
    try:
        return torch.empty(channels, *size, dtype=torch.float32, device=device)
    except RuntimeError as error:
        raise OutOfMemoryError(
            f"what one model of the chain hands to the next, {size[1]} x {size[0]} pixels, does not fit into memory; "
            "choose a smaller scale, or upscale parts of the image"
        ) from error
