"""Options that several commands share, and how their values are parsed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

_SCALE = re.compile(r"x?(\d+)x?", re.IGNORECASE)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?", re.IGNORECASE)
Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path, readable=False)  # the library says what cannot be read, and goes on


class _Place(click.Path):
    """A path, or the name of a file elsewhere, as s3://bucket/scan.png."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ..files.remote import as_place, is_url

        return as_place(value) if is_url(value) else super().convert(value, param, ctx)


PLACE = _Place(path_type=Path, readable=False)


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

    def show_log(self, normal: str = "WARNING", *, as_json: bool = False) -> None:
        """Print the library's log messages, from the level ``normal`` on unless -q or -v was given."""
        import logging

        from . import terminal

        level = {-1: logging.ERROR, 1: logging.DEBUG}.get(self.verbosity)
        terminal.show_log(level or logging.getLevelNamesMapping()[normal], as_json=as_json)

    def start(self, normal: str = "WARNING", *, as_json: bool = False) -> None:
        """Print the log as `show_log` does, and load the plugins.

        For commands that need torch, which fails to import where a package's metadata are damaged; the registry finds
        these and tells torch not to read them.
        """
        from ..registry import registry

        self.show_log(normal, as_json=as_json)
        registry()


def parse_scale(text: str) -> int:
    """Parse a scale: 3, x3 or 3x."""
    match = _SCALE.fullmatch(text)
    if not match or int(match[1]) < 1:
        raise click.BadParameter(f"{text!r} is not a scale; give a whole number such as 2, x3 or 4x")
    return int(match[1])


def parse_enlargement(text: str) -> int | Fraction:
    """Parse a scale that need not be whole: 3, x3, 3x, 1.5 or x1.5."""
    try:
        scale = Fraction(text.lower().strip("x"))
    except (ValueError, ZeroDivisionError):
        scale = Fraction(0)
    if scale < 1:
        raise click.BadParameter(f"{text!r} is not a scale; give a number from 1 on, such as 2, x3 or 1.5")
    return int(scale) if scale.denominator == 1 else scale


def parse_compression(text: str) -> int | str:
    """Parse a compression: a level of PNG, or the name of one of TIFF."""
    return int(text) if text.isdecimal() else text.lower()


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


def scale_option(help: str, parse: Callable[[str], int | Fraction] = parse_scale) -> Callable[[Command], Command]:
    """``--scale N``: one scale."""
    return click.option("-s", "--scale", metavar="N", type=parse, help=help)


def scales_option(help: str) -> Callable[[Command], Command]:
    """``--scale N,N``: several scales, as the parameter ``scales``."""
    return click.option(
        "-s", "--scale", "scales", metavar="N[,N...]", multiple=True, callback=split_values(parse_scale), help=help
    )


def data_option(help: str) -> Callable[[Command], Command]:
    """``--data DIR``, repeatable."""
    return click.option("--data", metavar="DIR", required=True, multiple=True, type=PATH, help=f"{help} Repeatable.")


def weights_option(help: str) -> Callable[[Command], Command]:
    """``--weights FILE``."""
    return click.option("--weights", metavar="FILE", type=PATH, help=help)


def variant_options(command: Command) -> Command:
    """Give a command --variant and --pre-upsampler: which network of a model, and what it starts from."""
    variant = click.option("--variant", metavar="NAME", help="Variant of the model. Default: its first.")
    pre_upsampler = click.option(
        "--pre-upsampler", metavar="NAME", help="Model that enlarges the network's input, in place of bicubic."
    )
    return variant(pre_upsampler(command))


def size_options(command: Command) -> Command:
    """Give a command --width, --height and --fit: the size of the results."""
    pixels = click.IntRange(min=1)
    width = click.option("--width", metavar="PIXELS", type=pixels, help="Width of the results, in place of --scale.")
    height = click.option("--height", metavar="PIXELS", type=pixels, help="Height of the results, likewise.")
    fit = click.option(
        "--fit",
        type=click.Choice(["inside", "outside", "fill"]),
        help="With --width and --height: as large as fits into both (default), as covers both, or exactly both.",
    )
    return width(height(fit(command)))


def output_options(command: Command) -> Command:
    """Give a command the options of `pysr.Output` that say how results are written."""
    options = (
        click.option("--quality", metavar="Q", type=click.IntRange(1, 100), help="Of JPEG, WebP, AVIF. Default: 95."),
        click.option("--lossless", is_flag=True, help="Write WebP without losses."),
        click.option(
            "--compression",
            metavar="C",
            type=parse_compression,
            help="PNG: 0 (fast) to 9 (small); TIFF: none, lzw, deflate (default), packbits.",
        ),
        click.option(
            "--background",
            metavar="COLOUR",
            default="white",
            show_default=True,
            help="Shown through transparency by formats without it: a name or #rrggbb.",
        ),
        click.option("--keep-palette", is_flag=True, help="Keep to a palette's colours, as for textures of games."),
        click.option(
            "--colour",
            type=click.Choice(["file", "srgb"]),
            help="Enlarge values as they are, or by sRGB's curve. Default: srgb for linear light and ProPhoto.",
        ),
        click.option(
            "--frame",
            metavar="N",
            type=click.IntRange(min=0),
            help="Only this frame of an animation, or page of a TIFF file, from 0. Default: all of them.",
        ),
        click.option("--keep-time", is_flag=True, help="Give results the time of change of their inputs."),
        click.option(
            "--strip",
            type=click.Choice(["all", "gps"]),
            help="Leave out metadata: all but what colours need, or the position of the photograph.",
        ),
        click.option("--tag", is_flag=True, help="Note in the metadata what was done, as in 'pysr 0.1, vdsr x2'."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def folder_options(command: Command) -> Command:
    """Give a command the options of `pysr.upscaling.jobs.Course`: how many files are gone through."""
    options = (
        click.option("-r", "--recursive", is_flag=True, help="Also the images of sub-folders, into the same tree."),
        click.option(
            "--workers",
            metavar="N",
            type=click.IntRange(min=1),
            help="Files to work on at the same time, as far as memory allows. Default: one for each processor, and"
            " more of small images.",
        ),
        click.option(
            "--resume",
            is_flag=True,
            help="Keep a manifest in the output folder, and skip what it names as done by the same options.",
        ),
        click.option("--skip-existing", is_flag=True, help="Skip files whose results are there."),
        click.option("--fail-fast", is_flag=True, help="Stop when a file fails."),
        click.option(
            "--engine",
            metavar="NAME",
            default="local",
            show_default=True,
            help="Where files are worked on: ray, with pysr-ray installed, on the machines of a cluster.",
        ),
        click.option("--address", metavar="ADDRESS", help="Of the cluster, for --engine."),
        click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def device_options(command: Command) -> Command:
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


def strength_option(command: Command) -> Command:
    """Give a command --strength."""
    return click.option(
        "--strength", metavar="X", type=float, help="How much a model for compressed images does, 0 to 1 (all)."
    )(command)


def models_folder_option(command: Command) -> Command:
    """Give a command --models, which takes the place of ``PYSR_MODELS`` while the command runs."""

    def set_folder(ctx: click.Context, param: click.Parameter, folder: Path | None) -> None:
        from ..upscaling.model_files import FOLDERS_VARIABLE

        if folder is None:
            return
        before = os.environ.get(FOLDERS_VARIABLE)
        os.environ[FOLDERS_VARIABLE] = str(folder)

        def restore() -> None:
            if before is None:
                os.environ.pop(FOLDERS_VARIABLE, None)
            else:
                os.environ[FOLDERS_VARIABLE] = before

        ctx.call_on_close(restore)

    return click.option(
        "--models",
        metavar="DIR",
        type=PATH,
        expose_value=False,
        is_eager=True,
        callback=set_folder,
        help="Folder of model files, which can then be named without path and ending. Default: those of PYSR_MODELS.",
    )(command)


def backend_options(command: Command) -> Command:
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


def tta_option(command: Command) -> Command:
    """Give a command --tta, as the parameter ``ensemble``."""
    return click.option(
        "--tta",
        "--ensemble",
        "ensemble",
        is_flag=True,
        help="Average over the eight flips and turns of the image: a little more exact, eight times the work.",
    )(command)


def verbosity_options(command: Command) -> Command:
    """Give a command -q and -v, which set `CliState.verbosity`."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(CliState).verbosity = -1 if param.name == "quiet" else 1

    def flag(short: str, name: str, help: str) -> Callable[[Command], Command]:
        return click.option(short, name, is_flag=True, expose_value=False, callback=remember, help=help)

    quiet = flag("-q", "--quiet", "Print errors only.")
    verbose = flag("-v", "--verbose", "Print debug messages, and tracebacks of errors.")
    return quiet(verbose(command))


@dataclass(frozen=True)
class SampleOptions:
    """The arguments of ``pysr sample``; None if an option was left out."""

    sources: tuple[Path, ...]
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

    def folder(self, source: Path) -> Path:
        """The folder for the results of an image."""
        return self.output or source.with_name(f"{source.stem}_samples")

    def for_load(self) -> dict[str, Any]:
        """The keyword arguments of `pysr.load`."""
        return {"weights": self.weights, "device": self.device, "precision": self.precision}
