"""What holds for every request and answer: which hosts and pages may ask, security headers, and slow readers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any

from .problems import Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


_HOST = re.compile(r"\[?([a-z0-9._:-]+?)\]?(:[0-9]+)?")


class _SlowReader(Exception):
    """The client takes none of the answer."""


class Guard:
    """Wraps an ASGI application.

    Args:
        application: What answers requests that are let through.
        hosts: Names in lower case that requests may be addressed to; None: any.
        pause_seconds: How long a client may take none of an answer before the connection ends.
    """

    def __init__(self, application: Application, hosts: Collection[str] | None, pause_seconds: float) -> None:
        self._application, self._hosts, self._pause_seconds = application, hosts, pause_seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI defines it."""
        if scope["type"] != "http":
            raise RuntimeError(f"the service has no {scope['type']}")

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            try:
                await asyncio.wait_for(send(message), self._pause_seconds)
            except TimeoutError:
                raise _SlowReader from None

        try:
            self._check(dict(scope["headers"]))
        except Problem as problem:
            await send_problem(problem, guarded_send)
            return
        with suppress(_SlowReader):  # the server ends connections whose answer is left unfinished
            await self._application(scope, receive, guarded_send)

    def _check(self, headers: dict[bytes, bytes]) -> None:
        """Refuse requests under a foreign name (DNS rebinding), and those that another site's page sends."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = _HOST.fullmatch(host)
        if self._hosts is not None and (name is None or name[1] not in self._hosts):
            raise Problem(403, f"the service is not called {host!r}; start it with --allow-host to give it this name")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        foreign = headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
        is_visit = headers.get(b"sec-fetch-mode") == b"navigate"
        if (foreign and not is_visit) or (origin and origin.partition("://")[2] != host):
            raise Problem(403, "the request comes from the page of another site; open the service's own page")


async def send_problem(problem: Problem, send: Send) -> None:
    """Answer with a problem."""
    headers = {**problem.headers, "Content-Length": str(len(problem.body))}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": problem.body})
