"""Jobs, the queue in which they wait, and the worker processes that do them."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import PysrError
from .limits import Limits
from .problems import Problem

_START_SECONDS = 120  # for a worker to load torch and find the models
_GRACE_SECONDS = 2.0  # for a worker to notice that a job was cancelled, before it is killed
_MOST_BACKOFF = 30.0  # seconds between two starts of workers that die at once
_LONGEST_LINE = 2**20  # bytes of a message from a worker

_log = logging.getLogger("pysr")


@dataclass(eq=False)
class Job:
    """One request for a worker.

    Attributes:
        number: Unique in this process.
        folder: Its own folder for the image and the result; removed once nobody needs it (`Pool.release`).
        request: What the worker is asked to do.
        token: What the client follows its progress by; "" if it does not.
        outcome: The worker's result; or a `Problem`.
        is_working: Whether a worker has begun and not ended.
        is_released: Whether nobody waits for it any more.
        done: Progress, out of `total`.
        total: 0 until there is any.
    """

    number: int
    folder: Path
    request: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    outcome: asyncio.Future[dict[str, Any]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_working: bool = False
    is_released: bool = False
    done: int = 0
    total: int = 0

    def fail(self, problem: Problem) -> None:
        """End the job with a problem, unless it has ended."""
        if not self.outcome.done():
            self.outcome.set_exception(problem)
            self.outcome.exception()  # nobody may be left to ask for it


class Pool:
    """Worker processes and the jobs that wait for them.

    Args:
        settings: For the workers, as `worker.Worker` takes them.
        limits: Those of the service.
        workers: Number of processes, each of which works on one job at a time.
        command: What starts a worker; default: ``python -m pysr.serve.worker``.

    Attributes:
        models: What can be asked for, as the first worker described it.
        restarts: Number of workers that were replaced.
        is_draining: Whether new jobs are refused because the service stops.
    """

    def __init__(
        self, settings: Mapping[str, Any], limits: Limits, workers: int = 1, command: Sequence[str] | None = None
    ) -> None:
        self.limits = limits
        self.models: list[dict[str, Any]] = []
        self.restarts = 0
        self.is_draining = False
        self._settings = settings
        self._command = command or (sys.executable, "-m", "pysr.serve.worker")
        self._count = workers
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Condition()
        self._live: dict[str, Job] = {}  # by token
        self._ready: set[asyncio.subprocess.Process] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._seconds = 1.0  # of a job, a running mean
        self._numbers = 0
        self._home = Path(tempfile.mkdtemp(prefix="pysr-serve-"))

    async def start(self) -> None:
        """Start the workers, and wait until the first is ready.

        Raises:
            PysrError: It does not start.
        """
        process = await self._started()
        self._tasks = [asyncio.create_task(self._keep_worker(process if not i else None)) for i in range(self._count)]

    async def close(self) -> None:
        """End the workers, whatever they do, and remove all files."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def waiting(self) -> int:
        """Number of jobs that wait for a worker."""
        return len(self._waiting)

    @property
    def ready(self) -> int:
        """Number of workers that can work, or do."""
        return len(self._ready)

    def new_job(self, token: str = "") -> Job:
        """Make a job with an empty folder; it must be released in the end.

        Raises:
            Problem: The service stops, too many jobs wait, or another has the same token.
        """
        self.check_room()
        if token in self._live:
            raise Problem(409, "another request with this id is running; give each request an id of its own")
        self._numbers += 1
        folder = self._home / str(self._numbers)
        folder.mkdir()
        job = Job(self._numbers, folder, token=token)
        if token:
            self._live[token] = job
        return job

    def check_room(self) -> None:
        """Raise Problem if the service stops, or if as many jobs wait as may."""
        if self.is_draining:
            raise Problem(503, "the service is stopping; try again when it has been started anew", retry_after=10)
        if len(self._waiting) >= self.limits.max_waiting:
            raise Problem(
                429, f"{len(self._waiting)} images wait already; try again later", retry_after=self.expected_seconds()
            )

    def expected_seconds(self) -> int:
        """Estimate when there will be room in the queue: 1 to 60 seconds."""
        return min(max(math.ceil(len(self._waiting) * self._seconds / self._count), 1), 60)

    async def submit(self, job: Job, request: Mapping[str, Any]) -> None:
        """Put a job into the queue; its outcome comes as `Job.outcome`.

        Raises:
            Problem: As for `new_job`.
        """
        self.check_room()
        job.request = request
        async with self._arrived:
            self._waiting.append(job)
            self._arrived.notify_all()
        asyncio.get_running_loop().call_later(self.limits.wait_seconds, self._give_up, job)

    def _give_up(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            job.fail(Problem(503, "other images took too long; try again later", retry_after=self.expected_seconds()))

    def progress(self, token: str) -> dict[str, Any]:
        """Return how far a job has come; "unknown" if there is no such job: it has ended, or has not arrived."""
        if (job := self._live.get(token)) is None:
            return {"state": "unknown"}
        if job.is_working:
            return {"state": "working", "done": job.done, "total": job.total}
        if job in self._waiting:
            return {"state": "waiting", "ahead": self._waiting.index(job)}
        return {"state": "arriving"}

    def release(self, job: Job) -> None:
        """Forget a job that nobody waits for any more: it is cancelled unless it has ended, and its files go."""
        self._live.pop(job.token, None)
        with suppress(ValueError):
            self._waiting.remove(job)
        job.outcome.cancel()
        job.is_released = True
        if not job.is_working:  # otherwise its files go when the worker has stopped
            shutil.rmtree(job.folder, ignore_errors=True)

    def drain(self) -> None:
        """Accept no more jobs, and refuse those that are not finished after `Limits.drain_seconds`."""
        self.is_draining = True
        asyncio.get_running_loop().call_later(self.limits.drain_seconds, self._refuse_the_rest)

    def _refuse_the_rest(self) -> None:
        for task in self._tasks:
            task.cancel()
        for job in list(self._waiting):
            job.fail(_stopped())
        self._waiting.clear()

    # --- workers -----------------------------------------------------------------------------------------------------

    async def _keep_worker(self, process: asyncio.subprocess.Process | None) -> None:
        """Let a worker do jobs, and start another when it dies."""
        backoff = 0.5
        while True:
            try:
                process = process or await self._started()
                await self._do_jobs(process)
                backoff = 0.5
            except PysrError as error:
                _log.error("%s", error)
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _MOST_BACKOFF)
            finally:
                if process:
                    await self._end(process)
            self.restarts += 1
            process = None

    async def _started(self) -> asyncio.subprocess.Process:
        """Start a worker and wait until it is ready.

        Raises:
            PysrError: It ends or says nothing.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, limit=_LONGEST_LINE)
        try:
            _send(process, self._settings)
            ready = await asyncio.wait_for(_receive(process), _START_SECONDS)
        except BaseException as error:
            await self._end(process)
            if isinstance(error, (OSError, TimeoutError)):
                raise PysrError(f"a worker process does not start ({error!r}); the lines above say more") from error
            raise
        if ready is None:
            await self._end(process)
            raise PysrError("a worker process ended while it started; the lines above say why")
        self.models = ready["models"]
        self._ready.add(process)
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._ready.discard(process)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _do_jobs(self, process: asyncio.subprocess.Process) -> None:
        """Give jobs to a worker until it dies, or must, because it does not stop a job that it should."""
        died = asyncio.create_task(process.wait())
        try:
            while True:
                next_job = asyncio.create_task(self._next_job())
                try:
                    await asyncio.wait({next_job, died}, return_when=asyncio.FIRST_COMPLETED)
                    if died.done():
                        if next_job.done():
                            self._waiting.appendleft(next_job.result())
                        return
                    job = next_job.result()
                finally:
                    next_job.cancel()
                if not await self._do(process, job):
                    return
        finally:
            died.cancel()

    async def _next_job(self) -> Job:
        async with self._arrived:
            await self._arrived.wait_for(lambda: bool(self._waiting))
            return self._waiting.popleft()

    async def _do(self, process: asyncio.subprocess.Process, job: Job) -> bool:
        """Let a worker do a job; return whether the worker can do another."""
        if job.outcome.done():
            return True
        job.is_working = True
        started = asyncio.get_running_loop().time()
        try:
            _send(process, {"job": job.number, "folder": str(job.folder), **job.request})
            return await self._follow(process, job)
        except asyncio.CancelledError:
            job.fail(_stopped())
            raise
        finally:
            job.is_working = False
            self._seconds += 0.2 * (asyncio.get_running_loop().time() - started - self._seconds)
            if job.is_released:  # nobody else removes the files
                shutil.rmtree(job.folder, ignore_errors=True)

    async def _follow(self, process: asyncio.subprocess.Process, job: Job) -> bool:
        """Wait for a job's result, within its time; return whether the worker can do another."""
        arriving = asyncio.create_task(self._last_message(process, job))
        try:
            waited: set[asyncio.Future[Any]] = {arriving, job.outcome}
            await asyncio.wait(waited, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if not arriving.done():  # the client has gone, or time is up
                job.fail(_too_slow(self.limits.seconds))
                _send(process, {"cancel": job.number})
                await asyncio.wait({arriving}, timeout=_GRACE_SECONDS)
                return arriving.done() and arriving.result() is not None
            message = arriving.result()
        finally:
            arriving.cancel()
        if message is None:
            job.fail(Problem(500, "the process that worked on the image died, perhaps of it; try another image"))
        elif "problem" in message:
            job.fail(Problem(**message["problem"]))
        elif not job.outcome.done():
            job.outcome.set_result(message["result"])
        return message is not None

    async def _last_message(self, process: asyncio.subprocess.Process, job: Job) -> dict[str, Any] | None:
        """Note a job's progress, and return its result or problem; None if the worker died."""
        while message := await _receive(process):
            if message.get("job") != job.number:
                continue
            if "done" not in message:
                return message
            job.done, job.total = message["done"], message["total"]
        return None


def _stopped() -> Problem:
    return Problem(503, "the service stopped before the image was finished; send it again later", retry_after=10)


def _too_slow(seconds: float) -> Problem:
    return Problem(
        503, f"the image was not finished within {seconds:g} seconds; send a smaller one, or choose a faster model"
    )


def _send(process: asyncio.subprocess.Process, message: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")


async def _receive(process: asyncio.subprocess.Process) -> dict[str, Any] | None:
    """Return a worker's next message; None if it has died."""
    assert process.stdout is not None
    with suppress(ConnectionError, ValueError):  # ValueError: a line that is too long, or no JSON
        if line := await process.stdout.readline():
            message: dict[str, Any] = json.loads(line)
            return message
    return None
