"""Progress of work in several parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from ..plugin import Progress


def progress_shares(progress: Progress | None, sizes: Iterable[int]) -> Iterator[Progress | None]:
    """Split a progress callback among the parts of some work.

    Args:
        progress: Called as progress(done, total), ``total`` being the sum of the sizes; None reports nothing.
        sizes: How much work each part is; not looked at if ``progress`` is None.

    Yields:
        For each part in order, a callback for its own progress, in any units; None if ``progress`` is None.
    """
    if not progress:
        yield from repeat(None)
        return
    parts = list(sizes)
    before, total = 0, sum(parts)
    for size in parts:

        def report(done: int, of: int, before: int = before, size: int = size) -> None:
            progress(before + done * size // of, total)

        yield report
        before += size


def progress_sums(progress: Progress | None, sizes: Sequence[int]) -> Iterator[Progress | None]:
    """Split a progress callback among parts that are worked on by turns.

    Args:
        progress: As for `progress_shares`.
        sizes: How much work each part is.

    Yields:
        As `progress_shares`.
    """
    done = [0] * len(sizes)
    for number, size in enumerate(sizes):

        def report(now: int, of: int, number: int = number, size: int = size) -> None:
            if progress:
                done[number] = now * size // of
                progress(sum(done), sum(sizes))

        yield report if progress else None
