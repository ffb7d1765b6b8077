"""For plugin authors: `hookimpl`, the descriptions that hooks return, and helpers for networks.

Importing this module imports neither torch nor numpy, and neither may a plugin's own module: everything heavy is behind
`lazy` or behind a function that imports it. Helpers that need torch are imported when a network first uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, overload

from .engines import Engine, EngineWork
from .errors import PluginError
from .hookspecs import hookimpl
from .lazy import lazy
from .readers import ModelReader
from .recipes import Fit, Recipe

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from .cache import cache_folder
    from .imaging.limit import limit_to_enlarged, limit_to_input
    from .imaging.resize import resize
    from .isolation import Examined, examine
    from .ops.pixelcnn import KnownPixels, PixelCNNSampler, channel_groups, native_device
    from .upscaling.probing import Probe, probe
    from .upscaling.weights import load_weights

    StrengthFrom: TypeAlias = "Weights | Callable[[nn.Module], None] | str"  # a file, what fills a network, a model

__all__ = [
    "API_VERSION",
    "Degradation",
    "Engine",
    "EngineWork",
    "Examined",
    "Fit",
    "KnownPixels",
    "Loss",
    "Metric",
    "Model",
    "ModelReader",
    "PixelCNNSampler",
    "Preprocess",
    "Preprocessor",
    "Probe",
    "Progress",
    "Recipe",
    "Weights",
    "cache_folder",
    "channel_groups",
    "examine",
    "hookimpl",
    "lazy",
    "limit_to_enlarged",
    "limit_to_input",
    "load_weights",
    "native_device",
    "probe",
    "resize",
]

Progress = Callable[[int, int], None]
"""Progress callback, called now and then as ``progress(done, total)``; the units are those of the calling function."""

API_VERSION = 1
"""Version of the plugin interface. A plugin's module may name the one that it is written for, ``PYSR_API = 1``."""

Digests = Mapping[int, str] | Mapping[tuple[int, str], str]  # of weights files, by scale or by (scale, variant)
RESEARCH_LICENCE = "Apache-2.0; trained on research image sets without a formal licence"

_HELPERS = {  # name -> module
    "Examined": ".isolation",
    "KnownPixels": ".ops.pixelcnn",
    "PixelCNNSampler": ".ops.pixelcnn",
    "Probe": ".upscaling.probing",
    "cache_folder": ".cache",
    "channel_groups": ".ops.pixelcnn",
    "examine": ".isolation",
    "limit_to_enlarged": ".imaging.limit",
    "limit_to_input": ".imaging.limit",
    "load_weights": ".upscaling.weights",
    "native_device": ".ops.pixelcnn",
    "probe": ".upscaling.probing",
    "resize": ".imaging.resize",
}


def __getattr__(name: str) -> Any:  # PEP 562: a helper's module is imported when the helper is first used
    if name not in _HELPERS:
        raise AttributeError(f"module 'pysr.plugin' has no attribute {name!r}")
    value = getattr(import_module(_HELPERS[name], __package__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))


@dataclass(frozen=True)
class Weights:
    """A safetensors file that a plugin ships.

    Attributes:
        file: Path of the file.
        sha256: Its digest in lower-case hex; a file with another digest is refused.
        licence: Terms of the weights (not of the code).
        trained_on: The training data, in words.
    """

    file: Path
    sha256: str
    licence: str
    trained_on: str

    @overload
    @classmethod
    def shipped(cls, package: str, file: str, *, sha256: str, trained_on: str, licence: str = ...) -> Weights: ...

    @overload
    @classmethod
    def shipped(
        cls, package: str, file: str, *, sha256: Digests, trained_on: str, licence: str = ...
    ) -> dict[int | tuple[int, str], Weights]: ...

    @classmethod
    def shipped(
        cls,
        package: str,
        file: str,
        *,
        sha256: str | Digests,
        trained_on: str,
        licence: str = RESEARCH_LICENCE,
    ) -> Weights | dict[int | tuple[int, str], Weights]:
        """Describe weights files in the folder ``weights`` of an installed package.

        Args:
            package: Import name of the package, such as ``"pysr_vdsr"``. It is not imported.
            file: File name; ``{scale}`` and ``{variant}`` in it stand for those of each key of ``sha256``.
            sha256: The digest of the only file, or the digests by scale or by (scale, variant).
            trained_on: The training data, in words.
            licence: Terms of the weights (not of the code).

        Returns:
            One `Weights` for a single digest; for a mapping of digests, a mapping as `Model.weights` takes it.

        Raises:
            PluginError: There is no such package.
        """
        if (spec := find_spec(package)) is None or spec.origin is None:
            raise PluginError(f"there is no package {package!r} to take weights from; give its import name")
        folder = Path(spec.origin).with_name("weights")
        if isinstance(sha256, str):
            return cls(folder / file, sha256, licence, trained_on)
        found: dict[int | tuple[int, str], Weights] = {}
        for key, digest in sha256.items():
            scale, variant = (key, "") if isinstance(key, int) else key
            found[key] = cls(folder / file.format(scale=scale, variant=variant), digest, licence, trained_on)
        return found


_Found = TypeVar("_Found")


def _find(weights: Mapping[int | tuple[int, str], _Found], scale: int, variant: str | None) -> _Found | None:
    return weights.get(scale) or weights.get((scale, variant or ""))


@dataclass(frozen=True)
class Model:
    """A named way to upscale: everything that the core needs to know about it, as data.

    Attributes:
        name: How users ask for it; unique over all installed plugins, aliases included.
        scales: Upscaling factors per side that it offers; the first is the default.
        network: Builds the untrained ``nn.Module`` for a scale and a variant (None without variants). The network maps
            (N, C, h, w) float in [0, 1], C being `channels`, to (N, C, h * scale, w * scale), or to (N, C, h, w) behind
            an enlarging preprocessor. Items of a batch, and calls, are independent of each other.
        summary: One line about it.
        aliases: Other names for it.
        colour: What the network takes: "rgb" (3 channels), "luma" (1) or "any" (1: each channel by itself).
        domain: What kind of image it is made for; "style" redraws any image, in colours of its own.
        preprocess: Names of preprocessors, in order. With `bicubic` among them the network works at output size.
        weights: Shipped weights by scale, or by (scale, variant); empty for networks that need none.
        scores: PSNR in dB on Set5 by the protocol `y-shave`, by scale, of the shipped weights (of the first variant).
            Of the models made for an image, the one with the highest is used where the user names none.
        made_for: The images that its weights were trained for: "clean" ones, or "compressed" ones, from which it also
            removes the traces of lossy compression.
        strength_from: What does the same for clean images, by scale or by (scale, variant). Users may then choose any
            mixture of the two, ``pysr.load(strength=)``. Either the weights of the same network from which the training
            of ``weights`` began, a file or what fills a network with them: weights are mixed, at no cost. Or the name
            of a model of the same colour without preprocessors, whose output is mixed in: both networks run.
        variants: Named versions; the first is the default.
        receptive_field: Half width, in pixels of the network's input, beyond which an input pixel cannot influence an
            output pixel; None if unbounded (attention, global pooling): patches of such models are blended.
        multiple_of: The sides of the network's input must be multiples of this.
        stochastic: The result is drawn at random. The network then also has ``sample(low, n, seed=0, temperature=1.0,
            known=None, mask=None, progress=None)``, (N, C, h, w) in [0, 1] to (N, n, C, H, W) in [0, 1], where levels
            that are known, (N, C, H, W) uint8, are kept wherever ``mask``, (N, H, W) bool, is True; and
            ``log_likelihood(low, high)``, (N,) in nats. It always gets whole images, never tiles.
        needs_float32: A lower precision costs measurable quality, as where a few layers carry the image itself rather
            than a correction to it. Inference is then always in float32; training may use bfloat16 on request.
        recipes: Ways to train it by name; the first is the default, usually how the shipped weights were made. Each
            builds a `Recipe`, or a `Fit` for a method without gradient steps. Its arguments, if any, are strings with
            defaults, which ``pysr train -o NAME=VALUE`` sets.
        paper: Authors, title, venue and year.
        file: The file that the model was made from by a `ModelReader`; its network comes with its weights.
        licence: The terms that this file states; empty if it states none.
        minimum_size: The sides of the network's input must be at least this; smaller images are mirrored.
        input_size: The only (height, width) that the network takes, if it takes only one: all patches have it.
        bytes_per_pixel: Working memory per pixel of the network's input; 0: estimated from its layers, if it has any.
        runtime: What computes the network. One that torch does not compute is an ``nn.Module`` all the same, whose
            ``forward`` takes and returns float32 on the CPU; it is not copied, and is called from several threads. A
            method ``to_openvino()``, if any, returns it as an ``openvino.Model`` for images of any size.

    Raises:
        ValueError: There are no scales, or one is below 1.
    """

    name: str
    scales: tuple[int, ...]
    network: Callable[[int, str | None], nn.Module]
    summary: str
    _: KW_ONLY
    aliases: tuple[str, ...] = ()
    colour: Literal["rgb", "luma", "any"] = "rgb"
    domain: Literal["photo", "face", "digit", "style"] = "photo"
    preprocess: tuple[str, ...] = ()
    weights: Mapping[int | tuple[int, str], Weights] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    made_for: Literal["clean", "compressed"] = "clean"
    strength_from: Mapping[int | tuple[int, str], StrengthFrom] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    receptive_field: int | None = None
    multiple_of: int = 1
    stochastic: bool = False
    needs_float32: bool = False
    recipes: Mapping[str, Callable[..., Recipe | Fit]] = field(default_factory=dict)
    paper: str = ""
    file: Path | None = None
    licence: str = ""
    minimum_size: int = 1
    input_size: tuple[int, int] | None = None
    bytes_per_pixel: float = 0
    runtime: str = "torch"

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) < 1:
            raise ValueError(f"the model {self.name!r} offers the scales {self.scales}; give whole numbers from 1")

    @property
    def channels(self) -> int:
        """Channels of the network's input and output: 3 for RGB, else 1."""
        return 3 if self.colour == "rgb" else 1

    def weights_for(self, scale: int, variant: str | None = None) -> Weights | None:
        """Return the shipped weights for a scale and a variant (None for models without); None if there are none."""
        return _find(self.weights, scale, variant)

    def clean_counterpart(self, scale: int, variant: str | None = None) -> StrengthFrom | None:
        """Return what strength 0 is for a scale and a variant; None if the model has no strength there."""
        return _find(self.strength_from, scale, variant)

    @property
    def trained_scales(self) -> tuple[int, ...]:
        """The scales with shipped weights; all scales of a model that needs no weights."""
        trained = {key if isinstance(key, int) else key[0] for key in self.weights}
        return tuple(scale for scale in self.scales if scale in trained or not (trained or self.recipes))


class Preprocess(Protocol):
    """The two halves of a step around the network, as `Preprocessor.build` makes them. Must be thread-safe."""

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, Any]:
        """Make the network's input from a window of the image.

        Args:
            window: (N, C, h, w) float in [0, 1].
            scale: The upscaling factor of the whole model.

        Returns:
            The input for the network or the next preprocessor, and a context for `postprocess`.
        """

    def postprocess(self, output: Tensor, context: Any, scale: int) -> Tensor:
        """Finish the output of the network or of the next preprocessor.

        Args:
            output: (N, C', h * scale, w * scale) float, not clipped.
            context: The context that `preprocess` returned for the same window.
            scale: The upscaling factor of the whole model.

        Returns:
            (N, C, h * scale, w * scale), in the colours of the window.
        """


@dataclass(frozen=True)
class Preprocessor:
    """A step around the network that works on any window of an image.

    Attributes:
        name: How models ask for it; unique over all installed plugins.
        build: Makes the step.
        summary: One line about it.
        reach: Half width, in pixels of the step's own input, of the region that one pixel of `preprocess`'s output
            depends on. Reaches add up along the chain.
        after_reach: Half width of the region of the window that one pixel of `postprocess`'s output depends on
            directly, past the network.
        enlarges: Whether `preprocess` returns a window `scale` times as large.
    """

    name: str
    build: Callable[[], Preprocess]
    summary: str
    _: KW_ONLY
    reach: int = 0
    after_reach: int = 0
    enlarges: bool = False


@dataclass(frozen=True)
class Loss:
    """A training loss.

    The built loss may be an ``nn.Module``; it is then moved to the training device, and its state dict is saved in
    checkpoints. A loss that learns, such as an adversarial one, has ``update(output, target)``, called with detached
    tensors after each step of the network; it returns numbers for the log by name, or None. Its attribute
    ``optimizers`` lists the optimizers that it steps there: they follow the recipe's schedule and are saved in
    checkpoints, and with several processes their gradients are averaged before each of their steps. In low-precision
    training both calls run under autocast.

    Attributes:
        name: How recipes ask for it; unique over all installed plugins.
        build: Called with the options that a recipe gives, as strings (``"perceptual:relu2_2"``; they have defaults).
            Returns a callable ``(output, target) -> scalar`` on (N, C, H, W) float tensors in [0, 1].
        summary: One line about it.
    """

    name: str
    build: Callable[..., Callable[[Tensor, Tensor], Tensor]]
    summary: str


@dataclass(frozen=True)
class Metric:
    """A measure of an output against the ground truth, for ``pysr evaluate --metric NAME``.

    Attributes:
        name: How users ask for it; unique over all installed plugins.
        build: Called without arguments. Returns a callable ``(output, target) -> float`` on (C, H, W) float64 tensors
            of the same shape in [0, 1].
        summary: One line about it.
        title: Its column heading, with the unit.
        colour: The channels that it gets: "luma" is one, "rgb" is three, or one for gray images.
        lower_is_better: Whether the lower of two scores is the better one.
        decimals: Digits after the point in a table.
        smallest: The shortest side in pixels that it can measure.
    """

    name: str
    build: Callable[[], Callable[[Tensor, Tensor], float]]
    summary: str
    title: str
    _: KW_ONLY
    colour: Literal["rgb", "luma"] = "luma"
    lower_is_better: bool = False
    decimals: int = 4
    smallest: int = 1


@dataclass(frozen=True)
class Degradation:
    """How low-resolution images are made from ground-truth images, for training and for evaluation.

    A recipe names one as `Recipe.degradation`, a user as ``pysr evaluate --degradation NAME``; without one, images are
    reduced by MATLAB's antialiased bicubic.

    Attributes:
        name: How recipes and users ask for it; unique over all installed plugins.
        build: Called without arguments. Returns a callable ``(high, scale, rng) -> low``. ``high`` is (C, H, W) float32
            or float64 in [0, 1] on the CPU, C being 1 or 3, with sides that are multiples of ``scale``; it is left as
            it is. The result is (C, H / scale, W / scale) float32 in [0, 1], and shows the same area. Every random
            choice comes from ``rng``, so that the same image and random numbers give the same bits. Calls are
            independent of each other and may come from several threads.
        summary: One line about it.
    """

    name: str
    build: Callable[[], Callable[[Tensor, int, np.random.Generator], Tensor]]
    summary: str
