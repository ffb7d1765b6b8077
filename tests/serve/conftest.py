"""A running service that the tests of a file share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from running_service import Service


@pytest.fixture(scope="module")
def service() -> "Iterator[Service]":
    """A service with the fake worker, for all tests of a file."""
    from running_service import Limits, running

    limits = Limits(max_bytes=100_000, max_total_bytes=400_000, max_waiting=2, pause_seconds=0.4, seconds=1)
    with running(limits, hosts={"127.0.0.1"}) as running_service:
        yield running_service
