"""What the commands' options look like: scales, amounts of memory, devices, and who hears how much."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

_SCALE = re.compile(r"x?(\d+)x?", re.IGNORECASE)
_NUMBER = re.compile(r"x?\d", re.IGNORECASE)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?", re.IGNORECASE)
PATH = click.Path(path_type=Path)
_COMMAND = TypeVar("_COMMAND", bound=Callable[..., Any])


@dataclass
class Settings:
    """What the options -q and -v say: below 0 only errors, above 0 everything."""

    verbosity: int = 0

    def show_log(self, normal: str = "WARNING") -> None:
        import logging

        from . import terminal

        level = {-1: logging.ERROR, 1: logging.DEBUG}.get(self.verbosity)
        terminal.show_log(level or logging.getLevelNamesMapping()[normal])


class SeveralValues(click.Command):
    """A command whose --data, --scale and --metric take several values after one flag: ``--data Set5 Set14 --scale 2``.

    --scale holds for all numbers that follow it, --metric for all names of no models. --data holds up to the next
    option, but for one folder only where no model was named before it: in ``--data Set5 vdsr`` nothing tells a model
    from a folder.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = list(_with_flag_repeated(args, _NUMBER.match, "-s", "--scale"))
        args = list(_with_flag_repeated(args, _may_be_metric, "--metric"))
        first = next((place for place, arg in enumerate(args) if arg.startswith("--data")), len(args))
        model = next(param.name for param in self.params if isinstance(param, click.Argument))
        named = self.make_parser(ctx).parse_args(args[:first])[0].get(model)
        if named and isinstance(named, (str, tuple)):  # where none is, it depends on Click's version what this is
            args = list(_with_flag_repeated(args, lambda arg: not arg.startswith("-"), "--data"))
        return super().parse_args(ctx, args)


def _may_be_metric(name: str) -> bool:
    """Also where it is misspelt, so that it is said to be no metric."""
    from ..errors import UnknownNameError
    from ..registry import registry
    from ..upscaling.chain import Chain

    if name.startswith("-"):
        return False
    try:
        Chain.parse(name)
    except UnknownNameError:
        return True
    return name in registry().metrics


def _with_flag_repeated(args: Sequence[str], fits: Callable[[str], object], *flags: str) -> Iterator[str]:
    """``--scale 2 3 vdsr`` -> ``--scale 2 --scale 3 vdsr``: the flag holds for all that follow it and fit."""
    previous, holds = "", False
    for arg in args:
        if holds and previous not in flags:
            holds = bool(fits(arg))
            if holds:
                yield flags[-1]
        yield arg
        holds = holds or arg.startswith(flags)
        previous = arg


def scale(text: str) -> int:
    """3, x3 or 3x as a number."""
    match = _SCALE.fullmatch(text)
    if not match or int(match[1]) < 1:
        raise click.BadParameter(f"{text!r} is not a scale; give a whole number such as 2, x3 or 4x")
    return int(match[1])


def memory(text: str) -> int:
    """An amount such as 512M or 4G in bytes; units are powers of 1024."""
    match = _MEMORY.fullmatch(text.strip())
    if not match:
        raise click.BadParameter(f"{text!r} is not an amount of memory; give bytes, or 512M or 4G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def print_json(facts: Any) -> None:
    """Facts as JSON on standard output."""
    import json

    click.echo(json.dumps(facts, indent=2))


def _verbosity(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Settings).verbosity = -1 if param.name == "quiet" else 1


def verbosity(command: _COMMAND) -> _COMMAND:
    """Give a command -q and -v."""
    loud = click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_verbosity,
                        help="Tell what is done, and show tracebacks.")  # fmt: skip
    quiet = click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_verbosity,
                         help="Say nothing but errors.")  # fmt: skip
    return quiet(loud(command))


def hardware(command: _COMMAND) -> _COMMAND:
    """Give a command --device and --precision."""
    device = click.option("--device", metavar="NAME", help="auto (the default), cpu, cuda, cuda:1, mps, ...")
    precision = click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
                             help="How networks compute; auto is bfloat16 where the hardware has it.")  # fmt: skip
    return device(precision(command))


@dataclass(frozen=True)
class UpscaleOptions:
    """What ``pysr upscale`` was asked for; None where an option was left out."""

    inputs: tuple[Path, ...]
    more_inputs: tuple[Path, ...]
    output: Path | None
    model: str
    variant: str | None
    pre_upsampler: str | None
    weights: Path | None
    scale: int | None
    patch: int
    gpu_id: int | None
    device: str | None
    precision: str | None
    fp32: bool
    mode: Literal["auto", "exact", "blend", "mean"]
    max_memory: int | None
    match_histogram: bool
    format: str | None
    suffix: str | None
    comparison: Path | None
    json: bool

    def __post_init__(self) -> None:
        if not self.inputs + self.more_inputs:
            raise click.UsageError("there is nothing to upscale; name an image file or a folder")
        if self.gpu_id is not None and self.device:
            raise click.UsageError("--gpu-id and --device both choose the device; give only one of them")
        if self.fp32 and self.precision not in (None, "float32"):
            raise click.UsageError(f"--fp32 contradicts --precision {self.precision}; give only one of them")

    def for_load(self) -> dict[str, Any]:
        """The options of `pysr.load`."""
        from ..upscaling.tiling import Tiling

        device = f"cuda:{self.gpu_id}" if self.gpu_id is not None else self.device
        return {
            "variant": self.variant,
            "pre_upsampler": self.pre_upsampler,
            "weights": self.weights,
            "device": device or "auto",
            "precision": "float32" if self.fp32 else self.precision or "auto",
            "tiling": Tiling(self.patch or "auto", self.mode, max_memory=self.max_memory),
            "match_histogram": self.match_histogram,
        }
