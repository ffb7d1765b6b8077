"""An upscaler in forked and spawned processes, in threads, and copied."""

import asyncio
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pysr
from pysr.ops.host import ProcessLock

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PREPARED = """
import multiprocessing, os, signal, threading, time
import numpy as np
import torch
import pysr

torch.set_num_threads(2)
bicubic, network = pysr.load("bicubic", scale=2), pysr.load("vdsr", scale=2)
image = np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8)
wanted = [upscaler.upscale(image) for upscaler in (bicubic, network)]

def right():
    return all((upscaler.upscale(image) == one).all() for upscaler, one in zip((bicubic, network), wanted))

def fork(exit_status):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a hang ends it
        os._exit(exit_status())
    return child

def check(child):
    assert os.waitpid(child, 0)[1] == 0
"""

FORKS = """
check(fork(lambda: 0 if right() else 1))
check(fork(lambda: check(fork(lambda: 0 if right() else 1)) or 0))

for child in [fork(lambda: 0 if right() and right() else 1) for _ in range(3)]:  # a server's workers
    check(child)

busy, ended = threading.Event(), threading.Event()

def work():
    while not ended.is_set():
        network.upscale(image, progress=lambda *_: busy.set())

thread = threading.Thread(target=work)
thread.start()
busy.wait()
for _ in range(4):
    time.sleep(0.013)
    check(fork(lambda: 0 if right() else 1))
ended.set()
thread.join()

signal.alarm(60)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all((result == wanted[1]).all() for result in pool.map(network.upscale, [image] * 4))
assert right()
"""


@forks
def test_a_process_can_fork_after_loading() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", PREPARED + FORKS], check=True, env=environment)


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12: a test with threads before
def test_a_child_finds_a_lock_open_that_its_parent_held() -> None:
    lock = ProcessLock()
    with lock:
        child = os.fork()
        if child == 0:
            with lock:
                os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_spawned_process_gets_the_upscaler() -> None:
    upscaler = pysr.load("vdsr", scale=2)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(upscaler.upscale, IMAGE).result()
    assert (result == upscaler.upscale(IMAGE)).all()


def pickled(upscaler: pysr.Upscaler) -> Any:
    return pickle.loads(pickle.dumps(upscaler))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("bicubic", {}),
        ("srcnn", {"ensemble": True}),
        ("srcnn", {"precision": "bfloat16"}),
        ("srcnn+vdsr", {}),
        ("srcnn", {"pre_upsampler": "lanczos"}),
        ("aplus", {}),
        ("auto", {}),
    ],
)
def test_copies_do_the_same(model: str, options: dict[str, Any], duplicate: Callable[[Any], Any]) -> None:
    upscaler = pysr.load(model, **options)
    expected = upscaler.upscale(IMAGE)  # of "auto", the copy has a model, too
    assert (duplicate(upscaler).upscale(IMAGE) == expected).all()


def test_threads_share_an_upscaler_for_images_of_any_size() -> None:
    upscaler = pysr.load("srcnn", scale=2)
    images: list[Any] = [IMAGE[: 5 + 3 * number, : 20 - 2 * number] for number in range(6)]
    expected = [upscaler.upscale(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(upscaler.upscale, images * 5))
    assert all((result == wanted).all() for result, wanted in zip(results, expected * 5, strict=True))


def test_coroutines_await_an_upscaler_in_threads() -> None:
    upscaler = pysr.load("auto", scale=2)

    async def several() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(upscaler.upscale, IMAGE) for _ in range(3)))

    results = asyncio.run(several())
    assert all((result == results[0]).all() for result in results)


MEMORY = """
import os
from itertools import product
from pathlib import Path
import numpy as np
import pysr

def resident_mebibytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

def use(sizes, loads):
    for height, width in sizes:
        upscaler.upscale(np.full((height, width, 3), 99, np.uint8))
    for _ in range(loads):
        pysr.load("srcnn", scale=2)

upscaler = pysr.load("srcnn", scale=2)
sizes = list(product(range(5, 25), range(8, 25)))
use(sizes[:70], loads=5)
before = resident_mebibytes()
use(sizes[70:], loads=50)
grown = resident_mebibytes() - before
assert grown < 25, f"{grown:.0f} MiB"
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_stays_the_same_over_images_of_many_sizes() -> None:
    caches = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"}
    environment = {name: value for name, value in os.environ.items() if name not in caches}
    subprocess.run([sys.executable, "-c", MEMORY], check=True, env=environment)


BUFFERS = """
import resource
import torch
import pysr

torch.set_num_threads(1)
upscaler = pysr.load("nearest", scale=2)  # loads what sets up torch's memory

def faults(mebibytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(mebibytes << 20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults(256)  # larger than what is kept
print(first, *(min(faults(size) for _ in range(5)) for size in (16, 100)))
"""


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists(), reason="needs Linux")
def test_large_buffers_cost_few_page_faults_without_a_tuned_allocator() -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC", "GLIBC", "THP_"))}
    found = []
    for _ in range(4):  # in one process of ten, something small lies where the large buffers have their room
        done = subprocess.run([sys.executable, "-c", BUFFERS], check=True, env=own, capture_output=True, text=True)
        found.append([int(number) for number in done.stdout.split()])
    large, again, above_32 = map(min, zip(*found, strict=True))
    if "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
        assert again < 100  # of 4,096 pages
        assert above_32 < 100  # of 25,600
    if "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
        assert large < 16_000  # of 65,536
