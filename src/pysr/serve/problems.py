"""Refusals: every one is a JSON problem (RFC 9457) that says why, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that the service does not fulfil.

    Attributes:
        status: The HTTP status.
        detail: What is wrong and what to do, as in the messages of pysr's own errors.
        retry_after: Seconds after which another try may succeed; None if it would not.
    """

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.retry_after = status, detail, retry_after

    @property
    def body(self) -> bytes:
        """The JSON to send."""
        title = HTTPStatus(self.status).phrase
        return json.dumps({"title": title, "status": self.status, "detail": self.detail}).encode()

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that go with it."""
        retry = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"} | retry
