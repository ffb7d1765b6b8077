"""What the service accepts at most."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of the service; times are in seconds.

    Attributes:
        max_bytes: Of the body of one request.
        max_total_bytes: Of all bodies that are being received, wait, or are worked on.
        max_pixels: Of an image that is sent.
        max_output_pixels: Of a result, or of all samples of one request.
        max_samples: Of one request.
        max_connections: Open at the same time.
        max_waiting: Requests that wait for a worker.
        seconds: Of work for one request.
        wait_seconds: That a request waits for a worker.
        upload_seconds: For the body of a request to arrive.
        pause_seconds: Between two pieces of a body, or while the client takes none of a response.
        head_seconds: For the head of a request to arrive.
        drain_seconds: From the signal to stop until requests that are not finished are refused.
    """

    max_bytes: int = 32 * 2**20
    max_total_bytes: int = 256 * 2**20
    max_pixels: int = 16_000_000
    max_output_pixels: int = 64_000_000
    max_samples: int = 16
    max_connections: int = 256
    max_waiting: int = 16
    seconds: float = 120
    wait_seconds: float = 120
    upload_seconds: float = 30
    pause_seconds: float = 5
    head_seconds: float = 10
    drain_seconds: float = 7
