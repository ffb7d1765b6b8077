"""The command line ``pysr``: parses arguments, calls the library and prints.

Importing this module imports neither torch, numpy, Pillow, Rich nor any plugin: each command imports what it needs.
Exit codes are those of `EXIT_CODES`, which ``pysr --help`` shows.
"""

from __future__ import annotations

import atexit
import errno
import sys
from collections.abc import Sequence
from contextlib import suppress

from .stopping import Stopping, end_in_time, leave, stopped_at_once

with stopped_at_once():
    try:
        import click
    except ModuleNotFoundError:
        sys.exit("pysr: error: the command line needs packages that are not installed: pip install 'pysr-sdk[cli]'")

    from .. import __version__
    from ..errors import InputError, PysrError, Stop, UnknownNameError
    from .collector import skip_last_collection
    from .compare import compare
    from .evaluate import evaluate
    from .export import export
    from .info import info
    from .models import list_models
    from .options import CliState
    from .plan import plan
    from .plugins import plugins
    from .sample import sample
    from .serve import serve
    from .shrink import shrink
    from .terminal import discard_output, eprint, open_standard_streams, print_error
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
_SYSTEM_FAILURES = frozenset(  # of reading and writing files, where the user's arguments are not to blame
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
)


@click.group(
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


for command in (upscale, plan, shrink, sample, compare, serve, list_models, info, plugins, evaluate, train, export):
    commands.add_command(command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: Arguments without the program's name. None: those of the process, which ends afterwards.

    Returns:
        The exit code.
    """
    is_program = args is None
    if is_program:
        open_standard_streams()
        atexit.register(skip_last_collection)  # before all others, so that it is called after them
    stopping, code = Stopping(), 0
    with suppress(Stop), stopping.within(for_good=is_program):
        code = _run(args, stopping)
    if stopping.stop:  # even if something has swallowed it
        if is_program:
            leave(stopping.stop.code)
        eprint("Stopped.")
        code = stopping.stop.code
    if is_program:
        end_in_time(code)
    return code


def _run(args: Sequence[str] | None, stopping: Stopping) -> int:
    state = CliState()
    try:
        code: int | None = commands.main(args, prog_name="pysr", standalone_mode=False, obj=state)
        sys.stdout.flush()
    except click.ClickException as error:
        return _usage_error(error)
    except BaseException as error:  # of a plugin, it may be a SystemExit or worse
        if stopping.stop:
            raise stopping.stop from error
        if _nobody_reads(error):
            discard_output()
            return 0
        print_error(error, verbose=state.verbose)
        return _exit_code(error)
    return code or 0


def _nobody_reads(error: BaseException) -> bool:
    """Whether who reads the output has seen enough, as after ``| head``; Rich makes a SystemExit of it."""
    return isinstance(error.__context__ if isinstance(error, SystemExit) else error, BrokenPipeError)


def _usage_error(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    place = context.command_path if context else "pysr"
    message = error.format_message().rstrip(".")
    eprint(f"pysr: error: {message} (see {place} --help)")
    return 2


def _exit_code(error: BaseException) -> int:
    cause = error.__cause__ if isinstance(error, InputError) else None
    if isinstance(cause, OSError) and cause.errno in _SYSTEM_FAILURES:
        return 4
    from .terminal import lacks_torch

    if isinstance(error, (InputError, UnknownNameError)):
        return 2
    return 4 if isinstance(error, (PysrError, OSError, MemoryError)) or lacks_torch(error) else 1
