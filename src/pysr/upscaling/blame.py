"""Whatever the code of a plugin raises becomes a `PluginError` that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import PluginError, PysrError, is_interruption
from .memory import is_out_of_memory


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn any exception of the ``with`` block into a `PluginError`, but for those that are no fault of a plugin.

    Args:
        what: Who did what, such as "pysr-vdsr could not build the network of 'vdsr'".

    Raises:
        PluginError: The block raised something else than a `PysrError`, Ctrl-C or an error for lack of memory.
    """
    try:
        yield
    except BaseException as error:  # SystemExit and the like, too
        if isinstance(error, PysrError) or is_interruption(error) or is_out_of_memory(error):
            raise
        raise PluginError(f"{what}: {_described(error)}") from error


def _described(error: BaseException) -> str:
    try:
        return f"{error!r:.500}"
    except Exception:  # it cannot even describe itself
        return type(error).__name__
