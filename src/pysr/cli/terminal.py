"""Output of the command line: progress bars and messages on standard error, tables and JSON on standard output.

Rich is imported only when something is drawn with it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import PysrError, format_error

if TYPE_CHECKING:
    from rich.table import Table

    from ..evaluation.protocols import Evaluation, ImageResult, ScaleResult
    from ..plugin import Metric, Model
    from ..registry import Plugin

_PATIENCE = 5.0  # seconds without a line until what is left is told where there is no bar; twice as many the next time
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tabs and line breaks
_REFUSALS = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))  # of the system, to read or to write
_STATE_STYLES = {"ok": "green", "partly": "bold yellow", "failed": "bold red", "disabled": "dim"}


def eprint(message: str) -> None:
    """Print a line on standard error, as far as it can be written: on a full disk it costs no result.

    Control characters, which a file's name may have, are shown and not obeyed. It is written in one piece, as several
    threads may do that.
    """
    message = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], message)
    try:
        print(f"{message}\n", end="", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # ValueError: it is closed
        sys.stderr = _nowhere()


def print_line(line: str) -> None:
    """Print a line on standard output while the work goes on; nothing if nobody reads any more, as after ``| head``.

    Raises:
        OSError: It cannot be written for another reason.
    """
    try:
        print(line, flush=True)
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Print nothing on standard output from now on."""
    sys.stdout = _nowhere()


def open_standard_streams() -> None:
    """Open the streams that the program was started without, as by ``2>&-``.

    Else the next file that is opened would take their place, and get what libraries print.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere())  # the system takes the lowest number that is free


def _nowhere() -> TextIO:
    return open(os.devnull, "r+", encoding="utf-8")


def explain_error(error: BaseException) -> str:
    """Format an error as one line, with advice for the command line."""
    text = format_error(error)
    if isinstance(error, OSError) and error.errno in _REFUSALS and not isinstance(error, PysrError):
        return f"{text}; check the permissions there, or choose another place"
    if isinstance(error, PysrError) or (isinstance(error, OSError) and error.strerror):
        return text
    if isinstance(error, MemoryError):
        return f"{text}; try a smaller --tile or --max-memory"
    if lacks_torch(error):  # not every version of Python has it
        return "this needs torch, which is not installed for this Python: pip install torch"
    return f"{text} (this is a bug; please report it with the output of the same command and -v)"


def lacks_torch(error: BaseException) -> bool:
    """Whether the error is that torch is not installed."""
    return isinstance(error, ModuleNotFoundError) and error.name == "torch"


def print_error(error: BaseException, *, prefix: str = "", verbose: bool = False) -> None:
    """Print an error as one line, after its traceback if ``verbose``."""
    if verbose:
        eprint("".join(traceback.format_exception(error)).rstrip())
    eprint(f"pysr: error: {prefix}{explain_error(error)}")


class _LogLines(logging.Handler):
    """Prints log records on the current standard error, so that a progress bar stays below them."""

    def __init__(self, level: int, *, as_json: bool) -> None:
        super().__init__(level)
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if self._as_json:
            eprint(json.dumps({"event": "log", "level": record.levelname.lower(), "message": text}))
        else:
            level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
            eprint(f"pysr: {level}{text}")


def show_log(level: int, *, as_json: bool = False) -> None:
    """Print the library's log messages from ``level`` on, ``as_json`` as lines of JSON with the event "log"."""
    logger = logging.getLogger("pysr")
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, _LogLines)]
    logger.addHandler(_LogLines(level, as_json=as_json))
    logger.setLevel(min(level, logging.WARNING))  # warnings are also collected, for --json


class Bar:
    """A progress bar with the remaining time and the throughput; without a terminal, lines of what is left.

    Args:
        text: Shown before the bar.
        unit: What ``done`` and ``total`` of `update` count, for the throughput.
        shown: False shows nothing.
    """

    def __init__(self, text: str, *, unit: str, shown: bool = True) -> None:
        self.shown = shown and sys.stderr.isatty()
        self._tells, self._text, self._unit = shown and not self.shown, text, unit
        self._began: tuple[float, float] | None = None  # clock, and ``done``, at the first update
        self._silent_since, self._patience = 0.0, _PATIENCE
        if self.shown:
            self._progress, self._task = _rich_progress(text)

    def __enter__(self) -> Bar:
        if self.shown:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.shown:
            self._progress.stop()

    def update(self, done: float, total: float, text: str | None = None) -> None:
        """Show progress; ``text`` replaces the text before the bar."""
        now, self._text = time.perf_counter(), text or self._text
        if not self._began:
            self._began, self._silent_since = (now, done), now
        if self._tells:
            self._tell(now, done, total)
        if not self.shown:
            return
        began, before = self._began
        changes: dict[str, Any] = {}
        if done > before and now > began:
            changes["rate"] = f"{(done - before) / (now - began):.3g} {self._unit}/s"
        if text is not None:
            changes["description"] = text
        self._progress.update(self._task, completed=done, total=total, **changes)

    def other_line(self) -> None:
        """Note that something else has been told, so that a line of progress can wait."""
        self._silent_since = time.perf_counter()

    def _tell(self, now: float, done: float, total: float) -> None:
        """Print how far the work has come, after a while and then ever more rarely."""
        began, before = self._began or (now, done)
        if not before < done < total or now - self._silent_since < self._patience:
            return
        self._silent_since, self._patience = now, 2 * self._patience
        left = format_time((now - began) * (total - done) / (done - before))
        eprint(f"pysr: {self._text}: {done / total:.0%} done, about {left} to go")


def _rich_progress(text: str) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    return progress, progress.add_task(text, total=None, rate="")


def format_time(seconds: float) -> str:
    """Format a time as people say it, such as "64 seconds" or "2 minutes"."""
    if seconds < 90:
        return f"{seconds:.2g} seconds" if seconds < 10 else f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def print_json(facts: Any) -> None:
    """Print facts as JSON."""
    print_line(json.dumps(facts, indent=2))


def print_table(table: Table) -> None:
    """Print a table: as wide as its content, but no wider than the terminal, if there is one."""
    from rich.console import Console

    console = Console(highlight=False)
    if not sys.stdout.isatty():
        unbounded = console.options.update(max_width=10**6)
        console.width = console.measure(table, options=unbounded).maximum
    console.print(table)


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)


def models_table(models: Iterable[Model]) -> Table:
    """One row per model."""
    from rich.text import Text

    table = _table("model", "scales", "colour", "domain", "licence of the weights", "description")
    for model in models:
        licences = sorted({weights.licence for weights in model.weights.values()} | {model.licence} - {""})
        about = Text(model.summary)
        if model.paper:
            about.append(f"\n{model.paper}", "dim")
        trained = set(model.trained_scales)
        scales = Text(" ".join(f"x{scale}" for scale in sorted(trained)))
        if untrained := [f"x{scale}" for scale in sorted({*model.scales} - trained)]:
            scales.append(("\n" if trained else "") + f"({' '.join(untrained)}: no weights)", "dim")
        name = Text(model.name, "bold")
        if model.aliases:
            name.append(f"\n{', '.join(model.aliases)}", "dim")
        table.add_row(name, scales, model.colour, model.domain, Text(", ".join(licences) or "-"), about)
    return table


def facts_table(facts: Mapping[str, str]) -> Table:
    """One row per fact."""
    from rich.text import Text

    table = _table("", "")
    table.show_header = False
    for name, fact in facts.items():
        table.add_row(Text(name, "bold"), Text(fact))
    return table


def files_table(files: Mapping[Path, str]) -> Table:
    """One row per model file, with who reads it."""
    from rich.text import Text

    table = _table("model file", "size", "read by", "folder")
    for path, reader in files.items():
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        table.add_row(Text(path.name, "bold"), size, Text(reader), Text(str(path.parent)))
    return table


def plugins_table(plugins: Iterable[Plugin]) -> Table:
    """One row per plugin, with its whole error if it has one."""
    from rich.text import Text

    table = _table("plugin", "distribution", "version", "state", "provides")
    for plugin in plugins:
        kinds = {kind: kind for kind in ("models", "losses", "preprocessors", "metrics", "degradations")}
        kinds |= {"readers": "model files", "engines": "engines"}
        lines = [f"{kind}: {', '.join(names)}" for field, kind in kinds.items() if (names := getattr(plugin, field))]
        provides = Text("\n".join(lines))
        if plugin.error:
            provides.append(("\n" if lines else "") + plugin.error, _STATE_STYLES[plugin.state])
        state = Text(plugin.state, _STATE_STYLES[plugin.state])
        table.add_row(plugin.name, plugin.distribution, plugin.version, state, provides)
    return table


def evaluation_table(evaluations: Sequence[Evaluation], *, images: bool = False) -> Table:
    """One column per model; one row per data set and scale, with ``images`` also one per image above it."""
    from rich.text import Text

    from ..evaluation.report import by_data, metric_titles, scales_of

    blocks = by_data(evaluations)
    metrics = evaluations[0].metrics
    titles, degradation = metric_titles(evaluations), evaluations[0].degradation
    heading = f"{titles}\n{degradation}" if degradation else titles
    table = _table(heading, *dict.fromkeys(evaluation.model for evaluation in evaluations))
    for data, block in blocks.items():
        table.add_row(Text(data, "bold"))
        for scale in scales_of(block):
            results = [evaluation.at(scale) for evaluation in block]
            names = next([image.name for image in result.images] for result in results if result)
            for i, name in enumerate(names if images else []):
                scores = [_scores(metrics, result and result.images[i]) for result in results]
                table.add_row(Text(f"  x{scale} {name}"), *scores, style="dim")
            table.add_row(
                f"  x{scale}", *(_scores(metrics, result) for result in results), style="bold" if images else None
            )
        table.add_section()
    return table


def _scores(metrics: Iterable[Metric], result: ScaleResult | ImageResult | None) -> str:
    from ..evaluation.report import format_score

    if not result:
        return "-"
    return " / ".join(format_score(metric, result.scores[metric.name], min_decimals=3) for metric in metrics)
