"""Work on files by actors of a Ray cluster: each loads the model once, and paths travel, not pixels."""

from __future__ import annotations

import logging
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from pysr.errors import InputError, PluginError
from pysr.plugin import EngineWork

try:
    import ray
    from ray.exceptions import RayActorError, RayError, RayTaskError
except ModuleNotFoundError as error:
    raise PluginError("the engine ray needs Ray, which is not installed: pip install ray") from error

CORES = 4  # of an actor: a network gains little by more
_TRIES = 3  # of a file, before it is given up: it may be what brings its actor down
_PATIENCE = 120.0  # seconds for an actor to start while no other works
_LONGEST_CONNECTING = 10.0  # seconds
_AHEAD = 2  # files of an actor with a GPU: one is read or written while the network computes

_log = logging.getLogger("pysr")


def run(work: EngineWork) -> Iterator[Any]:
    """Work on files as `pysr.plugin.Engine.run` does.

    Args:
        work: The files. ``address`` is that of `ray.init`: "auto", "HOST:6379", "ray://HOST:10001"; None: the cluster
            that this process is connected to, or that RAY_ADDRESS names, or one of this machine.

    Raises:
        InputError: There is no cluster at the address, or it has no room for the workers.
        PluginError: Actors cannot be started, or all of them are lost.
    """
    connects = not ray.is_initialized()
    if connects:
        _connect(work.address)
    try:
        yield from _Crew(work).results()
    finally:
        if connects:
            ray.shutdown()


def _connect(address: str | None) -> None:
    try:
        _check_answers(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        where = f"at {address!r}" if address else "here"
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"there is no Ray cluster {where} ({reason}); check the address, or `ray start`") from error


def _check_answers(address: str | None) -> None:
    """Raise OSError if nothing listens at an address, for which Ray would wait for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _LONGEST_CONNECTING).close()


def groups(processors: Sequence[float], workers: int | None) -> tuple[int, int]:
    """Divide the processors of machines among actors.

    Args:
        processors: Of each machine.
        workers: How many actors are wanted; None: one for every `CORES` processors, or for each smaller machine.

    Returns:
        The processors of each actor, and the number of actors.

    Raises:
        InputError: There are fewer processors than workers.
    """
    found = [int(count) for count in processors if count >= 1]
    for cores in range(CORES if workers is None else max(found, default=0), 0, -1):
        room = sum(count // cores for count in found)
        if workers is None and room and cores <= min(found):
            return cores, room
        if workers is not None and room >= workers:
            return cores, workers
    raise InputError(f"the cluster has {sum(found)} processors, too few for {workers or 1} worker(s); ask for fewer")


def _resources(workers: int | None) -> tuple[dict[str, Any], int]:
    """Return the options of each actor, and how many there are to be."""
    free = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus := int(sum(node.get("GPU", 0) for node in free)):
        return {"num_gpus": 1, "max_concurrency": _AHEAD}, min(gpus, workers or gpus)
    cores, count = groups([node.get("CPU", 0) for node in free], workers)
    return {"num_cpus": cores}, count


@ray.remote(max_restarts=0)
class _Actor:
    """A process on some machine of the cluster."""

    def __init__(self, worker: Callable[[Any], Any]) -> None:
        self._worker = worker

    def start(self) -> None:
        """Return when the actor is there."""

    def work(self, job: Any) -> Any:
        """Work on a file."""
        return self._worker(job)


class _Crew:
    def __init__(self, work: EngineWork) -> None:
        self._work = work
        self._options, self._count = _resources(work.workers)
        self._worker = ray.put(work.worker)
        self._waiting = deque(range(len(work.jobs)))
        self._tries: Counter[int] = Counter()
        self._failed_starts = 0
        self._starting: dict[Any, Any] = {}  # actors by what tells that they are there
        self._flying: dict[Any, tuple[Any, int]] = {}  # actors and numbers of jobs, by what becomes of these

    def results(self) -> Iterator[Any]:
        try:
            for _ in range(min(self._count, len(self._work.jobs))):
                self._start()
            while self._waiting or self._flying:
                yield from self._next()
        finally:
            for actor in {*self._starting.values(), *(actor for actor, _ in self._flying.values())}:
                with suppress(RayError):
                    ray.kill(actor)

    def _start(self) -> None:
        actor = _Actor.options(**self._options).remote(self._worker)  # type: ignore[attr-defined]
        self._starting[actor.start.remote()] = actor

    def _next(self) -> Iterator[Any]:
        """Wait until an actor has started or finished a file, and give it the next one."""
        patience = None if self._flying else _PATIENCE
        ready, _ = ray.wait([*self._starting, *self._flying], timeout=patience)
        if not ready:
            raise PluginError(
                f"Ray has started no worker within {_PATIENCE:.0f} seconds; look at the cluster (`ray status`)"
            )
        if (reference := ready[0]) in self._starting:
            self._started(reference)
            return
        actor, number = self._flying.pop(reference)
        job = self._work.jobs[number]
        try:
            outcome = ray.get(reference)
        except RayActorError as error:  # the process or the machine is gone
            self._tries[number] += 1
            self._start()
            if self._tries[number] < _TRIES:
                _log.warning("a worker of the cluster was lost; its file is done again elsewhere")
                self._waiting.appendleft(number)
                return
            lost = PluginError(f"{_TRIES} workers of the cluster were lost over it, the last one so: {error}")
            outcome = self._work.lost(job, lost)
        except RayTaskError as error:
            outcome = self._work.lost(job, PluginError(f"a worker of the cluster failed: {error.cause!r}"))
            self._employ(actor)
        else:
            self._employ(actor)
        yield self._work.finish(number, outcome)

    def _started(self, reference: Any) -> None:
        actor = self._starting.pop(reference)
        try:
            ray.get(reference)
        except RayError as error:
            self._failed_starts += 1
            if self._failed_starts > _TRIES * self._count:
                raise PluginError(f"Ray cannot start workers; is pysr installed on every machine? ({error})") from error
            self._start()
            return
        for _ in range(self._options.get("max_concurrency", 1)):
            self._employ(actor)

    def _employ(self, actor: Any) -> None:
        """Give an actor the next file; one without files ends by itself."""
        if self._waiting:
            number = self._waiting.popleft()
            self._flying[actor.work.remote(self._work.jobs[number])] = actor, number
