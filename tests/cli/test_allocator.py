import os
import subprocess
import sys
from typing import Any

import pytest

from pysr.cli.allocator import tune_allocator

FAULTS = """
import resource
from threading import Thread

from pysr.cli.allocator import tune_allocator


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    both = [bytearray(64 << 20), bytearray(64 << 20)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def measure():
    faults()
    print(faults())


print(tune_allocator())
measure()
thread = Thread(target=measure)
thread.start()
thread.join()
"""


def measured(**environment: Any) -> Any:
    """Whether the allocator was tuned; the page faults of taking 32,768 pages again, without and in a thread."""
    own = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=own | environment)
    tuned, *faults = done.stdout.split()
    return tuned == "True", *map(int, faults)


needs_glibc = pytest.mark.skipif(
    sys.platform != "linux" or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="needs glibc"
)


@needs_glibc
def test_a_tuned_allocator_reuses_large_buffers() -> None:
    tuned, faults, in_thread = measured()
    assert tuned
    assert faults < 1000
    assert in_thread < 1000


@needs_glibc
def test_the_users_own_tuning_stays() -> None:
    tuned, faults, in_thread = measured(GLIBC_TUNABLES="glibc.malloc.check=0")
    assert not tuned
    assert min(faults, in_thread) > 20_000


def test_without_glibc_nothing_is_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert tune_allocator() is False
