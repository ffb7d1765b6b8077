"""Bands of rows: cut or joined to an equal height, and worked on by several threads in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import numpy as np

from .raster import Pixels

Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST_THREADS = 8


def rebanded(bands: Iterable[Pixels], height: int) -> Iterator[Pixels]:
    """Cut and join bands of rows so that all but the last have the same height.

    Args:
        bands: (h, W) or (h, W, C), of any heights.
        height: In rows.
    """
    rest: list[Pixels] = []
    missing = height
    for band in bands:
        start = 0
        while len(band) - start >= missing:
            whole = [*rest, band[start : start + missing]]
            yield whole[0] if len(whole) == 1 else np.concatenate(whole)
            start, rest, missing = start + missing, [], height
        if start < len(band):
            rest.append(band[start:])
            missing -= len(band) - start
    if rest:
        yield rest[0] if len(rest) == 1 else np.concatenate(rest)


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call a function for each item in several threads; results come in order, and few wait in memory."""
    items = iter(items)
    beginning = list(islice(items, 2))
    if len(beginning) < 2:  # a thread takes longer to start than a small image to compress
        yield from map(work, beginning)
        return
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in chain(beginning, items):
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
