"""Sockets, connections and signals: the application runs until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import InputError
from .app import make_app
from .limits import Limits
from .pool import Pool
from .problems import Problem

_LONGEST_HEAD = 16 * 2**10  # bytes of a request's head
_KEPT_SECONDS = 5  # that a connection without a request stays open
_LAST_SECONDS = 2  # for answers to be read after the last request was finished or refused

_log = logging.getLogger("pysr")


@dataclass(frozen=True)
class Settings:
    """What the service is started with.

    Attributes:
        host: Name or address to listen on.
        port: 0 takes any that is free.
        workers: Number of processes that work on images.
        device: As in `pysr.load`.
        precision: As in `pysr.load`.
        models_folder: Folder whose model files can be asked for by their names without the ending.
        allowed_hosts: Names under which the service can be reached beside those of this machine, as a proxy passes on.
        limits: What is accepted.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    device: str = "auto"
    precision: str = "auto"
    models_folder: Path | None = None
    allowed_hosts: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)


def serve(settings: Settings, started: Callable[[str], None]) -> None:
    """Run the service until SIGINT or SIGTERM; then finish what was accepted, within `Limits.drain_seconds`.

    Args:
        settings: See there.
        started: Called once with the URL of the page.

    Raises:
        InputError: The address is in use or not of this machine, or there is no folder of models.
        PysrError: No worker process starts.
    """
    listener = _listen(settings.host, settings.port)
    with listener:
        asyncio.run(_serve(settings, listener, started))


async def _serve(settings: Settings, listener: socket.socket, started: Callable[[str], None]) -> None:
    limits, folder = settings.limits, settings.models_folder
    if folder and not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r} of models; check the name")
    for_workers: dict[str, Any] = {"device": settings.device, "precision": settings.precision}
    for_workers["models_folder"] = str(folder.resolve()) if folder else None
    for_workers |= {name: getattr(limits, name) for name in ("max_pixels", "max_output_pixels")}
    pool = Pool(for_workers, limits, settings.workers)
    try:
        await pool.start()
        started(_url(settings.host, listener))
        app = make_app(pool, _hosts(settings))
        await Server(app, pool).serve([listener])
    finally:
        await pool.close()


class Server(uvicorn.Server):
    """Answers HTTP requests, and drains the pool when it is told to stop.

    Args:
        app: The ASGI application.
        pool: Drained before the server ends; not closed.
    """

    def __init__(self, app: Any, pool: Pool) -> None:
        protocol = type("_LimitedProtocol", (_Protocol,), {"limits": pool.limits})
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEPT_SECONDS,
            timeout_graceful_shutdown=round(pool.limits.drain_seconds + _LAST_SECONDS),
            h11_max_incomplete_event_size=_LONGEST_HEAD,
        )
        super().__init__(config)
        self._pool = pool

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and wait for the answers to what was accepted."""
        self._pool.drain()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop at SIGINT and SIGTERM, and do not raise them again: to be told to stop is no failure."""
        try:
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread, which alone gets signals
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Protocol(H11Protocol):
    """One connection: it must send the head of each request in time, and there are only as many as allowed."""

    limits: Limits
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            most = self.limits.max_connections
            self._refuse(Problem(503, f"{most} connections are open already; try again later", retry_after=5))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_between_requests() and self._head_timer is None:
            self._await_head()
        super().data_received(data)
        if not self._is_between_requests():
            self._stop_timer()

    def send_400_response(self, msg: str) -> None:
        self._refuse(
            Problem(400, f"this is no HTTP request, or its head is longer than {_LONGEST_HEAD} bytes; send HTTP/1.1")
        )

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._head_is_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        self._refuse(Problem(408, "the head of a request took too long; send it again over a faster connection"))

    def _refuse(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        headers: Mapping[str, str] = {
            **problem.headers,
            "Content-Length": str(len(problem.body)),
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {problem.status} {json.loads(problem.body)['title']}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + problem.body)
        self.transport.close()


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket; InputError says why it does not open."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"there is no address for the host {host!r} ({error}); give one of this machine") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen on port {port} of {host} ({error.strerror or error}); choose another --port or --host"
        ) from error
    listener.setblocking(False)
    return listener


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def _hosts(settings: Settings) -> set[str] | None:
    """Return the names that requests may be addressed to; None, any, where the service is meant for other machines."""
    own = {"localhost", "127.0.0.1", "::1", settings.host.lower(), *map(str.lower, settings.allowed_hosts)}
    if settings.allowed_hosts or is_loopback(settings.host):
        return own
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on a host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
