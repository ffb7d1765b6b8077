"""The service under load: are all answers right, does everything stay alive, is memory flat, is /healthz fast?

    python benchmarks/serve.py [--requests 200] [--clients 16] [--hostile 0.2] [--json FILE]

It starts ``pysr serve`` on a free port of this machine, asks for each kind of image once (the answers that are compared
with), and then sends requests from several clients at the same time. A part of them is hostile: bombs, damaged and cut
files, what is no image, wrong fields, slow senders, clients that go away. It exits with 1 if a goal of `GOALS` is
missed.
"""

import argparse
import io
import json
import random
import re
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

GOALS = {"wrong answers": 0, "deaths": 0, "memory growth (MB)": 200.0, "healthz p99 (ms)": 100.0}
QUERIES = (
    "model=bicubic&scale=2",
    "model=lanczos&scale=3&format=webp",
    "model=srcnn&scale=2",
    "model=vdsr&scale=2&format=jpg",
)
GONE = "gone"  # what a client that goes away gets


@dataclass(frozen=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes


@dataclass
class Service:
    """The running program."""

    port: int
    process: psutil.Process
    slowest: list[float] = field(default_factory=list)  # seconds for /healthz

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Send a request and read the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def upscale(self, query: str, image: bytes) -> Answer:
        """Ask for an image, again if the queue is full."""
        while (answer := self.ask("POST", f"/v1/upscale?{query}", image)).status == 429:
            time.sleep(0.2)
        return answer

    def memory(self) -> float:
        """Resident memory of the service and its workers, in MB."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(process.memory_info().rss for process in processes) / 1e6

    def number(self, name: str) -> int:
        """One of the service's own numbers."""
        found = re.search(rf"^{name} (\d+)", self.ask("GET", "/metrics").body.decode(), re.MULTILINE)
        assert found
        return int(found[1])


def images(seed: int) -> list[bytes]:
    """Small images of several formats and modes."""
    noise = np.random.default_rng(seed)
    made = []
    for kind, mode, size in (
        ("PNG", "RGB", (150, 100)),
        ("JPEG", "RGB", (120, 90)),
        ("PNG", "RGBA", (64, 64)),
        ("WEBP", "RGB", (90, 120)),
        ("TIFF", "L", (100, 100)),
    ):
        y, x = np.mgrid[: size[1], : size[0]]
        waves = np.stack([np.sin(x / (5 + c) + y / 9) for c in range(4)], -1) * 90 + 128
        pixels = (waves + noise.normal(0, 5, waves.shape)).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels, "RGBA").convert(mode).save(buffer, kind)
        made.append(buffer.getvalue())
    return made


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says that it is very large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10**6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def hostile(service: Service, image: bytes) -> list[tuple[str, Callable[[], Answer | str], int]]:
    """Requests that must be refused: a name, what to do, and the status that is right."""

    def send(query: str, body: bytes) -> Callable[[], Answer | str]:
        return lambda: service.upscale(query, body)

    plain = "model=bicubic&scale=2"
    return [
        ("bomb", send(plain, bomb(60_000, 60_000)), 413),
        ("a bomb within the limits", send(plain, bomb(3_900, 3_900)), 422),
        ("a result too large", send("model=bicubic&scale=8", bomb(3_900, 3_900)), 413),
        ("cut off", send(plain, image[: len(image) // 2]), 422),
        ("damaged", send(plain, image[:100] + bytes(200) + image[300:]), 422),
        ("a program", send(plain, b"\x7fELF" + random.Random(0).randbytes(20_000)), 422),
        ("a page", send(plain, b"<html><script>alert(1)</script></html>"), 422),
        ("nothing", send(plain, b""), 400),
        ("a path", send("model=../../../etc/passwd", image), 422),
        ("a wrong scale", send("model=vdsr&scale=99", image), 422),
        ("a slow sender", lambda: raw(service, 9_999, b"some", wait=True), 408),
        ("a length too large", lambda: raw(service, 10**12, b"", wait=True), 413),
        ("a client that goes away", lambda: raw(service, 9_999, b"some", wait=False), 0),
    ]


def raw(service: Service, length: int, start: bytes, *, wait: bool) -> Answer | str:
    """Announce a body and send only its start."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
        head = f"POST /v1/upscale?model=bicubic&scale=2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        client.sendall(head.encode() + start)
        if not wait:
            return GONE
        received = b""
        while piece := client.recv(65536):
            received += piece
            top, _, body = received.partition(b"\r\n\r\n")
            announced = re.search(rb"content-length: (\d+)", top, re.IGNORECASE)
            if announced and len(body) >= int(announced[1]):
                return Answer(int(received.split()[1]), body)
        return Answer(0, received)


def watch_health(service: Service, stop: threading.Event) -> None:
    """Time /healthz until it is told to stop."""
    while not stop.wait(0.05):
        started = time.perf_counter()
        status = service.ask("GET", "/healthz").status
        service.slowest.append(time.perf_counter() - started if status == 200 else 1e9)


def is_refusal(answer: Answer | str, status: int) -> bool:
    """Whether the answer says why, with the right status."""
    if isinstance(answer, str):
        return status == 0
    if answer.status != status:
        return False
    detail = json.loads(answer.body)["detail"]
    return ";" in detail and "/tmp" not in detail and "Traceback" not in detail


def run(service: Service, requests: int, clients: int, share: float) -> tuple[dict[str, float], Counter[str]]:
    """Measure; the second value counts the wrong answers by what was asked."""
    samples = images(0)
    right = {(query, image): service.upscale(query, image) for query in QUERIES for image in samples}
    refused = {key: answer for key, answer in right.items() if answer.status != 200}
    assert all(b"cannot hold" in answer.body for answer in refused.values())  # transparent images as JPEG
    attacks = hostile(service, samples[0])
    wrong: Counter[str] = Counter()
    dice = random.Random(1)
    plan = [dice.choice(attacks) if dice.random() < share else dice.choice(list(right)) for _ in range(requests)]

    def client(number: int) -> None:
        item = plan[number]
        if len(item) == 3:
            name, ask, status = item
            if not is_refusal(answer := ask(), status):
                wrong[f"{name}: {answer!r}"] += 1
        elif (answer := service.upscale(*item)) != right[item]:
            wrong[f"{item[0]}: {answer.status}"] += 1

    before, peak = service.memory(), 0.0
    stop = threading.Event()
    watcher = threading.Thread(target=watch_health, args=(service, stop))
    watcher.start()
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in pool.map(client, range(requests)):
            peak = max(peak, service.memory())
            assert done is None
    seconds = time.perf_counter() - started
    stop.set()
    watcher.join()
    figures = {
        "requests": requests,
        "hostile": sum(len(item) == 3 for item in plan),
        "seconds": seconds,
        "wrong answers": sum(wrong.values()),
        "deaths": service.number("pysr_worker_restarts_total") + (not service.process.is_running()),
        "memory before (MB)": before,
        "memory growth (MB)": service.memory() - before,
        "memory peak growth (MB)": peak - before,
        "healthz asked": len(service.slowest),
        "healthz p50 (ms)": 1000 * statistics.median(service.slowest),
        "healthz p99 (ms)": 1000 * statistics.quantiles(service.slowest, n=100)[-1],
    }
    return figures, wrong


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--hostile", type=float, default=0.2, help="share of the requests")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    command = [sys.executable, "-m", "pysr", "serve", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/ is ready", line := program.stderr.readline())
        if not found:
            sys.exit(line + program.stderr.read())
        threading.Thread(target=program.stderr.read, daemon=True).start()
        try:
            service = Service(int(found[1]), psutil.Process(program.pid))
            figures, wrong = run(service, options.requests, options.clients, options.hostile)
        finally:
            program.terminate()
        figures["exit status"] = program.wait(15)
    for name, value in figures.items():
        print(f"{name:26} {value:10.1f}" if isinstance(value, float) else f"{name:26} {value:10}")
    for what, count in wrong.items():
        print(f"wrong, {count} times: {what}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    missed = [name for name, goal in GOALS.items() if figures[name] > goal]
    print("missed: " + ", ".join(missed) if missed else "all goals are met")
    return bool(missed or figures["exit status"])


if __name__ == "__main__":
    sys.exit(main())
