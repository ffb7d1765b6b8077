"""The description of the API (OpenAPI 3.1), for programs that generate clients from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import __version__
from .limits import Limits
from .problems import MEDIA_TYPE
from .uploads import FORMATS

_PROBLEMS = {
    400: "The request cannot be read, or has no image.",
    403: "The request is addressed to another host, or comes from the page of another site.",
    408: "The request arrives too slowly.",
    409: "Another request with this id is running.",
    411: "The request does not say how long it is.",
    413: "The file, the image or the result is too large.",
    422: "A field or the image cannot be used.",
    429: "Too many images wait; Retry-After says when to try again.",
    500: "A bug, a broken plugin, or an image that a worker died of.",
    503: "The service stops, or the image took too long.",
}


def document(models: Sequence[Mapping[str, Any]], limits: Limits) -> dict[str, Any]:
    """Return the description, with the models and limits of this service."""
    names = [model["name"] for model in models]
    samplers = [model["name"] for model in models if model["samples"]]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pysr",
            "version": __version__,
            "summary": "Image super-resolution",
            "description": f"Images of at most {limits.max_bytes} bytes and {limits.max_pixels} pixels; results of at"
            f" most {limits.max_output_pixels} pixels. Every refusal is a JSON problem whose detail says what to do.",
        },
        "paths": {
            "/v1/upscale": {"post": _upscale(names)},
            "/v1/samples": {"post": _samples(samplers, limits)},
            "/v1/models": _get("What can be asked for", "Models, formats and limits"),
            "/v1/progress/{id}": _get(
                "How far a request has come", "Its state: unknown, arriving, waiting or working", [_path_id()]
            ),
            "/healthz": _get("Whether the service can work", "It can", problems=(503,)),
            "/metrics": _get("Numbers for Prometheus", "Its text format", media="text/plain"),
        },
        "components": {"schemas": {"Problem": _problem_schema()}},
    }


def _upscale(names: Sequence[str]) -> dict[str, Any]:
    fields = {
        "model": {"enum": list(names), "default": "auto", "description": "A model's name or alias."},
        "scale": {"type": "integer", "description": "Enlargement per side; default: the model's own."},
        "strength": {"type": "number", "minimum": 0, "maximum": 1, "description": "Of models that have one."},
        "format": {"enum": list(FORMATS), "description": "Default: the image's own if browsers show it, else png."},
    }
    content = {media: {"schema": {"type": "string", "format": "binary"}} for media in FORMATS.values()}
    headers = {
        "Pysr-Model": "The model that was used",
        "Pysr-Scale": "Enlargement per side",
        "Pysr-Size": "Width and height of the result, such as 300x200",
        "Pysr-Seconds": "Time of work",
        "Pysr-Warnings": "What was lost, as a JSON list of sentences",
    }
    described = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    return _post("Upscale an image", fields, {"description": "The result", "content": content, "headers": described})


def _samples(names: Sequence[str], limits: Limits) -> dict[str, Any]:
    fields = {
        "model": {"enum": list(names), "default": "pixelcnn"},
        "scale": {"type": "integer"},
        "count": {"type": "integer", "minimum": 1, "maximum": limits.max_samples, "default": 8},
        "seed": {"type": "integer", "minimum": 0, "default": 0},
        "temperature": {"type": "number", "minimum": 0, "default": 1},
    }
    image = {"type": "string", "description": "A PNG as a data URL"}
    number = {"type": "integer"}
    properties = {
        "samples": {"type": "array", "items": image},
        "uncertainty": image,
        "largest": {"type": "number", "description": "The standard deviation that is white, as a fraction of white"},
        "model": {"type": "string"},
        **dict.fromkeys(("scale", "width", "height", "seed"), number),
    }
    content = {"application/json": {"schema": {"type": "object", "properties": properties}}}
    return _post("Draw several results", fields, {"description": "The samples", "content": content})


def _post(summary: str, fields: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a request whose fields may be in the query or in a form with the image."""
    binary = {"type": "string", "format": "binary"}
    token = {"type": "string", "pattern": "^[A-Za-z0-9]{0,64}$", "description": "To follow the progress by."}
    form = {"type": "object", "properties": {"image": binary, **fields}, "required": ["image"]}
    parameters = [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
    return {
        "summary": summary,
        "parameters": [*parameters, {"name": "id", "in": "query", "schema": token}],
        "requestBody": {
            "required": True,
            "content": {"image/*": {"schema": binary}, "multipart/form-data": {"schema": form}},
        },
        "responses": {"200": answer, **_problems(_PROBLEMS)},
    }


def _get(
    summary: str,
    answer: str,
    parameters: Sequence[Mapping[str, Any]] = (),
    *,
    media: str = "application/json",
    problems: Sequence[int] = (),
) -> dict[str, Any]:
    responses = {"200": {"description": answer, "content": {media: {}}}, **_problems(problems)}
    return {"get": {"summary": summary, "parameters": list(parameters), "responses": responses}}


def _path_id() -> dict[str, Any]:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def _problems(statuses: Sequence[int] | Mapping[int, str]) -> dict[str, Any]:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {str(status): {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: schema}} for status in statuses}


def _problem_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "RFC 9457",
        "required": ["title", "status", "detail"],
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and what to do"},
        },
    }
