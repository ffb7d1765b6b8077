"""The kernels among instruction sets, threads, processes and signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from pysr.errors import InputError
from pysr.ops.axis import Axis
from pysr.ops.patches import blend_patches, extract_patches

_kernels = pytest.importorskip("pysr._kernels", reason="built without the native kernels")

ISAS = _kernels.isas()


@pytest.fixture(autouse=True)
def fastest_isa_afterwards() -> Iterator[Any]:
    yield
    _kernels.isa(ISAS[0])


def test_isas_are_chosen_by_name() -> None:
    assert ISAS[-1] == "baseline"
    for isa in ISAS:
        assert _kernels.isa(isa) == _kernels.isa() == isa
    with pytest.raises(InputError, match=r"'mmx' is not available here; use one of: .*baseline"):
        _kernels.isa("mmx")


@pytest.mark.parametrize(("isa", "expected"), [("baseline", "baseline"), ("mmx", "InputError"), ("", ISAS[0])])
def test_the_environment_chooses_an_isa(isa: str, expected: Any) -> None:
    code = (
        "from pysr import _kernels\ntry: print(_kernels.isa())\nexcept Exception as error: print(type(error).__name__)"
    )
    environment = os.environ | {"PYSR_ISA": isa}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == expected


def test_ctrl_c_stops_a_long_call() -> None:
    """Sixteen thousand samples for each pixel: many seconds of work in little memory."""
    tile_rows = [torch.ones(1, 1, 4096, 512).expand(1000, 1, 4096, 512)] * 16
    rows = Axis([0] * 16, np.ones((16, 4096), np.float32))
    columns = Axis([0] * 1000, np.ones((1000, 512), np.float32))
    pressed = []

    def press() -> None:
        pressed.append(time.process_time())
        signal.raise_signal(signal.SIGINT)

    threading.Timer(0.5, press).start()
    with pytest.raises(KeyboardInterrupt):
        blend_patches(tile_rows, rows, columns, span=(0, 4096))
    assert time.process_time() - pressed[0] < 2  # of the processor's time: 0.2 for each thread, whatever else runs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: a test with threads before
def test_kernels_work_in_a_forked_child() -> None:
    image = np.full((3, 64, 2048), 255, np.uint8)
    extract_patches(image, [(0, 0)] * 8, (64, 2048))
    results, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a hang ends it
        try:
            out = torch.empty(8, 3, 64, 2048)
            _kernels.extract_patches(image, [0, 0] * 8, out, threads=3, stream=0)
            os.write(write, b"1" if (out.numpy() == 1).all() else b"0")
        finally:
            os._exit(0)
    os.close(write)
    assert os.read(results, 1) == b"1"
    assert os.waitpid(child, 0)[1] == 0


def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 200, 300), dtype=np.uint8)
    expected = extract_patches(image, [(-5, -5)], (210, 310))
    right: list[bool] = []

    def work() -> None:
        right.extend(extract_patches(image, [(-5, -5)], (210, 310)).equal(expected) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 80
