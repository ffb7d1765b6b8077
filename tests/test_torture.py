"""The experiments of tests/torture, for a moment each; `make torture` runs them at length."""

import signal
import sys
from pathlib import Path

import pytest
from torture import interrupts
from torture.__main__ import EXPERIMENTS
from torture.experiment import Experiment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the experiments use fork, /proc and the C library")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks in a process with threads
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_nothing_breaks(experiment: Experiment, tmp_path: Path) -> None:
    outcome = experiment.run(experiment.quick, tmp_path)
    assert not outcome.failures
    assert outcome.n or outcome.notes


def test_signals_reach_the_commands_of_a_background_job(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what it starts in the background
    try:
        assert not interrupts.run(1, tmp_path).failures
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
