"""The log of a training: rows, columns, and the share of time that was spent on waiting."""

import csv
from pathlib import Path

import pytest

from pysr.training.log import Log


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_waiting_is_a_share_of_the_steps_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("pysr.training.log.time.monotonic", lambda: now)
    with Log(tmp_path) as log:
        log.add({"l1": 0.5}, {}, seconds=2.0, waited=0.5)
        log.add({"l1": 0.7}, {}, seconds=2.0, waited=0.5)
        now = 100.0  # a validation
        log.write(2, {"psnr_x2": 30.0})
        log.add({"l1": 0.1}, {}, seconds=1.0, waited=0.0)
        log.write(3, {"psnr_x2": 31.0})
    assert [row["waiting"] for row in rows(tmp_path)] == ["0.2500", "0.0000"]
    assert [(row["seconds"], row["loss"]) for row in rows(tmp_path)] == [("100.0", "0.6"), ("100.0", "0.1")]


def test_waiting_survives_a_resume(tmp_path: Path) -> None:
    first = Log(None)
    first.add({"l1": 0.5}, {}, seconds=3.0, waited=3.0)
    with Log(tmp_path) as log:
        log.restore(first.state())
        log.add({"l1": 0.5}, {}, seconds=1.0, waited=0.0)
        log.write(2, {})
    assert rows(tmp_path)[0]["waiting"] == "0.7500"


def test_columns_that_come_later_are_empty_before(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.add({"a": 1.0, "b": 2.0}, {}, 1.0, 0.0)
        log.write(1, {"psnr_x2": None})
        log.add({"a": 1.0, "b": 2.0}, {"critic.own": 7.0}, 1.0, 0.0)
        log.write(2, {"psnr_x2": 30.0})
    one, two = rows(tmp_path)
    assert (one["loss"], one["loss_a"], one["loss_b"], one["critic.own"], one["psnr_x2"]) == ("3", "1", "2", "", "")
    assert (two["critic.own"], two["psnr_x2"]) == ("7", "30.0000")
