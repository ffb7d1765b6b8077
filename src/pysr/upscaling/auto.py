"""The right model without being asked: which one suits an image, and an upscaler that chooses for each."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from PIL import Image

from ..errors import InputError
from ..files.compression import Compression, compression_of, compression_of_image
from ..files.streams import is_stream, name_of
from ..namespaces import AUTO
from ..ops.host import ProcessLock
from ..plugin import Model
from ..registry import registry
from .chain import chain_for, validate_choice
from .opening import ImageLike
from .stage import Stage
from .tiling import Tiling
from .upscaler import Upscaler
from .windows import ArrayLike

CLEAN_JPEG_QUALITY = 92  # from here on, models for clean images keep half of their gain over bicubic, or more
POOR_JPEG_QUALITY = 75  # below, they keep a fifth of it or less (both measured in docs/choosing.md)
PIXELS = Compression(False, None, "pixels that come from no file")

logger = logging.getLogger("pysr")


@dataclass(frozen=True)
class Choice:
    """A model, and why it is the right one: a clause that begins with "because"."""

    model: Model
    reason: str


def candidates(scale: int) -> list[Model]:
    """Return the installed models that can enlarge any photograph at a scale, the same way each time."""
    models = registry().models.values()
    return [m for m in models if scale in m.trained_scales and m.domain == "photo" and not m.stochastic]


def auto_scales() -> tuple[int, ...]:
    """Return the scales that a model can be chosen for, rising. At 1 nothing is enlarged."""
    offered = {scale for model in registry().models.values() for scale in model.scales if scale > 1}
    return tuple(sorted(scale for scale in offered if candidates(scale)))


def auto_scale(scale: int | None) -> int:
    """Check the enlargement that a model is to be chosen for; None is the smallest that there is.

    Raises:
        InputError: No installed model offers it.
    """
    offered, hint = auto_scales(), ""
    if scale is not None and scale not in offered:
        models = sorted(candidates(offered[0]), key=lambda model: -model.scores.get(offered[0], -math.inf))
        chains = (chain_for(model, scale) for model in models)
        if chain := next(filter(None, chains), None):
            hint = f"; for {scale}, use a chain such as {chain}"
    return int(validate_choice("scale", scale, offered, hint))


def choose_model(scale: int, compression: Compression) -> Choice:
    """Choose the model for an image.

    Args:
        scale: Enlargement per side, one that `auto_scale` has accepted.
        compression: How the image was compressed.

    Returns:
        The most exact model made for such images, or if there is none at that scale, the most exact of all. Models
        without a score come last, in the order of their plugins.
    """
    compressed = suffers(compression)
    made_for = "compressed" if compressed else "clean"
    models = candidates(scale)
    fitting = [model for model in models if model.made_for == made_for]
    model = max(fitting or models, key=lambda model: model.scores.get(scale, -math.inf))
    reason = f"because it is the most exact for {made_for} images at x{scale}"
    if scale not in model.scores:
        reason = f"because no model that enlarges photographs states how exact it is at x{scale}"
    if not fitting:
        reason = f"because no model for {made_for} images is installed for x{scale}, and it is the next best"
    return Choice(model, reason)


def suffers(compression: Compression) -> bool:
    """Whether an image was compressed so much that it takes a model made for compressed images."""
    return compression.lossy and (compression.quality is None or compression.quality < CLEAN_JPEG_QUALITY)


def better_model(model: Model, scale: int, sources: Iterable[Path]) -> tuple[Path, Compression, Model] | None:
    """Find out whether a model for compressed images would suit strongly compressed files (JPEG below 75) better.

    Args:
        model: The one that a user has chosen.
        scale: Enlargement per side.
        sources: Image files; those that cannot be read are left out.

    Returns:
        The first such file, how it is compressed, and the better model; None if there is none.
    """
    if model.made_for == "compressed" or model.domain != "photo" or model.file or not candidates(scale):
        return None  # what a model file is made for, nobody knows
    for source in sources:
        try:
            compression = compression_of(source)
        except InputError:  # reported when the file's turn comes
            continue
        if compression.quality is not None and compression.quality < POOR_JPEG_QUALITY:
            better = choose_model(scale, compression).model
            return (source, compression, better) if better.made_for == "compressed" else None
    return None


class AutoUpscaler(Upscaler):
    """Chooses a model for each image, and is otherwise like any `Upscaler`; made by ``pysr.load("auto")``.

    Each model is loaded once, for the first image that takes it. Why it was chosen is logged once for clean and once
    for compressed images.
    """

    def __init__(
        self,
        scale: int,
        load_model: Callable[[str], Upscaler],
        alpha: Stage,
        hardware: tuple[torch.device, torch.dtype],
    ) -> None:
        clean = choose_model(scale, PIXELS).model
        model = Model(AUTO, (scale,), clean.network, "Chooses a model for each image", colour="rgb")
        super().__init__(model, scale, (), Tiling(), alpha=alpha)
        self._load_model, self._hardware = load_model, hardware
        self._lock = ProcessLock()
        self._loaded: dict[str, Upscaler] = {}
        self._explained: set[bool] = set()

    @property
    def device(self) -> torch.device:
        """As of any upscaler."""
        return self._hardware[0]

    @property
    def precision(self) -> str:
        """How the networks compute, but for those that need float32."""
        return str(self._hardware[1]).removeprefix("torch.")

    def chosen_for(self, image: ImageLike | ArrayLike) -> Upscaler:
        """Return the upscaler for an image, and load its model if it is the first to need it.

        Raises:
            InputError: The image is a file that cannot be read.
        """
        file = image if isinstance(image, (str, PathLike)) or is_stream(image) else None
        compression = _compression(image) if file is None else compression_of(file)
        choice = choose_model(self.scale, compression)
        name, kind = choice.model.name, suffers(compression)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load_model(name)
            if kind not in self._explained:
                self._explained.add(kind)
                what = compression.name if file is None else f"{name_of(file)} ({compression.name})"
                logger.info("%s is chosen for %s %s", name, what, choice.reason)
            return self._loaded[name]


def _compression(image: ImageLike | ArrayLike) -> Compression:
    return compression_of_image(image) if isinstance(image, Image.Image) else PIXELS
