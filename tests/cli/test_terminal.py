import errno
import os
import pty
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rich.table import Table

from pysr.cli.terminal import Bar, eprint, evaluation_table, explain_error, print_table
from pysr.evaluation.protocols import Evaluation, ImageResult, ScaleResult
from pysr.plugin import Metric

SHOW = "from rich.table import Table; from pysr.cli.terminal import print_table; print_table(Table('word ' * 60))"


def shown(capsys: pytest.CaptureFixture[str], *columns: Any) -> Any:
    print_table(Table(*columns))
    return capsys.readouterr().out.splitlines()


def test_a_table_in_a_pipe_is_as_wide_as_its_content(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for terminal in ("20", "500"):  # what is set for the terminal does not count there
        monkeypatch.setenv("COLUMNS", terminal)
        assert {len(line) for line in shown(capsys, "PSNR", "SSIM")} == {15}
        assert any("x" * 300 in line for line in shown(capsys, "x" * 300))


def test_a_table_on_a_terminal_stays_within_it() -> None:
    ours, its = pty.openpty()
    environment = os.environ | {"COLUMNS": "60", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", SHOW], stdout=its, env=environment, check=True)
    os.close(its)
    lines = os.read(ours, 100_000).decode().splitlines()
    os.close(ours)
    assert len(lines) > 5
    assert max(map(len, lines)) < 100  # 60 and what makes letters bold


def test_a_refusal_of_the_system_comes_with_advice() -> None:
    error = PermissionError(errno.EPERM, "Operation not permitted", "/sys/out")
    assert explain_error(error) == (
        "Operation not permitted: '/sys/out'; check the permissions there, or choose another place"
    )


def test_the_rate_is_that_since_the_first_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done before, by a training that is resumed, took no time now."""
    shown, clock = [], iter([10.0, 12.0])
    task = SimpleNamespace(update=lambda task, **changes: shown.append(changes.get("rate")))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("pysr.cli.terminal._rich_progress", lambda text: (task, 0))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    bar = Bar("training", unit="steps")
    bar.update(9001, 10_000)
    bar.update(9005, 10_000)
    assert shown == [None, "2 steps/s"]


def test_without_a_terminal_long_work_is_told_unless_it_is_to_be_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    for bar in (Bar("evaluating", unit="images"), Bar("in silence", unit="images", shown=False)):
        for done in range(8):
            clock[0] += 2
            bar.update(done, 10)
    assert capsys.readouterr().err == "pysr: evaluating: 30% done, about 14 seconds to go\n"


def test_an_evaluation_has_a_block_a_data_set_and_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    def at(scale: Any, psnr: Any) -> Any:
        scores = {"psnr": psnr, "ssim": 0.5}
        return ScaleResult(scale, scores, 1.0, (ImageResult("[x]", scores, 1.0),))

    metrics = Metric("psnr", lambda: None, "", "PSNR in dB", decimals=2), Metric("ssim", lambda: None, "", "SSIM")
    found = [
        Evaluation("a", "Set5", "y-shave", metrics, (at(2, 30.0),)),
        Evaluation("b", "Set5", "y-shave", metrics, (at(3, 31.0), at(2, 32.0))),
        Evaluation("a", "[set14]", "y-shave", metrics, (at(2, 33.0),)),
        Evaluation("b", "[set14]", "y-shave", metrics, (at(2, 34.0),)),
    ]
    print_table(evaluation_table(found, images=True))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0][-2:] == ["a", "b"]
    assert [" ".join(line).replace(" / 0.5000", "") for line in lines[2:]] == [
        *("Set5", "x2 [x] 30.000 32.000", "x2 30.000 32.000", "x3 [x] - 31.000", "x3 - 31.000"),
        *("[set14]", "x2 [x] 33.000 34.000", "x2 33.000 34.000"),
    ]


def test_control_characters_in_names_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    eprint("pysr: error: a\x1b[2J\r\x07\x9b.png\n\tä")
    assert capsys.readouterr().err == "pysr: error: a\\x1b[2J\\r\\x07\\x9b.png\n\tä\n"
