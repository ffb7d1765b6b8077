"""A running service for tests: real sockets and processes, but workers that need no torch."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")

from pysr.serve.app import make_app
from pysr.serve.limits import Limits
from pysr.serve.pool import Pool
from pysr.serve.server import Server, _listen

FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("serve") / "fake_worker.py"))


@dataclass
class Answer:
    """What the service answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A running service."""

    port: int
    pool: Pool
    server: Server
    thread: threading.Thread = field(default_factory=threading.Thread)

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Answer:
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers))
            return read(connection.getresponse())
        finally:
            connection.close()

    def upscale(self, query: str = "model=echo", body: bytes = b"image", **headers: str) -> Answer:
        return self.ask("POST", f"/v1/upscale?{query}", body, headers)

    @contextmanager
    def begun(self, query: str) -> Iterator[HTTPConnection]:
        """Send a request and do not wait for the answer; in the end, go away."""
        connection = self.connect()
        connection.request("POST", f"/v1/upscale?{query}", b"image")
        try:
            yield connection
        finally:
            connection.close()

    def state(self, token: str) -> str:
        """How far a request has come."""
        return str(self.ask("GET", f"/v1/progress/{token}").json["state"])

    def later(self, query: str) -> tuple[threading.Thread, list[Answer]]:
        """Send a request from a thread of its own; the list gets the answer."""
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(self.upscale(query)))
        thread.start()
        return thread, answers

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)


def read(response: HTTPResponse) -> Answer:
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


@contextmanager
def running(
    limits: Limits, *, command: Any = FAKE_WORKER, settings: Any = None, workers: int = 1, hosts: Any = None
) -> Iterator[Service]:
    """Run a service in a thread."""
    services: list[Service] = []
    ready = threading.Event()

    async def run() -> None:
        pool = Pool(settings or {}, limits, workers, command)
        await pool.start()
        with _listen("127.0.0.1", 0) as listener:
            server = Server(make_app(pool, hosts), pool)
            services.append(Service(listener.getsockname()[1], pool, server))
            ready.set()
            await server.serve([listener])
        await pool.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(60)
    service = services[0]
    service.thread = thread
    yield service
    service.stop()
    assert not thread.is_alive()
    assert not service.pool._home.exists()
