"""What a training tells: rows of a CSV file, TensorBoard's curves, and lines for people."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from .errors import InputError
from .files import atomic_write

logger = logging.getLogger("pysr")


class Log:
    """Rows of step, seconds, mean losses since the last row, PSNR in dB by scale, and the share of time spent waiting.

    folder: gets ``log.csv`` and ``tensorboard``; None writes nothing (a process that is not the main one).
    """

    def __init__(self, folder: Path | None, losses: Sequence[str], scales: Sequence[int]) -> None:
        self.step = 0  # of the last row
        self._folder, self._scales = folder, scales
        self._columns = ["step", "seconds", "loss"]
        self._columns += [f"loss_{name}" for name in losses] if len(losses) > 1 else []
        self._columns += [*(f"psnr_x{scale}" for scale in scales), "waiting"]
        self._rows: list[list[str]] = []
        self._losses: list[list[float]] = []
        self._seconds, self._since, self._waited = 0.0, time.monotonic(), 0.0
        self._board: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._board:
            self._board.close()

    def add(self, losses: Mapping[str, float]) -> None:
        """Note the losses of one step."""
        self._losses.append(list(losses.values()))

    def write(self, step: int, scores: Mapping[int, float], waited: float) -> None:
        """Finish a row. scores: PSNR by scale, empty without validation. waited: seconds so far, for data."""
        means = [sum(values) / len(values) for values in zip(*self._losses, strict=True)]
        means = [sum(means), *(means if len(means) > 1 else [])]
        seconds = self._elapsed()
        share = (waited - self._waited) / max(seconds - self._seconds_of_last_row(), 1e-9)
        shown = ", ".join(f"x{scale} {score:.3f} dB" for scale, score in scores.items())
        logger.info("step %d, %.0f s, loss %.5f, %s", step, seconds, means[0], shown or "not validated")
        row = [str(step), f"{seconds:.1f}", *(f"{mean:.6g}" for mean in means)]
        row += [f"{scores[scale]:.4f}" if scores else "" for scale in self._scales]
        self._rows.append([*row, f"{share:.4f}"])
        self.step, self._losses, self._waited = step, [], waited
        self._write_files()

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON facts."""
        return {"step": self.step, "rows": self._rows, "losses": self._losses, "seconds": self._elapsed()}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Go on where `state` was called; rows that were written after it are dropped."""
        self.step, self._rows, self._losses = facts["step"], facts["rows"], facts["losses"]
        self._seconds, self._since = facts["seconds"], time.monotonic()
        if self._folder:
            self._write_csv()

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _seconds_of_last_row(self) -> float:
        return float(self._rows[-1][1]) if self._rows else 0.0

    def _write_files(self) -> None:
        if not self._folder:
            return
        self._write_csv()
        self._board = self._board or _tensorboard(self._folder / "tensorboard", self.step)
        for name, value in zip(self._columns[2:], self._rows[-1][2:], strict=True):
            if value:
                self._board.add_scalar(name, float(value), self.step)
        self._board.flush()

    def _write_csv(self) -> None:
        assert self._folder
        with atomic_write(self._folder / "log.csv") as file:
            text = "\n".join(",".join(row) for row in [self._columns, *self._rows])
            file.write(f"{text}\n".encode())


def _tensorboard(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)


def check_installed() -> None:
    """InputError, before any work, where Accelerate or TensorBoard is not installed."""
    from importlib.util import find_spec

    if find_spec("accelerate") is None or find_spec("tensorboard") is None:
        raise InputError("training needs packages that are not installed: pip install 'pysr-sdk[train]'")
