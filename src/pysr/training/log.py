"""Training log: CSV, TensorBoard and console."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from ..atomic import atomic_write
from ..errors import InputError

logger = logging.getLogger("pysr")


class Log:
    """A table with a row per validation: step, seconds, mean losses since the previous row, scores, and waiting.

    The column ``waiting`` is the fraction of step time spent waiting for data.

    Attributes:
        step: Step of the last row.

    Args:
        folder: Receives ``log.csv`` and ``tensorboard``; None writes no files (in all processes but the main one).
    """

    def __init__(self, folder: Path | None) -> None:
        self.step = 0
        self._folder = folder
        self._rows: list[dict[str, str]] = []
        self._losses: dict[str, list[float]] = {}
        self._metrics: dict[str, list[float]] = {}
        self._stepping, self._waiting = 0.0, 0.0  # seconds since the last row
        self._seconds, self._since = 0.0, time.monotonic()  # of the whole run: before this start, and this start
        self._board: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._board:
            self._board.close()

    def add(self, losses: Mapping[str, float], metrics: Mapping[str, float], seconds: float, waited: float) -> None:
        """Record one step: losses, extra loss metrics, step time, and time spent waiting for data."""
        for recorded, values in ((self._losses, losses), (self._metrics, metrics)):
            for name, value in values.items():
                recorded.setdefault(name, []).append(value)
        self._stepping += seconds
        self._waiting += waited

    def write(self, step: int, scores: Mapping[str, float | None]) -> None:
        """Finish a row.

        Args:
            step: Steps done.
            scores: Validation scores by column name; None where nothing was validated.
        """
        losses = {f"loss_{name}": fmean(values) for name, values in self._losses.items()}
        means = {"loss": sum(losses.values())} | (losses if len(losses) > 1 else {})
        means |= {name: fmean(values) for name, values in self._metrics.items()}
        seconds = self._elapsed()
        shown = ", ".join(f"{name} {score:.3f}" for name, score in scores.items() if score is not None)
        logger.info("step %d, %.0f s, loss %.5f, %s", step, seconds, means["loss"], shown or "not validated")
        row = {"step": str(step), "seconds": f"{seconds:.1f}", **{name: f"{mean:.6g}" for name, mean in means.items()}}
        row |= {name: "" if score is None else f"{score:.4f}" for name, score in scores.items()}
        row["waiting"] = f"{self._waiting / self._stepping if self._stepping else 0.0:.4f}"
        self._rows.append(row)
        self.step, self._losses, self._metrics, self._stepping, self._waiting = step, {}, {}, 0.0, 0.0
        self._write_files()

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as JSON types."""
        return {
            "step": self.step,
            "rows": self._rows,
            "losses": self._losses,
            "metrics": self._metrics,
            "seconds": self._elapsed(),
            "stepping": self._stepping,
            "waiting": self._waiting,
        }

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Return to a saved `state`; rows written after it are dropped."""
        self.step, self._rows = facts["step"], facts["rows"]
        self._losses, self._metrics = facts["losses"], facts["metrics"]
        self._seconds, self._since = facts["seconds"], time.monotonic()
        self._stepping, self._waiting = facts["stepping"], facts["waiting"]
        if self._folder:
            self._write_csv(self._folder)

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _write_files(self) -> None:
        if not self._folder:
            return
        self._write_csv(self._folder)
        self._board = self._board or _open_tensorboard(self._folder / "tensorboard", self.step)
        for name, value in self._rows[-1].items():
            if value and name not in ("step", "seconds"):
                self._board.add_scalar(name, float(value), self.step)
        self._board.flush()

    def _write_csv(self, folder: Path) -> None:
        table = io.StringIO(newline="")
        columns = dict.fromkeys(name for row in self._rows for name in row)
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        with atomic_write(folder / "log.csv") as file:
            file.write(table.getvalue().encode())


def _open_tensorboard(folder: Path, step: int) -> Any:
    """Return a writer that continues curves from a step; later points, left by a killed run, are hidden."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)


def check_installed() -> None:
    """Raise InputError, before any work, if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise InputError("training needs TensorBoard, which is not installed; run: pip install 'pysr-sdk[train]'")
