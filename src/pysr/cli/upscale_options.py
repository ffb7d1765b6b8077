"""The arguments of ``pysr upscale``, and which of them contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from .options import (
    Command,
    backend_options,
    device_options,
    models_folder_option,
    parse_enlargement,
    parse_memory,
    scale_option,
    size_options,
    strength_option,
    tta_option,
    variant_options,
    weights_option,
)

if TYPE_CHECKING:
    from ..files.output import Output
    from ..files.remote import Place
    from ..upscaling.jobs import Course

STREAM = "-"  # in place of a file: standard input or output


_model_option = click.option(
    "-m",
    "--model",
    "-n",
    "--model-name",
    "model",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Model (see `pysr models`) or model file. auto: chosen for each image by its compression. A+B: A, then B.",
)
_patch_option = click.option(
    "-t",
    "--tile",
    "--patch",
    "patch",
    metavar="PIXELS",
    type=click.IntRange(min=0),
    default=0,
    help="Side of the square patches processed one by one, in input pixels. 0 (default): as memory allows.",
)
_mode_option = click.option(
    "--mode",
    type=click.Choice(["auto", "exact", "blend", "mean"]),
    default="auto",
    show_default=True,
    help="How patches are joined. auto: exact if the model allows it, else blend.",
)
_max_memory_option = click.option(
    "--max-memory",
    metavar="SIZE",
    type=parse_memory,
    help="Memory that the work of all workers may take, such as 4G: half of it for a network call.",
)


def network_options(scale_help: str) -> Callable[[Command], Command]:
    """Give a command the options that say which network enlarges by how much, and how it is computed."""

    def give(command: Command) -> Command:
        options = (
            _model_option,
            models_folder_option,
            variant_options,
            weights_option("Safetensors file to use in place of the weights shipped with the model."),
            strength_option,
            scale_option(scale_help, parse_enlargement),
            size_options,
            _patch_option,
            click.option("-g", "--gpu-id", metavar="N", type=click.IntRange(min=0), help="Same as --device cuda:N."),
            device_options,
            backend_options,
            click.option("--fp32", is_flag=True, help="Same as --precision float32."),
            _mode_option,
            _max_memory_option,
            click.option(
                "--match-histogram", is_flag=True, help="Match each colour channel's histogram to the input's."
            ),
            tta_option,
        )
        for option in reversed(options):
            command = option(command)
        return command

    return give


@dataclass(frozen=True, kw_only=True)
class UpscaleOptions:
    """The arguments of ``pysr upscale``; None if an option was left out. Those with defaults ``pysr plan`` lacks."""

    inputs: tuple[Place, ...]
    more_inputs: tuple[Place, ...] = ()
    output: str | None
    model: str
    variant: str | None
    pre_upsampler: str | None
    weights: Path | None
    strength: float | None
    scale: int | Fraction | None
    width: int | None
    height: int | None
    fit: Literal["inside", "outside", "fill"] | None
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
    quality: int | None
    lossless: bool
    compression: int | str | None
    background: str
    keep_palette: bool
    keep_time: bool
    strip: Literal["all", "gps"] | None
    tag: bool
    frame: int | None
    colour: Literal["file", "srgb"] | None
    in_place: bool = False
    yes: bool = False
    recursive: bool = False
    workers: int | None = None
    resume: bool = False
    skip_existing: bool = False
    fail_fast: bool = False
    engine: str = "local"
    address: str | None = None
    dry_run: bool = False
    comparison: Path | None = None
    html: Path | None = None
    progress: Literal["bar", "json", "none"] = "none"
    json: bool = False

    def __post_init__(self) -> None:
        if not self.sources:
            raise click.UsageError("there is nothing to upscale; name an image file or a folder")
        if self.gpu_id is not None and self.device != "auto":
            raise click.UsageError("--gpu-id and --device both choose the device; give only one of them")
        if self.fp32 and self.precision not in ("auto", "float32"):
            raise click.UsageError(f"--fp32 contradicts --precision {self.precision}; give only one of them")
        if self.scale is not None and (self.width or self.height):
            raise click.UsageError("--scale and --width or --height both choose the size; give only one of them")
        if self.fit and not (self.width and self.height):
            raise click.UsageError(f"--fit {self.fit} takes a --width and a --height; give both, or leave it out")
        if self.fit == "fill" and self.html:
            raise click.UsageError(
                "--fit fill may change the proportions, and --html compares equal ones; leave one out"
            )
        if self.quality and self.lossless:
            raise click.UsageError("--lossless leaves no --quality to choose; give only one of them")
        self._check_streams()
        self._check_in_place()
        self._check_skipping()
        self._check_engine()

    @property
    def sources(self) -> tuple[Place, ...]:
        """All inputs."""
        return self.inputs + self.more_inputs

    @property
    def reads_stream(self) -> bool:
        """Whether the image comes from standard input."""
        return Path(STREAM) in self.sources

    @property
    def writes_stream(self) -> bool:
        """Whether the result goes to standard output."""
        return self.output == STREAM or (self.output is None and self.reads_stream)

    def _check_streams(self) -> None:
        if not (self.reads_stream or self.writes_stream):
            return
        if len(self.sources) > 1 or (not self.reads_stream and self.sources[0].is_dir()):
            raise click.UsageError("a pipe (-) holds a single image; name one file, or a folder for the output")
        if self.writes_stream and self.json:
            raise click.UsageError("--json and the image would both go to standard output; write to a file (-o)")
        if self.reads_stream and self.keep_time:
            raise click.UsageError("--keep-time: standard input has no time of change; leave it out")
        given: dict[str, Any] = {"--suffix": self.suffix, "--comparison": self.comparison, "--html": self.html}
        given |= {"--recursive": self.recursive, "--resume": self.resume, "--skip-existing": self.skip_existing}
        if unfit := [name for name, value in (given | {"--dry-run": self.dry_run}).items() if value]:
            raise click.UsageError(f"{unfit[0]} needs files with names, not a pipe (-); leave it out")

    def _check_in_place(self) -> None:
        if not self.in_place:
            return
        given: dict[str, Any] = {"--output": self.output, "--format": self.format, "--suffix": self.suffix}
        given |= {"--comparison": self.comparison, "--html": self.html, "standard input (-)": self.reads_stream}
        if contrary := [name for name, value in given.items() if value]:
            raise click.UsageError(f"--in-place replaces the inputs, which contradicts {contrary[0]}; leave one out")
        if not self.yes:
            raise click.UsageError("--in-place replaces the inputs by the results for good; add --yes to do that")

    def _check_skipping(self) -> None:
        given = {"--resume": self.resume, "--skip-existing": self.skip_existing, "--dry-run": self.dry_run}
        skipping = [name for name, value in given.items() if value]
        if self.resume and self.skip_existing:
            raise click.UsageError("--resume and --skip-existing both choose what is skipped; give only one of them")
        if skipping and (self.comparison or self.html):
            shown = "--comparison" if self.comparison else "--html"
            raise click.UsageError(f"{skipping[0]} may leave no new result for {shown} to show; leave one out")
        if self.in_place and (self.resume or self.skip_existing):
            raise click.UsageError(f"--in-place leaves no input to be compared by {skipping[0]}; leave one out")
        if self.resume and (self.output is None or self.names_file()):
            raise click.UsageError("--resume keeps its manifest in the folder of the results; name one, as in -o out/")

    def _check_engine(self) -> None:
        from ..namespaces import LOCAL
        from ..registry import registry

        if self.engine == LOCAL:
            if self.address:
                raise click.UsageError("--address is that of a cluster; add --engine, as in --engine ray")
            return
        registry().engine(self.engine)
        given = {"a pipe (-)": self.reads_stream or self.writes_stream, "--comparison": self.comparison}
        if unfit := [name for name, value in (given | {"--html": self.html}).items() if value]:
            raise click.UsageError(f"--engine {self.engine} works elsewhere, without {unfit[0]}; leave one out")

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

    def for_course(self) -> Course:
        """How the files are gone through."""
        from ..namespaces import LOCAL
        from ..upscaling.jobs import Course
        from ..upscaling.manifest import manifest_in

        return Course(
            self.workers,
            max_memory=self.max_memory,
            skip_existing=self.skip_existing,
            manifest=manifest_in(self.output) if self.resume and self.output else None,
            fail_fast=self.fail_fast,
            dry_run=self.dry_run,
            engine=LOCAL if self.dry_run else self.engine,
            address=self.address,
        )

    def for_output(self) -> Output:
        """What the files of the results are to be like.

        Raises:
            InputError: Something contradicts the format, where one is named.
        """
        from ..files.output import Output

        size = (self.width, self.height) if self.width or self.height else None
        return Output(
            format=self.format,
            quality=self.quality,
            lossless=self.lossless,
            compression=self.compression,
            background=self.background,
            keep_palette=self.keep_palette,
            keep_time=self.keep_time,
            strip=self.strip,
            tag=self.tag,
            frame=self.frame,
            colour=self.colour,
            in_place=self.in_place,
            size=size or (self.scale if isinstance(self.scale, Fraction) else None),
            fit=self.fit,
        )

    def names_file(self) -> bool:
        """Whether --output is the name of a file."""
        from ..upscaling.folder import names_file

        return self.output is not None and self.output != STREAM and names_file(self.output, self.sources)
