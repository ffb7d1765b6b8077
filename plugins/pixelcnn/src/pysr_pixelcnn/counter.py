"""Progress of the studies on a terminal."""

import sys

from pysr.plugin import Progress


def counter(text: str) -> Progress:
    """Make a progress callback that shows "TEXT DONE/TOTAL" in one line of a terminal, and nothing elsewhere."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{text} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show
