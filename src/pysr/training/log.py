"""What a training tells: rows of a CSV file, TensorBoard's curves, and lines for people."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from ..atomic import atomic_write
from ..errors import InputError

logger = logging.getLogger("pysr")


class Log:
    """Rows of step, seconds, mean losses since the last row, scores, and the share of time that steps waited for data.

    folder: gets ``log.csv`` and ``tensorboard``; None writes nothing (a process that is not the first).
    """

    def __init__(self, folder: Path | None) -> None:
        self.step = 0  # of the last row
        self._folder = folder
        self._rows: list[dict[str, str]] = []
        self._losses: dict[str, list[float]] = {}
        self._told: dict[str, list[float]] = {}
        self._stepped, self._waited = 0.0, 0.0
        self._seconds, self._since = 0.0, time.monotonic()
        self._board: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._board:
            self._board.close()

    def add(self, losses: Mapping[str, float], told: Mapping[str, float], seconds: float, waited: float) -> None:
        """Note one step: its losses, what they tell of themselves, how long it took and how long of it for data."""
        for noted, values in ((self._losses, losses), (self._told, told)):
            for name, value in values.items():
                noted.setdefault(name, []).append(value)
        self._stepped += seconds
        self._waited += waited

    def write(self, step: int, scores: Mapping[str, float | None]) -> None:
        """Finish a row. scores: by the column's name; None without validation."""
        losses = {f"loss_{name}": fmean(values) for name, values in self._losses.items()}
        means = {"loss": sum(losses.values())} | (losses if len(losses) > 1 else {})
        means |= {name: fmean(values) for name, values in self._told.items()}
        seconds = self._elapsed()
        shown = ", ".join(f"{name} {score:.3f}" for name, score in scores.items() if score is not None)
        logger.info("step %d, %.0f s, loss %.5f, %s", step, seconds, means["loss"], shown or "not validated")
        row = {"step": str(step), "seconds": f"{seconds:.1f}", **{name: f"{mean:.6g}" for name, mean in means.items()}}
        row |= {name: "" if score is None else f"{score:.4f}" for name, score in scores.items()}
        row["waiting"] = f"{self._waited / max(self._stepped, 1e-9):.4f}"
        self._rows.append(row)
        self.step, self._losses, self._told, self._stepped, self._waited = step, {}, {}, 0.0, 0.0
        self._write_files()

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON facts."""
        return {
            "step": self.step, "rows": self._rows, "losses": self._losses, "told": self._told,
            "seconds": self._elapsed(), "stepped": self._stepped, "waited": self._waited,
        }  # fmt: skip

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Go on where `state` was called; rows that were written after it are dropped."""
        self.step, self._rows = facts["step"], facts["rows"]
        self._losses, self._told = facts["losses"], facts["told"]
        self._seconds, self._since = facts["seconds"], time.monotonic()
        self._stepped, self._waited = facts["stepped"], facts["waited"]
        if self._folder:
            self._write_csv()

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _write_files(self) -> None:
        if not self._folder:
            return
        self._write_csv()
        self._board = self._board or _tensorboard(self._folder / "tensorboard", self.step)
        for name, value in self._rows[-1].items():
            if value and name not in ("step", "seconds"):
                self._board.add_scalar(name, float(value), self.step)
        self._board.flush()

    def _write_csv(self) -> None:
        assert self._folder
        table = io.StringIO(newline="")
        columns = dict.fromkeys(name for row in self._rows for name in row)
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        with atomic_write(self._folder / "log.csv") as file:
            file.write(table.getvalue().encode())


def _tensorboard(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)


def check_installed() -> None:
    """InputError, before any work, where Accelerate or TensorBoard is not installed."""
    from importlib.util import find_spec

    if find_spec("accelerate") is None or find_spec("tensorboard") is None:
        raise InputError("training needs packages that are not installed: pip install 'pysr-sdk[train]'")
