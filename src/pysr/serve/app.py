"""The service as an ASGI application: the page, and the API for programs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .. import __version__
from .guard import Application, Guard
from .metrics import Metrics
from .openapi import document
from .pool import Job, Pool
from .problems import Problem
from .uploads import FORMATS, Uploads, samples_request, upscale_request

_ASSETS = {  # path -> package, file and media type: the only files that the service gives out
    "/": ("pysr.serve", "static/index.html", "text/html; charset=utf-8"),
    "/static/app.js": ("pysr.serve", "static/app.js", "text/javascript; charset=utf-8"),
    "/static/app.css": ("pysr.serve", "static/app.css", "text/css; charset=utf-8"),
    "/static/viewer.js": ("pysr.evaluation", "viewer.js", "text/javascript; charset=utf-8"),
    "/static/viewer.css": ("pysr.evaluation", "viewer.css", "text/css; charset=utf-8"),
}
_PIECE = 2**16  # bytes of a result that are sent at once
_LONGEST_TOKEN = 64
_CLIENT_GONE = 499  # as nginx logs it; nobody reads it

_log = logging.getLogger("pysr")


def make_app(pool: Pool, hosts: Collection[str] | None = None) -> Application:
    """Make the application.

    Args:
        pool: Where images are worked on; started and closed by the caller.
        hosts: Names that requests may be addressed to; None: any.
    """
    return Guard(_Service(pool).application, hosts, pool.limits.pause_seconds)


class _Service:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._metrics = Metrics()
        self._uploads = Uploads(pool.limits, lambda: pool.is_draining)
        assets = {path: _read(package, name) for path, (package, name, _) in _ASSETS.items()}
        get: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/v1/models": self._models,
            "/v1/progress/{id}": self._progress,
            "/healthz": self._health,
            "/metrics": self._numbers,
            "/openapi.json": self._openapi,
        }
        get |= {path: partial(_asset, content, _ASSETS[path][2]) for path, content in assets.items()}
        post = {"/v1/upscale": self._upscale, "/v1/samples": self._samples}
        routes = [Route(path, self._counted(path, answer), methods=["GET"]) for path, answer in get.items()]
        routes += [Route(path, self._counted(path, answer), methods=["POST"]) for path, answer in post.items()]
        self.application = Starlette(routes=routes, exception_handlers={HTTPException: self._unknown})

    def _counted(
        self, path: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Wrap what answers a path: problems become answers, and every answer is counted."""

        async def counted(request: Request) -> Response:
            try:
                response = await answer(request)
            except Problem as problem:
                await self._uploads.discard(request)
                response = _problem_response(problem)
            except ClientDisconnect:
                response = Response(status_code=_CLIENT_GONE)
            except Exception:
                _log.exception("a request failed")
                response = _problem_response(Problem(500, "a bug in the service; its log says more"))
            self._metrics.count_answer(path, response.status_code)
            return response

        return counted

    async def _unknown(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        path = repr(request.url.path)
        what = f"there is no {path}" if status == 404 else f"{path} takes no {request.method}"
        self._metrics.count_answer("other", status)
        return _problem_response(Problem(status, f"{what}; see /openapi.json for what there is"))

    # --- what is, and how it goes ------------------------------------------------------------------------------------

    async def _models(self, request: Request) -> Response:
        limits = self._pool.limits
        accepted = ("max_bytes", "max_pixels", "max_output_pixels", "max_samples")
        facts = {"models": self._pool.models, "formats": list(FORMATS)}
        return _json(facts | {"limits": {name: getattr(limits, name) for name in accepted}, "version": __version__})

    async def _progress(self, request: Request) -> Response:
        return _json(self._pool.progress(request.path_params["id"]))

    async def _health(self, request: Request) -> Response:
        status = "stopping" if self._pool.is_draining else "ok" if self._pool.ready else "no worker is ready"
        facts = {"status": status, "workers": self._pool.ready, "waiting": self._pool.waiting}
        return _json(facts, 200 if status == "ok" else 503)

    async def _numbers(self, request: Request) -> Response:
        return Response(self._metrics.text(self._pool), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, request: Request) -> Response:
        return _json(document(self._pool.models, self._pool.limits))

    # --- work --------------------------------------------------------------------------------------------------------

    async def _upscale(self, request: Request) -> Response:
        return await self._work(request, upscale_request)

    async def _samples(self, request: Request) -> Response:
        return await self._work(request, partial(samples_request, most=self._pool.limits.max_samples))

    async def _work(self, request: Request, parse: Callable[..., dict[str, Any]]) -> Response:
        """Receive an image, let a worker do what is asked for, and answer with the file that it made."""
        with self._uploads.room_for(request.headers):
            job = self._pool.new_job(_token(request.query_params.get("id", "")))
            try:
                fields = await self._uploads.receive(request, job.folder)
                await self._pool.submit(job, parse(fields, self._pool.models))
                result = await _outcome(request, job)
            except BaseException:
                self._pool.release(job)
                raise
        self._metrics.count_image(result["model"], result["width"] * result["height"], result["seconds"])
        return _FileResponse(job.folder / result["file"], result, lambda: self._pool.release(job))


async def _outcome(request: Request, job: Job) -> dict[str, Any]:
    """Wait for a job's outcome.

    Raises:
        Problem: The job failed.
        ClientDisconnect: The client has gone.
    """
    gone = asyncio.ensure_future(request.receive())  # after the body, there is nothing else to come
    try:
        waited: set[asyncio.Future[Any]] = {gone, job.outcome}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if not job.outcome.done():
        raise ClientDisconnect
    return job.outcome.result()


class _FileResponse(Response):
    """A worker's result, which is sent piece by piece, and removed afterwards."""

    def __init__(self, path: Path, result: Mapping[str, Any], release: Callable[[], None]) -> None:
        self._path, self._release = path, release
        media = FORMATS.get(path.suffix[1:], "application/json")
        headers = {
            "Content-Length": str(path.stat().st_size),
            "Cache-Control": "no-store",
            "Pysr-Model": json.dumps(result["model"])[1:-1],
            "Pysr-Scale": str(result["scale"]),
            "Pysr-Size": f"{result['width']}x{result['height']}",
            "Pysr-Seconds": str(result["seconds"]),
            "Pysr-Warnings": json.dumps(result["warnings"]),
        }
        if media != "application/json":
            headers["Content-Disposition"] = f'attachment; filename="{path.name}"'
        super().__init__(headers=headers, media_type=media)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with open(self._path, "rb") as file:
                while piece := file.read(_PIECE):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._release()


def _token(text: str) -> str:
    if text and not (text.isascii() and text.isalnum() and len(text) <= _LONGEST_TOKEN):
        raise Problem(422, f"an id has at most {_LONGEST_TOKEN} letters and digits; make one at random")
    return text


def _problem_response(problem: Problem) -> Response:
    return Response(problem.body, problem.status, problem.headers)


def _json(facts: Mapping[str, Any], status: int = 200) -> Response:
    return JSONResponse(facts, status, {"Cache-Control": "no-store"})


async def _asset(content: bytes, media_type: str, request: Request) -> Response:
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})


def _read(package: str, name: str) -> bytes:
    return files(package).joinpath(name).read_bytes()
