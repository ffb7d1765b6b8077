"""What has happened, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .pool import Pool

_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 100)  # seconds


class Metrics:
    """Counts the answers of the service and measures the work."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._images: Counter[str] = Counter()
        self._pixels = 0
        self._seconds: list[int] = [0] * (len(_BUCKETS) + 1)
        self._total_seconds = 0.0

    def count_answer(self, path: str, status: int) -> None:
        """Count an answer; ``path`` is one of the service's own, so that nobody can invent any number of them."""
        self._answers[path, status] += 1

    def count_image(self, model: str, pixels: int, seconds: float) -> None:
        """Count an image that was made: its model, its pixels, and the time of work."""
        self._images[model] += 1
        self._pixels += pixels
        self._total_seconds += seconds
        self._seconds[next((i for i, most in enumerate(_BUCKETS) if seconds <= most), len(_BUCKETS))] += 1

    def text(self, pool: Pool) -> str:
        """Return all numbers; those of the queue and the workers come from the pool."""
        return "".join(f"{line}\n" for line in self._lines(pool))

    def _lines(self, pool: Pool) -> Iterable[str]:
        yield from _head("pysr_requests_total", "counter", "Answers by path and status.")
        for (path, status), number in sorted(self._answers.items()):
            yield f'pysr_requests_total{{path="{path}",status="{status}"}} {number}'
        yield from _head("pysr_images_total", "counter", "Images made, by model.")
        for model, number in sorted(self._images.items()):
            yield f'pysr_images_total{{model="{_escaped(model)}"}} {number}'
        yield from _head("pysr_pixels_total", "counter", "Pixels of all images made.")
        yield f"pysr_pixels_total {self._pixels}"
        yield from _head("pysr_work_seconds", "histogram", "Time of work for an image.")
        below = 0
        for most, number in zip((*_BUCKETS, "+Inf"), self._seconds, strict=True):
            below += number
            yield f'pysr_work_seconds_bucket{{le="{most}"}} {below}'
        yield f"pysr_work_seconds_sum {self._total_seconds:.3f}"
        yield f"pysr_work_seconds_count {below}"
        for name, kind, help, value in (
            ("pysr_waiting", "gauge", "Images that wait for a worker.", pool.waiting),
            ("pysr_workers", "gauge", "Worker processes that are ready.", pool.ready),
            ("pysr_worker_restarts_total", "counter", "Worker processes that were replaced.", pool.restarts),
        ):
            yield from _head(name, kind, help)
            yield f"{name} {value}"


def _head(name: str, kind: str, help: str) -> Iterable[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
