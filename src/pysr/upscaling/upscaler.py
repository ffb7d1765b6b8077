"""`Upscaler`: upscales colours by every stage in turn and alpha by bicubic, and returns the same kind of image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..atomic import FilePath
from ..errors import InputError
from ..files.output import DEFAULT, Output
from ..files.raster_rows import RasterRows
from ..files.streams import buffered, is_stream
from ..plugin import Model, Progress
from .file import upscale_file
from .file_jobs import FileResult
from .file_plan import FilePlan, plan_file
from .folder import plan_folder
from .jobs import Course, upscale_jobs
from .manifest import manifest_in
from .memory import memory_errors_named
from .opening import ImageFile, ImageLike, Mask, PixelArray, open_any
from .planes import upscale_planes
from .report import Report
from .row_upscaling import upscale_rows
from .sampling import Sampling, SamplingParams, bits_per_dim, gathered
from .stage import Stage
from .tiling import TiledStage, Tiling
from .windows import ArrayLike, gives_windows, upscale_windows

Pixel = TypeVar("Pixel", bound=np.generic)
Filled = TypeVar("Filled")


class Upscaler:
    """Loaded models, ready for use, made by `pysr.load`. Stateless: any number of threads may share one.

    Attributes:
        model: The model's description; for a chain, or with a pre-upsampler, a combined one that names all models.
        scale: Enlargement per side, of all models together.
    """

    def __init__(
        self,
        model: Model,
        scale: int,
        stages: Sequence[Stage],
        tiling: Tiling,
        *,
        alpha: Stage,
        match_histogram: bool = False,
    ) -> None:
        self.model, self.scale = model, scale
        self._stages = tuple(TiledStage(stage, tiling) for stage in stages)
        self._alpha = TiledStage(alpha, Tiling())
        self._match_histogram = match_histogram

    def __repr__(self) -> str:
        return f"<Upscaler {self.model.name} x{self.scale} on {self.device} in {self.precision}>"

    @property
    def device(self) -> torch.device:
        """Where the networks run. Images may be elsewhere; results are where the image was."""
        return self._stages[0].stage.runner.device

    @property
    def precision(self) -> str:
        """How the networks compute: "float32", "bfloat16" or "float16"; of a chain, the lowest."""
        dtype = min((tiled.stage.runner.dtype for tiled in self._stages), key=lambda dtype: dtype.itemsize)
        return str(dtype).removeprefix("torch.")

    def chosen_for(self, image: ImageLike | ArrayLike) -> Upscaler:
        """Return the upscaler that `upscale` uses for an image: itself, or of ``pysr.load("auto")`` the chosen one."""
        return self

    @property
    def _sampling(self) -> Sampling:
        return Sampling(self.model, self._stages, self._alpha, self.scale)

    @property
    def _whole_because(self) -> str | None:
        """Why an image must be in memory as a whole; None if `upscale_file` takes it row by row."""
        if self.model.stochastic:
            return f"{self.model.name} draws all of an image at once"
        return "histograms are matched, which takes all of the result" if self._match_histogram else None

    @overload
    def upscale(
        self, image: Image.Image | ImageFile, *, seed: int | None = None, progress: Progress | None = None
    ) -> Image.Image: ...
    @overload
    def upscale(
        self, image: NDArray[Pixel], *, seed: int | None = None, progress: Progress | None = None
    ) -> NDArray[Pixel]: ...
    @overload
    def upscale(self, image: Tensor, *, seed: int | None = None, progress: Progress | None = None) -> Tensor: ...
    @overload
    def upscale(
        self, image: ArrayLike, *, out: Filled, seed: int | None = None, progress: Progress | None = None
    ) -> Filled: ...
    @overload
    def upscale(
        self, image: ArrayLike, *, seed: int | None = None, progress: Progress | None = None
    ) -> NDArray[Any]: ...
    def upscale(
        self,
        image: ImageLike | ArrayLike,
        *,
        out: Any = None,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Upscale an image.

        Floats are clipped to [0, 1], integers rounded half to even; between the models of a chain nothing is clipped or
        rounded. Alpha is enlarged by bicubic. Colours are bled into transparent pixels first, so that edges stay clean.
        Neutral RGB (R = G = B everywhere, as in many scans) is enlarged as gray, except by models that draw in a style.

        Args:
            image: A PIL image of mode 1, L, LA, P, I;16, RGB, RGBA or CMYK; a NumPy array (H, W) or (H, W, C), uint8,
                uint16, float16 or float32; a torch tensor (C, H, W) or (N, C, H, W), uint8, uint16, float16, bfloat16
                or float32, on any device; or an image file, by its path or open for reading. C is 1 (gray), 2 (gray and
                alpha), 3 (RGB) or 4 (RGB and alpha). Floats are in [0, 1]. Arrays of Zarr, h5py and dask, too: whatever
                has a shape and a dtype and gives parts of itself as NumPy arrays is taken by bands of rows.
            out: An array (NumPy's, a memmap, Zarr's, h5py's) to be filled by bands, for images that are arrays; of the
                result's shape and the image's dtype. By default a new one is made.
            seed: For models that draw their result at random, 0 to 2^64 - 1; by default 0.
            progress: Called as progress(done, total) after each network call, in patches, or for a chain in
                multiplications, about; an exception that it raises stops the work.

        Returns:
            The image, ``scale`` times as large per side: of the same type, dtype, mode and device; for a file, an
            upright PIL image, in full colour if the file has a palette; ``out``, if that is given.

        Raises:
            InputError: The image or ``out`` cannot be used, or a seed is given for a model that draws nothing.
            OutOfMemoryError: Even the smallest patch, or the result, does not fit into memory.
            PluginError: The model breaks its contract.
        """
        if is_stream(image):
            image = buffered(image)
        chosen = self.chosen_for(image)
        work = partial(chosen._upscale, seed=seed, progress=progress)
        with memory_errors_named():
            if out is None and not gives_windows(image):
                return work(image)
            return upscale_windows(image, out, self.scale, work, chosen._whole_because)

    def _upscale(self, image: Any, seed: int | None, progress: Progress | None) -> Any:
        """As `upscale`, by this upscaler's own model; a raster gives a raster, and rows give rows."""
        if self.model.stochastic:
            return self._sampling.results(image, SamplingParams.checked(seed=seed or 0), progress=progress)[0]
        if seed is not None:
            raise InputError(f"{self.model.name} draws nothing at random; leave the seed out")
        if isinstance(image, RasterRows):
            return upscale_rows(image, self._stages, self._alpha, progress)
        return upscale_planes(open_any(image), self._stages, self._alpha, self._match_histogram, progress)

    @overload
    def sample(
        self,
        image: Image.Image | ImageFile,
        n: int = 16,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        known: ImageLike | None = None,
        mask: Mask | None = None,
        progress: Progress | None = None,
    ) -> list[Image.Image]: ...
    @overload
    def sample(
        self,
        image: NDArray[Pixel],
        n: int = 16,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        known: ImageLike | None = None,
        mask: Mask | None = None,
        progress: Progress | None = None,
    ) -> NDArray[Pixel]: ...
    @overload
    def sample(
        self,
        image: Tensor,
        n: int = 16,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        known: ImageLike | None = None,
        mask: Mask | None = None,
        progress: Progress | None = None,
    ) -> Tensor: ...
    def sample(
        self,
        image: ImageLike,
        n: int = 16,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        known: ImageLike | None = None,
        mask: Mask | None = None,
        progress: Progress | None = None,
    ) -> list[Image.Image] | PixelArray:
        """Draw several results, from a model that draws them at random (`Model.stochastic`).

        Args:
            image: As in `upscale`.
            n: Number of results, 1 or more.
            seed: 0 to 2^64 - 1; the same seed gives the same results. The first equals the result of `upscale`.
            temperature: Divides the logits, 1e-6 to 1e6: below 1, safer results; 0: greedy decoding.
            known: An image of the result's size; its pixels are kept where ``mask`` is True, and the others are drawn
                to fit them.
            mask: bool (H, W) array or tensor, or a PIL image of mode 1.
            progress: Called as progress(done, total) about every 50 ms; an exception that it raises stops the work.

        Returns:
            ``n`` results as `upscale` gives them: a list of PIL images, an array (n, H, W) or (n, H, W, C), or a tensor
            (n, C, H, W) or (n, N, C, H, W).

        Raises:
            InputError: The model draws nothing at random, or an argument cannot be used.
            OutOfMemoryError: That many results do not fit into memory.
        """
        params = SamplingParams.checked(n, seed, temperature)
        return gathered(self._sampling.results(image, params, known, mask, progress))

    def sample_each(
        self,
        images: Sequence[ImageLike],
        n: int = 16,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Draw several results for each of some images, which may differ in size: together, which is faster.

        Args:
            images: As in `upscale`, each.
            n: Number of results for each image; the other arguments, too, are as in `sample`.

        Returns:
            For each image what `sample` gives for it alone: result i of every image has the same random numbers.

        Raises:
            InputError, OutOfMemoryError: As for `sample`.
        """
        params = SamplingParams.checked(n, seed, temperature)
        return [gathered(results) for results in self._sampling.results_of_each(images, params, progress)]

    def uncertainty(
        self, image: ImageLike, n: int = 16, *, seed: int = 0, temperature: float = 1.0
    ) -> NDArray[np.float32]:
        """Measure how much ``n`` samples of an image differ, pixel by pixel.

        Args:
            image: As in `upscale`.
            n: Number of samples; seed and temperature are as in `sample`.

        Returns:
            (H, W), or (N, H, W) for a batch: standard deviations over the samples as a fraction of white, 0 to 0.5 (the
            root of the mean of the colours' variances).

        Raises:
            InputError, OutOfMemoryError: As for `sample`.
        """
        return self._sampling.uncertainty(image, SamplingParams.checked(n, seed, temperature))

    def bits_per_dim(self, low: ImageLike, high: ImageLike) -> float:
        """Negative log-likelihood of ``high`` given ``low``, in bits per dimension (a uniform model scores 8).

        A dimension is a sub-pixel that the model draws: gray counts as RGB for a model of RGB.

        Args:
            low: An image as in `upscale`.
            high: An image of the same kind, ``scale`` times as large, in 8 bits.

        Returns:
            Bits per dimension; for a batch, the mean.

        Raises:
            InputError: The model has no likelihood, or the images have wrong sizes or differ in kind.
        """
        return bits_per_dim(self._sampling.stage, open_any(low), open_any(high))

    def upscale_file(
        self,
        source: ImageFile,
        target: ImageFile,
        *,
        output: Output = DEFAULT,
        progress: Progress | None = None,
    ) -> Report:
        """Read an image file, upscale it and write it.

        The target appears only when it is complete; an older file of that name is kept until then. The orientation
        noted by a camera is applied. What the file says beside its pixels (EXIF, XMP, IPTC, colour profile, texts, ...)
        is kept and made true of the result. What the target's format cannot hold, such as transparency in JPEG, is
        converted or left out, and the log and the report say so. A file made by ``pysr shrink`` gets its original's
        size back, to the pixel; where the note of it contradicts the file or the scale, a warning is logged instead.
        All frames of an animation are upscaled into GIF, PNG or WebP, and all pages of a TIFF file into TIFF.

        Args:
            source: An image file (for fsspec, too: "s3://bucket/1.png"), or one that is open for reading as binary.
            target: The file to write; its extension determines the format. Or one that is open for writing; that gets
                the source's format, or PNG if pysr cannot write that.
            output: What the file is to be like: format, quality, size and so on.
            progress: As in `upscale`.

        Returns:
            What became of the file: ``size``, ``seconds``, ``model``; ``kept``, ``changed`` and ``dropped`` name the
            metadata, and why; ``warnings`` are what the log warned of; ``as_dict()`` gives it for JSON.

        Raises:
            InputError: Before any work, if the source cannot be read, or the target cannot hold the result or is the
                source itself.
            OutOfMemoryError: As for `upscale`.
            PluginError: As for `upscale`.
        """
        source = buffered(source)
        chosen = self.chosen_for(source)
        with memory_errors_named():
            return upscale_file(
                lambda raster, progress: chosen._upscale(raster, None, progress),
                *(self.scale, source, target, output),
                model=chosen.model.name,
                by_rows=chosen._whole_because is None,
                progress=progress,
            )

    def plan(self, source: ImageFile, target: ImageFile, *, output: Output = DEFAULT) -> FilePlan:
        """Tell what `upscale_file` would do with these arguments, without doing it; see also ``pysr plan``.

        Args:
            source: As in `upscale_file`.
            target: As in `upscale_file`.
            output: As in `upscale_file`.

        Returns:
            What is known from the file's header: sizes, patches, formats, metadata; and estimates of memory and time,
            these from patches of noise that are upscaled. ``as_dict()`` gives it for JSON.

        Raises:
            InputError: The source cannot be read, or a choice contradicts another. What the target cannot hold is no
                error, but the plan's ``problem``.
        """
        chosen = self.chosen_for(source := buffered(source))
        return plan_file(chosen._stages, source, target, output, chosen.precision, chosen._whole_because)

    def upscale_folder(
        self,
        source: FilePath,
        target: FilePath,
        *,
        format: str | None = None,
        suffix: str | None = None,
        output: Output = DEFAULT,
        recursive: bool = False,
        workers: int = 1,
        resume: bool = False,
        skip_existing: bool = False,
        progress: Progress | None = None,
    ) -> Iterator[FileResult]:
        """Upscale every image in a folder into another folder, as the results are taken.

        Args:
            source: Folder of images. Hidden files are left out; a log warning names images that pysr cannot read.
            target: Folder for the results, created if missing. An existing result is replaced.
            format: Ending of the results, such as "png". Default: the input's (PNG if pysr cannot write that).
            suffix: Appended to each name as NAME_SUFFIX.EXT. Default: nothing.
            output: As in `upscale_file`; ``format`` goes before its format.
            recursive: Whether sub-folders are upscaled, too, into the same tree.
            workers: How many files are worked on at the same time, in threads, as far as memory allows. Several work
                ahead of the results that are taken; what is unfinished when the iterator is closed is given up.
            resume: Whether to go on where an earlier run ended. A manifest in ``target`` notes what is done; that is
                skipped, unless the image, the model or the options have changed.
            skip_existing: Whether files are skipped whose results are there.
            progress: Called as progress(done, total), in pixels of all results, by one thread at a time; an exception
                raised in it ends the work.

        Returns:
            One result per file, in natural order (2 before 10), or as several workers are ready with them. An error in
            a file is recorded in its result, not raised. Results that would have the same name: a_png.webp, a_jpg.webp.

        Raises:
            InputError: At once, if no image can be upscaled or an option cannot be used; later, if the manifest cannot.
        """
        jobs = plan_folder(source, target, format=format or output.format, suffix=suffix, recursive=recursive)
        course = Course(workers, skip_existing=skip_existing, manifest=manifest_in(target) if resume else None)
        report = (lambda job, *now: progress(*now)) if progress else None
        return upscale_jobs(jobs, lambda job: self, self.scale, output=output, course=course, progress=report)
