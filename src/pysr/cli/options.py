"""Options that several commands share, and how their values are parsed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

_SCALE = re.compile(r"x?(\d+)x?", re.IGNORECASE)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?", re.IGNORECASE)
_COMMAND = TypeVar("_COMMAND", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


@dataclass
class CliState:
    """State shared by all commands. verbosity: -1 prints errors only, 0 is normal, 1 prints everything."""

    verbosity: int = 0

    @property
    def quiet(self) -> bool:
        """Whether only errors are wanted."""
        return self.verbosity < 0

    @property
    def verbose(self) -> bool:
        """Whether debug messages and tracebacks are wanted."""
        return self.verbosity > 0

    def show_log(self, normal: str = "WARNING") -> None:
        """Print the library's log messages, from the level ``normal`` on unless -q or -v was given."""
        import logging

        from . import terminal

        level = {-1: logging.ERROR, 1: logging.DEBUG}.get(self.verbosity)
        terminal.show_log(level or logging.getLevelNamesMapping()[normal])


def parse_scale(text: str) -> int:
    """Parse a scale: 3, x3 or 3x."""
    match = _SCALE.fullmatch(text)
    if not match or int(match[1]) < 1:
        raise click.BadParameter(f"{text!r} is not a scale; give a whole number such as 2, x3 or 4x")
    return int(match[1])


def parse_memory(text: str) -> int:
    """Parse an amount of memory such as 512M or 4G to bytes; units are powers of 1024."""
    match = _MEMORY.fullmatch(text.strip())
    if not match:
        raise click.BadParameter(f"{text!r} is not an amount of memory; give bytes, or 512M or 4G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def split_values(convert: Callable[[str], Any] = str) -> Callable[..., tuple[Any, ...]]:
    """Make a callback for repeatable options: ``--scale 2,3 --scale 4`` gives (2, 3, 4)."""

    def callback(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(convert(value.strip()) for text in values for value in text.split(","))

    return callback


def hint_for_stray(*arguments: str) -> str:
    """Explain how to write the first argument that looks like a further value of an option; "" if none does."""
    from ..registry import registry

    for argument in arguments:
        if _SCALE.fullmatch(argument):
            return f"several scales are separated by commas, as in --scale 2,{argument}"
        if argument in registry().metrics:
            return f"several metrics are separated by commas, as in --metric psnr,{argument}"
        if argument in registry().degradations:
            return f"a degradation needs its option, as in --degradation {argument}"
        if Path(argument).exists():
            return f"every folder needs its own option, as in --data {argument}"
    return ""


def scale_option(help: str) -> Callable[[_COMMAND], _COMMAND]:
    """``--scale N``: one scale."""
    return click.option("-s", "--scale", metavar="N", type=parse_scale, help=help)


def scales_option(help: str) -> Callable[[_COMMAND], _COMMAND]:
    """``--scale N,N``: several scales, as the parameter ``scales``."""
    return click.option(
        "-s", "--scale", "scales", metavar="N[,N...]", multiple=True, callback=split_values(parse_scale), help=help
    )


def data_option(help: str) -> Callable[[_COMMAND], _COMMAND]:
    """``--data DIR``, repeatable."""
    return click.option("--data", metavar="DIR", required=True, multiple=True, type=PATH, help=f"{help} Repeatable.")


def weights_option(help: str) -> Callable[[_COMMAND], _COMMAND]:
    """``--weights FILE``."""
    return click.option("--weights", metavar="FILE", type=PATH, help=help)


def variant_options(command: _COMMAND) -> _COMMAND:
    """Give a command --variant and --pre-upsampler: which network of a model, and what it starts from."""
    variant = click.option("--variant", metavar="NAME", help="Variant of the model. Default: its first.")
    pre_upsampler = click.option(
        "--pre-upsampler", metavar="NAME", help="Model that enlarges the network's input, in place of bicubic."
    )
    return variant(pre_upsampler(command))


def device_options(command: _COMMAND) -> _COMMAND:
    """Give a command --device and --precision."""
    device = click.option(
        "--device", metavar="NAME", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps, ..."
    )
    precision = click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16", "float16", "int8"]),
        default="auto",
        show_default=True,
        help="Number format of the network. auto: bfloat16 if the hardware supports it, else float32. int8 needs"
        " --calibration.",
    )
    return device(precision(command))


def strength_option(command: _COMMAND) -> _COMMAND:
    """Give a command --strength."""
    return click.option(
        "--strength", metavar="X", type=float, help="How much a model for compressed images does, 0 to 1 (all)."
    )(command)


def backend_options(command: _COMMAND) -> _COMMAND:
    """Give a command --backend and --calibration."""
    calibration = click.option(
        "--calibration", metavar="DIR", type=PATH, help="Images on which --precision int8 is calibrated and checked."
    )
    backend = click.option(
        "--backend",
        type=click.Choice(["auto", "torch", "openvino"]),
        default="auto",
        show_default=True,
        help="What computes networks on a CPU. auto: OpenVINO if it is installed and as exact as torch.",
    )
    return backend(calibration(command))


def tta_option(command: _COMMAND) -> _COMMAND:
    """Give a command --tta, as the parameter ``ensemble``."""
    return click.option(
        "--tta",
        "--ensemble",
        "ensemble",
        is_flag=True,
        help="Average over the eight flips and turns of the image: a little more exact, eight times the work.",
    )(command)


def verbosity_options(command: _COMMAND) -> _COMMAND:
    """Give a command -q and -v, which set `CliState.verbosity`."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(CliState).verbosity = -1 if param.name == "quiet" else 1

    def flag(short: str, name: str, help: str) -> Callable[[_COMMAND], _COMMAND]:
        return click.option(short, name, is_flag=True, expose_value=False, callback=remember, help=help)

    quiet = flag("-q", "--quiet", "Print errors only.")
    verbose = flag("-v", "--verbose", "Print debug messages, and tracebacks of errors.")
    return quiet(verbose(command))


@dataclass(frozen=True)
class UpscaleOptions:
    """The arguments of ``pysr upscale``; None if an option was left out."""

    inputs: tuple[Path, ...]
    more_inputs: tuple[Path, ...]
    output: Path | None
    model: str
    variant: str | None
    pre_upsampler: str | None
    weights: Path | None
    strength: float | None
    scale: int | None
    patch: int
    gpu_id: int | None
    device: str
    precision: str
    backend: str
    calibration: Path | None
    fp32: bool
    mode: Literal["auto", "exact", "blend", "mean"]
    max_memory: int | None
    match_histogram: bool
    ensemble: bool
    format: str | None
    suffix: str | None
    comparison: Path | None
    json: bool

    def __post_init__(self) -> None:
        if not self.inputs + self.more_inputs:
            raise click.UsageError("there is nothing to upscale; name an image file or a folder")
        if self.gpu_id is not None and self.device != "auto":
            raise click.UsageError("--gpu-id and --device both choose the device; give only one of them")
        if self.fp32 and self.precision not in ("auto", "float32"):
            raise click.UsageError(f"--fp32 contradicts --precision {self.precision}; give only one of them")

    def for_load(self) -> dict[str, Any]:
        """The keyword arguments of `pysr.load`."""
        from ..upscaling.tiling import Tiling

        return {
            "variant": self.variant,
            "pre_upsampler": self.pre_upsampler,
            "weights": self.weights,
            "strength": self.strength,
            "device": self.device if self.gpu_id is None else f"cuda:{self.gpu_id}",
            "precision": "float32" if self.fp32 else self.precision,
            "calibration": self.calibration,
            "backend": self.backend,
            "tiling": Tiling(self.patch or "auto", self.mode, max_memory=self.max_memory),
            "match_histogram": self.match_histogram,
            "ensemble": self.ensemble,
        }


@dataclass(frozen=True)
class SampleOptions:
    """The arguments of ``pysr sample``; None if an option was left out."""

    source: Path
    output: Path | None
    model: str
    scale: int | None
    count: int
    seed: int
    temperature: float
    known: Path | None
    mask: Path | None
    weights: Path | None
    device: str
    precision: str

    @property
    def folder(self) -> Path:
        """The folder for the results."""
        return self.output or self.source.with_name(f"{self.source.stem}_samples")

    def for_load(self) -> dict[str, Any]:
        """The keyword arguments of `pysr.load`."""
        return {"weights": self.weights, "device": self.device, "precision": self.precision}
