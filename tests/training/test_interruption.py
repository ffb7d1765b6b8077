"""Signals that are only recorded, and what becomes of them afterwards."""

import signal
from collections.abc import Iterator

import pytest

from pysr.training.interruption import Interruption


@pytest.fixture
def acted() -> Iterator[list[int]]:
    """The signals that reached a handler of the program's own."""
    numbers: list[int] = []
    before = {n: signal.signal(n, lambda n, frame: numbers.append(n)) for n in (signal.SIGINT, signal.SIGTERM)}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_first_signal_is_recorded_and_a_second_one_acts(acted: list[int]) -> None:
    with Interruption() as interruption:
        assert interruption.signal_number is None
        signal.raise_signal(signal.SIGTERM)
        first: object = interruption.signal_number
        assert (first, acted) == (signal.SIGTERM, [])
        signal.raise_signal(signal.SIGINT)
        assert acted == [signal.SIGINT]


def test_a_recorded_signal_is_delivered_and_handlers_come_back(acted: list[int]) -> None:
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        interruption.deliver(signal.SIGINT)
        assert acted == [signal.SIGINT]
    signal.raise_signal(signal.SIGTERM)
    assert acted == [signal.SIGINT, signal.SIGTERM]


def test_repeats_are_the_same_signal_for_a_while(acted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("pysr.training.interruption.time.monotonic", lambda: now)
    with Interruption(patience=2) as interruption:
        for now in (100.0, 100.5, 101.9):  # noqa: B007 (read by the lambda)
            signal.raise_signal(signal.SIGINT)
        assert (interruption.signal_number, acted) == (signal.SIGINT, [])
        now = 102.1
        signal.raise_signal(signal.SIGINT)
        assert acted == [signal.SIGINT]


def test_an_ignored_signal_stays_ignored(acted: list[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal_number is None
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_handler_from_outside_python_is_left_alone(acted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python gives None for such a one, and could not put it back."""
    monkeypatch.setattr("pysr.training.interruption.signal.getsignal", lambda number: None)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal_number is None
    assert acted == [signal.SIGTERM]
