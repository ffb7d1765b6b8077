"""Every error that pysr raises on purpose, and `format_error`, which formats any exception as one line.

PysrError
├── InputError         an argument, image or file that cannot be used     (also a ValueError)
├── UnknownNameError   no installed plugin provides that name             (also a LookupError)
├── PluginError        a plugin broke its contract; names the plugin
├── WeightsError       a weights file is missing, damaged or of another network
└── OutOfMemoryError   even the smallest tile did not fit                 (also a MemoryError)

A message says what was given, what is allowed and what to do: in lower case, without a full stop, as in
``"vdsr has no scale 5; it has 2, 3, 4"``.
"""

import signal
import sys

__all__ = ["InputError", "OutOfMemoryError", "PluginError", "PysrError", "UnknownNameError", "WeightsError"]

_DISTRIBUTIONS = {  # what pip knows a package as; "pysr" is another program's
    "pysr": "pysr-sdk",
    "PIL": "pillow",
    "cv2": "opencv-python",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


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


class Stop(BaseException):
    """Raised by the command line at SIGINT (Ctrl-C) and SIGTERM; no `KeyboardInterrupt`, which libraries catch.

    Attributes:
        code: The exit code that it means.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def is_interruption(error: BaseException) -> bool:
    """Tell whether an exception is that of Ctrl-C, and not of a plugin, which may raise anything."""
    if isinstance(error, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler  # which alone raises it
    return isinstance(error, Stop)


def format_error(error: BaseException) -> str:
    """Format an exception as one line of text.

    Args:
        error: Any exception.

    Returns:
        The message alone for pysr's own errors; the system's reason and the file's name for an `OSError`; for every
        other exception its type and message. Line breaks become spaces.
    """
    message = _message(error)
    if isinstance(error, PysrError):
        text = message
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.strerror}: {error.filename!r}"
    elif isinstance(error, MemoryError):  # often without a message; NumPy's says how much was asked for
        text = f"not enough memory: {message}" if message else "not enough memory"
    else:
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return " ".join(text.splitlines())


def explain_import(target: str, error: BaseException) -> str:
    """Say what is wrong where something of a plugin could not be imported, and what to do.

    Args:
        target: What was to be imported, as ``"pysr_vdsr.network:build"``.
        error: What that raised.
    """
    package = target.partition(":")[0].partition(".")[0]
    missing = ((error.name or "") if isinstance(error, ModuleNotFoundError) else "").partition(".")[0]
    update = "-U " if missing in sys.modules else ""  # it is there, but has no such part
    own = missing in ("", package) or missing in sys.stdlib_module_names  # Python's have no packages
    command = "" if own else f"pip install {update}{_DISTRIBUTIONS.get(missing, missing)}, or "
    return f"{target} cannot be loaded ({error}); {command}reinstall the package {_DISTRIBUTIONS.get(package, package)}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception of a plugin may be unable to describe itself
        return ""
