"""``pysr serve`` as a program of its own, with real workers."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs the extra serve")

COMMAND = [sys.executable, "-m", "pysr", "serve", "--port", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def program() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The running program and its port."""
    process = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)/ is ready", line)
    assert found, line + process.stderr.read()
    yield process, int(found[1])
    process.kill()
    process.wait()
    process.stderr.close()


def statuses_of(port: int, image: bytes, count: int) -> list[int]:
    """Send an image from several clients at the same time; return what the answers will be."""
    statuses: list[int] = []

    def ask() -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("POST", "/v1/upscale?model=bicubic&scale=4", image)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)

    for _ in range(count):
        threading.Thread(target=ask).start()
    return statuses


def test_a_port_in_use_is_named(program: tuple[subprocess.Popen[str], int]) -> None:
    port = program[1]
    done = subprocess.run([*COMMAND, "--port", str(port)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"cannot listen on port {port} of 127.0.0.1" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_sigterm_lets_accepted_images_be_finished(program: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    process, port = program
    Image.effect_noise((300, 200), 80).convert("RGB").save(tmp_path / "image.png")
    statuses = statuses_of(port, (tmp_path / "image.png").read_bytes(), 8)
    deadline = time.monotonic() + 60
    while not statuses:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    while len(statuses) < 8:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert set(statuses) <= {200, 503}
    print(f"{statuses.count(200)} finished")
