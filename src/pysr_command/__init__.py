"""The command ``pysr``, in a package of its own, as PySR, also called ``pysr``, may have replaced parts of that one.

Whichever of the two was installed last, PySR's ``sr.py`` lies in the folder; then nothing of either is imported.
"""

from __future__ import annotations

# importing `signal` itself takes as long as Python's start, and Ctrl-C would show a traceback
import _signal  # type: ignore[import-not-found]
import os
import sys


def main() -> int:
    """Run the command line ``pysr``; return its exit code."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # likewise within the imports that follow
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from importlib.machinery import PathFinder

    found = PathFinder.find_spec("pysr")
    if found and found.origin and os.path.exists(os.path.join(os.path.dirname(found.origin), "sr.py")):
        sys.exit(
            "pysr: error: pysr-sdk (image super-resolution) and PySR (symbolic regression) are installed in one"
            " environment, where both are called pysr; pip uninstall both, then install the one that you want"
        )
    from pysr.cli.app import main as run

    return run()
