"""`Engine`: where the files of a run are worked on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plugin import Progress


@dataclass(frozen=True)
class EngineWork:
    """The files of a run, and what is to be done with each.

    Attributes:
        jobs: The files, in the order in which they are to be begun: opaque, and picklable.
        worker: Called with a job, and, in this process, its progress callback or None; returns what became of it, and
            raises nothing of the file's. It is picklable, without what it has loaded: each process loads its models
            once, with the first job.
        finish: Called in this process with a job's number and what ``worker`` returned, once for each job and as soon
            as that is known: it notes it in the manifest. Returns what is to be yielded. Threads may call it.
        progress: Called in this process with a job's number when the job is begun; returns a callback for ``worker``,
            or None.
        lost: Called with a job and an exception: what became of a job whose worker was lost too often.
        workers: How many files the user wants worked on at the same time; None leaves it to the engine.
        address: Of the machines to use, in the engine's own words; None: its default.
        weight: Tells the bytes of memory that a job, by its number, takes beside its network calls.
        max_memory: Bytes that the jobs in work may take together on one machine, beside their network calls; None: a
            share of what is free.
    """

    jobs: Sequence[Any]
    worker: Callable[..., Any]
    finish: Callable[[int, Any], Any]
    progress: Callable[[int], Progress | None]
    lost: Callable[[Any, Exception], Any]
    workers: int | None
    address: str | None
    weight: Callable[[int], int]
    max_memory: int | None


@dataclass(frozen=True)
class Engine:
    """Where files are worked on, for ``pysr upscale FOLDER --engine NAME``: threads here, or other machines.

    Attributes:
        name: How users ask for it; unique over all installed plugins.
        run: Works on the files of an `EngineWork`, and yields what its ``finish`` returns for each, in any order. What
            is unfinished when the iterator is closed is given up. Raises InputError if there is nowhere to work.
        summary: One line about it.
    """

    name: str
    run: Callable[[EngineWork], Generator[Any]]
    summary: str
