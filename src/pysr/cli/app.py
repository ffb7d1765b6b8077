"""The command line ``pysr``: parses arguments, calls the library and prints.

Importing this module imports neither torch, numpy, Pillow, Rich nor any plugin: each command imports what it needs.
Exit codes are those of `EXIT_CODES`, which ``pysr --help`` shows.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

try:
    import click
except ModuleNotFoundError:
    sys.exit("pysr: error: the command line needs packages that are not installed: pip install 'pysr-sdk[cli]'")

from .. import __version__
from ..errors import InputError, PysrError, UnknownNameError
from .compare import compare
from .evaluate import evaluate
from .export import export
from .info import info
from .models import list_models
from .options import CliState
from .plugins import plugins
from .sample import sample
from .serve import serve
from .shrink import shrink
from .train import train
from .upscale import upscale

EXIT_CODES = """\b
Exit codes:
  0    success
  1    unexpected error: a bug, please report it with the output of -v
  2    wrong usage, or an image, file or model that cannot be used
  3    some of several files failed
  4    failure of a plugin, weights file, memory or the system
  130  stopped by Ctrl-C
  143  stopped by SIGTERM"""


class _Stop(KeyboardInterrupt):
    """Raised by the signal handler for SIGINT (Ctrl-C) and SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Commands(click.Group):
    """The group of all commands. If one is stopped by a signal, it prints a line and returns an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            click.echo("Stopped.", err=True)
            return 128 + getattr(stop, "number", signal.SIGINT)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="pysr", message="%(prog)s %(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Image super-resolution: upscale images, compare models, train your own.

    \b
    pysr upscale photo.jpg -s 2             write photo_x2.jpg
    pysr models                             list the installed models
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in (upscale, shrink, sample, compare, serve, list_models, info, plugins, evaluate, train, export):
    commands.add_command(command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments without the program's name. None: those of the process.

    Returns:
        The exit code.
    """
    state = CliState()
    with _stoppable():
        try:
            code: int | None = commands.main(args, prog_name="pysr", standalone_mode=False, obj=state)
        except click.ClickException as error:
            return _usage_error(error)
        except Exception as error:
            from .terminal import print_error

            print_error(error, verbose=state.verbose)
            return _exit_code(error)
    return code or 0


def _usage_error(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    place = context.command_path if context else "pysr"
    message = error.format_message().rstrip(".")
    click.echo(f"pysr: error: {message} (see {place} --help)", err=True)
    return 2


def _exit_code(error: Exception) -> int:
    if isinstance(error, (InputError, UnknownNameError)):
        return 2
    return 4 if isinstance(error, (PysrError, OSError, MemoryError)) else 1


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into an exception, so that files are cleaned up; a second signal kills the process.

    A signal that is ignored already stays ignored, as a shell arranges for background jobs.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise _Stop(number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: by for number, by in handlers.items() if by not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
