"""``pysr serve``."""

from __future__ import annotations

from typing import Any

import click

from ..errors import InputError
from .options import PATH, CliState, device_options, parse_memory, verbosity_options
from .terminal import eprint


@click.command()
@click.option("--host", metavar="NAME", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free.")
@click.option(
    "--allow-host", "allowed_hosts", metavar="NAME", multiple=True, help="A name that browsers may use. Repeatable."
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Images at the same time.")
@click.option(
    "--models-folder", metavar="DIR", type=PATH, help="Folder of model files that can be asked for, by their names."
)
@click.option("--max-bytes", metavar="SIZE", type=parse_memory, help="Of a file that is sent. Default: 32M.")
@click.option("--max-pixels", metavar="N", type=click.IntRange(min=1), help="Of an image. Default: 16000000.")
@click.option("--max-output-pixels", metavar="N", type=click.IntRange(min=1), help="Of a result. Default: 64000000.")
@click.option("--max-waiting", metavar="N", type=click.IntRange(min=1), help="Images in the queue. Default: 16.")
@click.option("--timeout", "seconds", metavar="S", type=click.IntRange(min=1), help="For an image. Default: 120.")
@device_options
@verbosity_options
@click.pass_obj
def serve(state: CliState, /, **options: Any) -> None:
    """Upscale images for browsers and programs, over HTTP.

    \b
    pysr serve                                                    then open http://127.0.0.1:8000/
    curl -F image=@photo.jpg -F scale=2 -o big.jpg http://127.0.0.1:8000/v1/upscale

    Only programs of this machine can reach it, unless --host says otherwise. It knows no users and no encryption: put a
    proxy that does before it. Ctrl-C and SIGTERM stop it when the images that it has accepted are finished, after 7
    seconds at most.
    """
    state.show_log()
    try:
        from ..serve.limits import Limits
        from ..serve.server import Settings, is_loopback
        from ..serve.server import serve as run
    except ModuleNotFoundError as error:
        raise InputError(
            f"the service needs a package that is not installed ({error.name}); pip install 'pysr-sdk[serve]'"
        ) from error
    names = ("max_bytes", "max_pixels", "max_output_pixels", "max_waiting", "seconds")
    given = {name: options.pop(name) for name in names}
    limits = Limits(**{name: value for name, value in given.items() if value is not None})
    settings = Settings(**options, limits=limits)
    if not is_loopback(settings.host):
        eprint("pysr: warning: whoever can reach this machine can use the service; it asks for no password")

    def started(url: str) -> None:
        if not state.quiet:
            eprint(f"pysr serve: {url} is ready; Ctrl-C stops it")

    run(settings, started)
