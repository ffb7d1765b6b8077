"""The command line ``pysr``: parse, call the library, print.

Importing this module imports neither torch, numpy, Pillow, Rich nor any plugin: each command imports what it needs.
Exit codes are those of `EXIT_CODES`, which ``pysr --help`` shows.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

try:
    import click
except ModuleNotFoundError:
    sys.exit("pysr: error: the command line needs packages that are not installed: pip install 'pysr-sdk[cli]'")

from . import __version__
from .errors import InputError, PysrError, UnknownModel
from .options import PATH, Settings, SeveralScales, UpscaleOptions, hardware, memory, scale, verbosity

if TYPE_CHECKING:
    from .batch import Job
    from .evaluation import Evaluation
    from .plugin import Model

EXIT_CODES = """\b
Exit codes:
  0    all done
  1    an unexpected error: a bug, please report it with the output of -v
  2    wrong usage, or an image, file or model that cannot be used
  3    of several files, some failed
  4    a plugin, weights, memory or the system failed
  130  stopped by Ctrl-C
  143  stopped by SIGTERM"""


class _Stop(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, raised where the program is."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Commands(click.Group):
    """The group of all commands; being stopped is one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            click.echo("Stopped.", err=True)
            return 128 + getattr(stop, "number", signal.SIGINT)


@click.group(cls=Commands, invoke_without_command=True, epilog=EXIT_CODES,
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})  # fmt: skip
@click.version_option(__version__, prog_name="pysr", message="%(prog)s %(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Enlarge images with super-resolution networks.

    \b
    pysr upscale photo.jpg -m vdsr -s 2     makes photo_x2.jpg
    pysr models                             what is installed
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@commands.command()
@click.argument("inputs", metavar="[IN]...", nargs=-1, type=PATH)
@click.option(
    "-i", "--input", "more_inputs", metavar="IN", multiple=True, type=PATH, help="Another way to name an input."
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=PATH,
    help="File to make, or folder for several; default: beside the input as NAME_x3.EXT.",
)
@click.option(
    "-m",
    "--model",
    "-n",
    "--model-name",
    "model",
    metavar="NAME",
    default="vdsr",
    show_default=True,
    help="Which model; `pysr models` lists them.",
)
@click.option("--variant", metavar="NAME", help="Which version of the model; default: its first.")
@click.option("--weights", metavar="FILE", type=PATH, help="A safetensors file instead of the weights that come along.")
@click.option(
    "-s", "--scale", metavar="N", type=scale, help="Enlargement per side: 3, x3 or 3x; default: the model's first."
)
@click.option(
    "-t",
    "--tile",
    "--patch",
    "patch",
    metavar="PIXELS",
    type=click.IntRange(min=0),
    default=0,
    help="Patch side in pixels of the input; 0 (the default) chooses by memory.",
)
@click.option("-g", "--gpu-id", metavar="N", type=click.IntRange(min=0), help="The same as --device cuda:N.")
@hardware
@click.option("--fp32", is_flag=True, help="The same as --precision float32.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "exact", "blend", "mean"]),
    default="auto",
    help="How patches are joined; auto is exact wherever the model allows it.",
)
@click.option("--max-memory", metavar="SIZE", type=memory, help="Memory for one network call, such as 4G.")
@click.option("-f", "--format", metavar="EXT", help="png, jpg, webp, tif, ...; default: the input's.")
@click.option("--suffix", metavar="TEXT", help="Name outputs NAME_TEXT.EXT.")
@click.option(
    "--comparison",
    metavar="FILE",
    type=PATH,
    help="Also draw nearest, bicubic and the result side by side (one input only).",
)
@click.option("--json", is_flag=True, help="Print one JSON line per file.")
@verbosity
@click.pass_obj
def upscale(settings: Settings, /, **options: Any) -> int:
    """Enlarge an image, several, or every image in a folder.

    IN: image files and folders (without their sub-folders). Outputs keep the input's format unless -f says
    otherwise (GIF becomes PNG) and its name; beside the input, and with --suffix, NAME_SUFFIX. An existing
    output is replaced when the new one is complete; an input is never overwritten. A file that cannot be used
    costs only itself and is listed at the end.
    """
    return _upscale(settings, UpscaleOptions(**options))


def _upscale(settings: Settings, options: UpscaleOptions) -> int:
    from . import batch
    from .registry import registry

    settings.show_log()
    enlargement = options.scale or registry().model(options.model).scales[0]
    inputs = options.inputs + options.more_inputs
    jobs = batch.plan(inputs, options.output, scale=enlargement, extension=options.format, suffix=options.suffix)
    if options.comparison:
        _check_comparison(options.comparison, jobs)
    _tune_allocator()
    from .upscaler import load

    upscaler = load(options.model, enlargement, **options.for_load())
    quiet = settings.verbosity < 0
    failed = batch.run(upscaler, jobs, batch.Report(options.json, quiet, settings.verbosity > 0))
    if failed:
        click.echo(f"{len(failed)} of {len(jobs)} images failed: {', '.join(str(j.source) for j in failed)}", err=True)
    elif options.comparison:
        from .comparison import compare_files

        compare_files(jobs[0].source, jobs[0].target, options.comparison, title=upscaler.model.name)
    return 3 if failed else 0


def _check_comparison(path: Path, jobs: Sequence[Job]) -> None:
    from .files import check_output

    if len(jobs) > 1:
        raise InputError(f"--comparison draws one image, and {len(jobs)} are to be upscaled; leave it out")
    if path.resolve() in (jobs[0].source.resolve(), jobs[0].target.resolve()):
        raise InputError(f"--comparison {path} is the input or the output; choose another file")
    check_output(path, (1, 1), "RGB")


def _tune_allocator() -> None:
    from .allocator import tune_allocator

    tune_allocator()


@commands.command("models")
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity
@click.pass_obj
def list_models(settings: Settings, /, json: bool) -> None:
    """List the installed models."""
    from . import terminal
    from .registry import registry

    settings.show_log()
    models = list(registry().models.values())
    if json:
        _print_json([_facts(model) for model in models])
    else:
        terminal.print_table(terminal.models_table(models))


def _facts(model: Model) -> dict[str, Any]:
    names = ("name", "aliases", "scales", "variants", "colour", "domain", "stochastic", "summary", "paper")
    weights = []
    for key, entry in model.weights.items():
        scale, variant = key if isinstance(key, tuple) else (key, None)
        weights.append({"scale": scale, "variant": variant, "licence": entry.licence, "trained_on": entry.trained_on})
    return {name: getattr(model, name) for name in names} | {"weights": weights}


@commands.command("plugins")
@click.option("--json", is_flag=True, help="Print JSON.")
@verbosity
@click.pass_obj
def list_plugins(settings: Settings, /, json: bool) -> None:
    """List the installed plugins, and what is wrong with them."""
    from dataclasses import asdict

    from . import terminal
    from .registry import registry

    settings.show_log()
    plugins = registry().plugins
    if json:
        _print_json([asdict(plugin) for plugin in plugins])
    else:
        terminal.print_table(terminal.plugins_table(plugins))


def _print_json(facts: Any) -> None:
    import json

    click.echo(json.dumps(facts, indent=2))


@commands.command(cls=SeveralScales)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.option("--data", metavar="DIR", required=True, type=PATH, help="Folder of true images.")
@click.option(
    "-s",
    "--scale",
    "scales",
    metavar="N...",
    multiple=True,
    type=scale,
    help="Scales, such as 2 3 4; default: all that the models have in common.",
)
@click.option("--protocol", metavar="NAME", default="y-shave", show_default=True, help="How scores are computed.")
@click.option("--images", is_flag=True, help="Show the scores of every image, too.")
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=PATH,
    help="Write the scores as JSON; - prints them instead of the table.",
)
@hardware
@verbosity
@click.pass_obj
def evaluate(
    settings: Settings, /, names: tuple[str, ...], json_file: Path | None, images: bool, **options: Any
) -> None:
    """Measure models on a folder of images, side by side: PSNR in dB and SSIM."""
    from . import terminal

    settings.show_log()
    options["scales"] = options["scales"] or _common_scales(names)
    evaluations = _evaluate(settings, names, **options)
    facts = [evaluation.as_dict() for evaluation in evaluations]
    if json_file == Path("-"):
        _print_json(facts)
    else:
        terminal.print_table(terminal.evaluation_table(evaluations, images=images))
    if json_file not in (None, Path("-")):
        _write_json(facts, json_file)


def _common_scales(names: Sequence[str]) -> list[int]:
    from .registry import registry

    offered = [(name, registry().model(name).scales) for name in names]
    common = set.intersection(*(set(scales) for _, scales in offered))
    if not common:
        listed = ", ".join(f"{name}: {' '.join(map(str, scales))}" for name, scales in offered)
        raise InputError(f"these models have no scale in common ({listed}); evaluate them one by one")
    return sorted(common)


def _evaluate(settings: Settings, names: Sequence[str], **options: Any) -> list[Evaluation]:
    _tune_allocator()
    from .evaluation import evaluate
    from .terminal import Bar

    device, precision = options.pop("device") or "auto", options.pop("precision") or "auto"
    with Bar("evaluating", unit="images", shown=settings.verbosity >= 0) as bar:
        return evaluate(names, device=device, precision=precision, progress=bar.update, **options)


def _write_json(facts: Any, path: Path) -> None:
    import json

    from .files import atomic_write

    with atomic_write(path) as file:
        file.write(json.dumps(facts, indent=2).encode() + b"\n")


@commands.command()
@click.argument("name", metavar="MODEL")
@click.option(
    "--data",
    metavar="DIR",
    required=True,
    multiple=True,
    type=PATH,
    help="Folder of images to learn from; may be given several times.",
)
@click.option("--out", metavar="DIR", required=True, type=PATH, help="Folder for the weights and the log.")
@click.option("--steps", metavar="N", type=click.IntRange(min=1), help="Default: as the recipe says.")
@click.option("--validation", metavar="DIR", type=PATH, help="Folder of images that decide which weights are the best.")
@click.option("--initial", metavar="FILE", type=PATH, help="Weights to start from.")
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Of everything random.")
@verbosity
@click.pass_obj
def train(settings: Settings, /, name: str, data: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Train a model by its recipe."""
    settings.show_log("INFO")
    from .terminal import Bar
    from .training import train

    with Bar(f"training {name}", unit="steps", shown=settings.verbosity >= 0) as bar:
        train(name, list(data), out, progress=bar.update, **options)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. args: without the program's name; None: those of the process."""
    settings = Settings()
    with _stoppable():
        try:
            code: int | None = commands.main(args, prog_name="pysr", standalone_mode=False, obj=settings)
        except click.ClickException as error:
            return _usage_error(error)
        except Exception as error:
            from .terminal import complain

            complain(error, verbose=settings.verbosity > 0)
            return _exit_code(error)
    return code or 0


def _usage_error(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    place = context.command_path if context else "pysr"
    message = error.format_message().rstrip(".")
    click.echo(f"pysr: error: {message} (see {place} --help)", err=True)
    return 2


def _exit_code(error: Exception) -> int:
    if isinstance(error, (InputError, UnknownModel)):
        return 2
    return 4 if isinstance(error, (PysrError, OSError, MemoryError)) else 1


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise where the program is, so that it cleans up; a second one ends it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise _Stop(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
