"""A worker that needs no torch: it speaks the protocol of pysr.serve.worker, and its models do what tests need.

echo: the result is the image itself. slow: works until it is cancelled. stubborn: works, and does not listen. crash:
dies. refuse: sends a problem. large: the result is 12 MB. It is started as a program of its own.
"""

import json
import os
import sys
import time
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

MODELS = ("echo", "slow", "stubborn", "crash", "refuse", "large")
messages: SimpleQueue[dict[str, object]] = SimpleQueue()


def send(**message: object) -> None:
    print(json.dumps(message), flush=True)


def read() -> None:
    for line in sys.stdin:
        messages.put(json.loads(line))
    os._exit(0)


def is_cancelled() -> bool:
    try:
        return "cancel" in messages.get_nowait()
    except Empty:
        return False


def describe(name: str) -> dict[str, object]:
    facts = {"name": name, "aliases": [f"{name}-alias"], "summary": name, "scales": [2, 3], "strength_scales": [2]}
    return facts | {"domain": "photo", "made_for": "clean", "samples": name == "large", "paper": ""}


def work(job: dict[str, object]) -> None:
    number, model, folder = job["job"], job["model"], Path(str(job["folder"]))
    if model == "crash":
        os._exit(1)
    if model == "refuse":
        send(job=number, problem={"status": 422, "detail": "the image is bad; send another"})
        return
    if model in ("slow", "stubborn"):
        for step in count(1):
            send(job=number, done=min(step, 400), total=400)
            time.sleep(0.02)
            if model == "slow" and is_cancelled():
                send(job=number, problem={"status": 499, "detail": "cancelled"})
                return
    image = b"x" * 12_000_000 if model == "large" else (folder / "image").read_bytes()
    (folder / "result.png").write_bytes(image)
    facts = {"file": "result.png", "model": model, "scale": job["scale"] or 2, "width": 20, "height": 10}
    send(job=number, result=facts | {"seconds": 0.5, "warnings": [json.dumps(job)]})


if __name__ == "__main__":
    sys.stdin.readline()  # the settings
    send(models=[describe(name) for name in MODELS])
    Thread(target=read, daemon=True).start()
    while True:
        message = messages.get()
        if "job" in message:
            work(message)
