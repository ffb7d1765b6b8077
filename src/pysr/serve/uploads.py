"""Reading requests: bodies within their limits into files, and fields into what a worker is asked to do."""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .limits import Limits
from .problems import Problem

SOURCE = "image"  # the name of the file with what was sent, and of the form's field
FORMATS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "tif": "image/tiff",
}
_ALIASES = {"jpeg": "jpg", "tiff": "tif"}
_FORM_BYTES = 2**16  # of a form, beside the image
_MOST_FIELDS = 12
_UNREAD = 2**20  # bytes of a refused body that are read, so that the client gets to read the reason


class Uploads:
    """Receives bodies of requests, within the limits of the service.

    Args:
        limits: Those of the service.
        is_draining: Tells whether the service stops, so that what has not arrived is refused.
    """

    def __init__(self, limits: Limits, is_draining: Callable[[], bool]) -> None:
        self._limits, self._is_draining = limits, is_draining
        self._bytes = 0  # announced by all requests that are being answered

    @contextmanager
    def room_for(self, headers: Headers) -> Any:
        """Reserve memory and disk for a body as long as it is needed.

        Raises:
            Problem: It does not say how long it is, or is too long, alone or with the others.
        """
        announced = headers.get("content-length", "")
        if not announced.isdecimal():
            raise Problem(411, "the request does not say how long it is; send Content-Length, not chunks")
        length, most = int(announced), self._limits.max_bytes + _FORM_BYTES
        if length > most:
            raise Problem(
                413,
                f"the request has {length} bytes, and at most {self._limits.max_bytes} are accepted; send a smaller"
                " file",
            )
        if self._bytes + length > self._limits.max_total_bytes:
            raise Problem(429, "too many bytes are being sent at the same time; try again later", retry_after=5)
        self._bytes += length
        try:
            yield
        finally:
            self._bytes -= length

    async def receive(self, request: Request, folder: Path) -> dict[str, str]:
        """Write the image of a request into a folder as the file ``image``.

        Returns:
            The fields of the query and of the form.

        Raises:
            Problem: The body is too slow or cannot be read, or a field is given twice.
            ClientDisconnect: The client has gone.
        """
        fields = list(request.query_params.multi_items())
        is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
        pieces = self._pieces(request)
        fields += await _read_form(request.headers, pieces, folder) if is_form else await _write(pieces, folder)
        named = dict(fields)
        if len(named) < len(fields):
            raise Problem(400, "a field is given twice; give each once, in the query or in the form")
        if not (folder / SOURCE).is_file() or (folder / SOURCE).stat().st_size == 0:
            raise Problem(400, "there is no image in the request; send one as its body, or as the form's field 'image'")
        return named

    async def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        deadline = time.monotonic() + self._limits.upload_seconds
        more = True
        while more:
            if self._is_draining():
                raise Problem(503, "the service is stopping; try again when it has been started anew", retry_after=10)
            patience = min(self._limits.pause_seconds, deadline - time.monotonic())
            try:
                message = await asyncio.wait_for(request.receive(), max(patience, 0))
            except TimeoutError:
                raise Problem(408, "the request arrives too slowly; send it again over a faster connection") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            request.state.has_arrived = not more
            yield message.get("body", b"")

    async def discard(self, request: Request) -> None:
        """Read the rest of a refused body if it is short: a client that still sends would not read the answer."""
        unread = 0
        has_arrived = getattr(request.state, "has_arrived", False)
        if has_arrived or "expect" in request.headers:  # who expects something waits for the answer before it sends
            return
        try:
            async with asyncio.timeout(self._limits.pause_seconds):
                while unread <= _UNREAD:
                    message = await request.receive()
                    unread += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return


async def _write(pieces: AsyncIterator[bytes], folder: Path) -> list[tuple[str, str]]:
    with open(folder / SOURCE, "wb") as file:
        async for piece in pieces:
            file.write(piece)
    return []


async def _read_form(headers: Headers, pieces: AsyncIterator[bytes], folder: Path) -> list[tuple[str, str]]:
    parser = MultiPartParser(headers, pieces, max_files=1, max_fields=_MOST_FIELDS, max_part_size=_FORM_BYTES)  # type: ignore[arg-type]
    try:
        form: FormData = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read ({error.message.rstrip('.')}); send one image") from error
    fields = []
    try:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                fields.append((name, value))
            elif name == SOURCE:
                await asyncio.to_thread(_copy, value, folder / SOURCE)
            else:
                raise Problem(400, f"the form has a file called {name!r}; call it 'image'")
    finally:
        await form.close()
    return fields


def _copy(upload: UploadFile, path: Path) -> None:
    with open(path, "wb") as file:
        shutil.copyfileobj(upload.file, file)


# --- fields ----------------------------------------------------------------------------------------------------------


def upscale_request(fields: Mapping[str, str], models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Check the fields of ``POST /v1/upscale``, and return what a worker is asked to do.

    Args:
        fields: As they were sent.
        models: What workers offer, as `worker.models` describes it.

    Raises:
        Problem: A field cannot be used.
    """
    _check_names(fields, ("model", "scale", "strength", "format", "id"))
    model = _model(fields.get("model", "auto"), models)
    kind = fields.get("format", "").lower()
    kind = _ALIASES.get(kind, kind)
    if kind and kind not in FORMATS:
        raise Problem(422, f"format is {fields['format']!r}; it can be {', '.join(FORMATS)}")
    return {
        "task": "upscale",
        **_model_request(fields, model),
        "strength": _number(fields, "strength", 0, 1),
        "format": kind or None,
    }


def samples_request(fields: Mapping[str, str], models: Sequence[Mapping[str, Any]], most: int) -> dict[str, Any]:
    """Check the fields of ``POST /v1/samples`` likewise; ``most`` is the number of samples that may be asked for."""
    _check_names(fields, ("model", "scale", "count", "seed", "temperature", "id"))
    model = _model(fields.get("model", "pixelcnn"), models)
    if not model["samples"]:
        able = [each["name"] for each in models if each["samples"]]
        raise Problem(422, f"{model['name']} draws nothing at random; samples come from {', '.join(able) or 'nothing'}")
    temperature = _number(fields, "temperature", 0, 1e6)
    return {
        "task": "sample",
        **_model_request(fields, model),
        "strength": None,
        "count": _whole(fields, "count", 1, most, 8),
        "seed": _whole(fields, "seed", 0, 2**64 - 1, 0),
        "temperature": 1.0 if temperature is None else temperature,
    }


def _model_request(fields: Mapping[str, str], model: Mapping[str, Any]) -> dict[str, Any]:
    scale = _whole(fields, "scale", 1, 99, None)
    if scale is not None and scale not in model["scales"]:
        raise Problem(422, f"{model['name']} has no scale {scale}; it has {', '.join(map(str, model['scales']))}")
    return {"model": model["name"], "scale": scale}


def _model(name: str, models: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    for model in models:
        if name == model["name"] or name in model["aliases"]:
            return model
    raise Problem(422, f"there is no model {name!r}; there are {', '.join(model['name'] for model in models)}")


def _check_names(fields: Mapping[str, str], known: Sequence[str]) -> None:
    if unknown := [name for name in fields if name not in known]:
        raise Problem(422, f"there is no field {unknown[0]!r}; there are {', '.join(known)}")


def _number(fields: Mapping[str, str], name: str, least: float, most: float) -> float | None:
    if not (text := fields.get(name, "")):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise Problem(422, f"{name} is {text!r}; give a number from {least:g} to {most:g}")
    return value


def _whole(fields: Mapping[str, str], name: str, least: int, most: int, default: int | None) -> int | None:
    if not (text := fields.get(name, "")):
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 20 and least <= int(text) <= most):
        raise Problem(422, f"{name} is {text!r}; give a whole number from {least} to {most}")
    return int(text)
