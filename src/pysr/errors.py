"""Every error that pysr raises on purpose, and `format_error`, which formats any exception as one line.

PysrError
├── InputError         an argument, image or file that cannot be used     (also a ValueError)
├── UnknownNameError   no installed plugin provides that name             (also a LookupError)
├── PluginError        a plugin broke its contract; names the plugin
├── WeightsError       a weights file is missing, damaged or of another network
└── OutOfMemoryError   even the smallest tile did not fit                 (also a MemoryError)

A message says what was given, what is allowed and what to do: in lower case, without a full stop, as in
``"scale of vdsr is 5; it can be 2, 3, 4"``.
"""

__all__ = ["InputError", "OutOfMemoryError", "PluginError", "PysrError", "UnknownNameError", "WeightsError"]


class PysrError(Exception):
    """Base of every error that pysr raises on purpose."""


class InputError(PysrError, ValueError):
    """An argument, image or file that pysr cannot use."""


class UnknownNameError(PysrError, LookupError):
    """No installed plugin provides the model, loss, preprocessor or metric."""


class PluginError(PysrError):
    """A plugin broke its contract; the message names the plugin and what it did."""


class WeightsError(PysrError):
    """A weights file is missing, damaged, or belongs to another network."""


class OutOfMemoryError(PysrError, MemoryError):
    """Even the smallest tile did not fit into memory; the message names the size tried last."""


def format_error(error: BaseException) -> str:
    """Format an exception as one line of text.

    Args:
        error: Any exception.

    Returns:
        The message alone for pysr's own errors; the system's reason and the file's name for an `OSError`; for every
        other exception its type and message. Line breaks become spaces.
    """
    if isinstance(error, PysrError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.strerror}: {error.filename!r}"
    elif isinstance(error, MemoryError):  # often without a message; NumPy's says how much was asked for
        text = f"not enough memory: {error}" if str(error) else "not enough memory"
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return " ".join(text.splitlines())
