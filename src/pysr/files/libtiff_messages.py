"""What libtiff, inside Pillow, says of a file while it decodes it: by itself it would print that on standard error."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

_log = logging.getLogger(__name__)
_LONGEST = 1000  # bytes of a message that are logged
_MESSAGES = 20  # of a file, likewise
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)  # module, format, va_list


class _Listening(threading.local):
    """What libtiff has said in this thread; None where nobody listens."""

    messages: list[str] | None = None


_here = _Listening()
_kept: list[Any] = []  # for good: another thread may be on its way into a handler at any time


@contextmanager
def messages_to_log(name: str) -> Iterator[list[str]]:
    """Log what libtiff says in the ``with`` block, in this thread, at the level of debugging; yield it, too.

    What it says in other threads takes its usual way. Where libtiff cannot be asked, as on Windows, it prints.

    Args:
        name: Of the file, for the log.
    """
    with collected_messages() as messages:
        try:
            yield messages
        finally:
            if messages:
                _log.debug("%r: its decoder says: %s", name, "; ".join(messages))


@contextmanager
def collected_messages() -> Iterator[list[str]]:
    """Collect what libtiff says in the ``with`` block, in this thread."""
    _install()
    outer, _here.messages = _here.messages, []
    try:
        yield _here.messages
    finally:
        _here.messages = outer


@cache
def _install() -> None:
    """Put handlers before those of libtiff."""
    for setter in _setters():
        _put_before(setter)


@cache
def _setters() -> tuple[Callable[[Any], Any], ...]:
    """The functions of libtiff that take a handler and return the one before; none if it does not offer them."""
    found = find_spec("PIL._imaging")
    if not found or not found.origin:
        return ()
    try:
        library = ctypes.CDLL(found.origin)  # finds what the libraries offer that it is linked to
        names = "TIFFSetErrorHandler", "TIFFSetWarningHandler"
        prototype = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        return tuple(prototype((name, library)) for name in names)
    except (AttributeError, OSError, TypeError):
        return ()


def _put_before(setter: Callable[[Any], Any]) -> None:
    """Collect what is said in threads that listen, and hand on what is said in others."""
    usual: int | None = None

    def collect(module: bytes | None, form: bytes, arguments: int) -> None:
        messages = _here.messages
        if messages is None:
            if usual:
                _Handler(usual)(module, form, arguments)
        elif len(messages) < _MESSAGES:
            text = ctypes.create_string_buffer(_LONGEST)
            ctypes.pythonapi.PyOS_vsnprintf(text, ctypes.c_size_t(_LONGEST), form, ctypes.c_void_p(arguments))
            messages.append(text.value.decode(errors="replace"))

    handler = _Handler(collect)
    _kept.append(handler)
    usual = setter(ctypes.cast(handler, ctypes.c_void_p))
