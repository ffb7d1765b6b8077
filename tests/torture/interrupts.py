"""Ctrl-C and SIGTERM at any moment of a command: no traceback, no other exit code, nothing half-written."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from pysr.files import read_image

from .experiment import Outcome, python

_FEW = 10  # moments; of so few, all go to the first command
_PROGRAM = "import sys; from pysr_command import main; sys.exit(main())"  # as installers write it
_LONGEST = 5.0  # seconds by the clock, on a machine that may be busy
_DONE = 1.0  # seconds in which a command that was done already may end
_TRACES = ("Traceback", "this is a bug", "terminate called", "Exception ignored", "Fatal Python error")
_COMMANDS = {
    "import": ("upscale", "small.png", "-m", "nearest", "-o", "out.png"),
    "bicubic": ("upscale", "large.png", "-m", "bicubic", "-o", "out.png"),
    "vdsr": ("upscale", "middle.png", "-m", "vdsr", "-s", "3", "-o", "out.png", "--device", "cpu"),
    "srgan": ("upscale", "middle.png", "-m", "srgan", "-s", "4", "-o", "out.png", "--device", "cpu"),
    "aplus": ("upscale", "middle.png", "-m", "aplus", "-s", "3", "-o", "out.png", "--device", "cpu"),
    "sample": ("sample", "face.png", "-m", "pixelcnn-faces", "-n", "4", "-o", "samples"),
    "models": ("models",),
    "info": ("info", "vdsr"),
    "plugins": ("plugins",),
    "folder": ("upscale", "photos", "-m", "srcnn", "-s", "2", "-o", "out", "--workers", "2", "--device", "cpu"),
    "resume": ("upscale", "photos", "-m", "bicubic", "-s", "4", "-o", "out", "--resume"),
    "shrink": ("shrink", "middle.png", "-o", "out.png"),
    "compare": ("compare", "small.png", "face.png", "--html", "out.html"),
    "export": ("export", "srcnn", "-s", "2", "-o", "out.onnx"),
    "plan": ("plan", "large.png", "-m", "srresnet", "-s", "4"),
    "train": ("train", "srcnn", "--data", "photos", "--out", "out", "--steps", "20", "--device", "cpu"),
    "evaluate": ("evaluate", "srcnn", "--data", "photos", "--scale", "2", "--csv", "out.csv", "--device", "cpu"),
}
_READERS = {".png": read_image, ".safetensors": load_file, ".json": lambda path: json.loads(path.read_text())}


def make_images(folder: Path) -> None:
    """Make the images that the commands read."""
    generator = np.random.default_rng(0)
    for name, side in (("small", 8), ("face", 8), ("middle", 300), ("large", 2000)):
        Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).save(folder / f"{name}.png")
    (folder / "photos").mkdir()
    for number in range(3):
        shutil.copy(folder / "middle.png", folder / "photos" / f"{number}.png")


def duration(command: tuple[str, ...], folder: Path) -> tuple[float, str]:
    """How long the undisturbed command takes, in seconds; and what it says if it fails, else nothing."""
    _tidy(folder)
    started = time.monotonic()
    with python("-c", _PROGRAM, *command, folder=folder) as process:
        _, err = process.communicate(timeout=300)
    return time.monotonic() - started, (err or f"exit code {process.returncode}") if process.returncode else ""


def _tidy(folder: Path) -> None:
    """Remove what a command has written."""
    for left in (*folder.glob("out*"), folder / "samples"):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def interrupt(command: tuple[str, ...], number: int, moment: float, folder: Path) -> tuple[float, bool, str | None]:
    """Send a signal some seconds after a command's start.

    Returns:
        How long it then took to end, whether it ended as if there had been no signal, and what was wrong.
    """
    _tidy(folder)
    started = time.monotonic()
    with python("-c", _PROGRAM, *command, folder=folder) as process:
        time.sleep(max(0.0, started + moment - time.monotonic()))
        told = time.monotonic()
        if process.poll() is None:
            process.send_signal(number)
        try:
            _, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            return 60, False, "it went on"
    took = time.monotonic() - told
    if err.endswith("KeyboardInterrupt\n") and "pysr" not in err:
        return took, False, None  # Python itself was starting, before any line of pysr
    return took, process.returncode == 0, _problem(process.returncode, err, number, folder)


def _problem(code: int, err: str, number: int, folder: Path) -> str | None:
    if trace := next((trace for trace in _TRACES if trace in err), None):
        return f"{trace!r} in {err[-300:]!r}"
    # 0: it was done already; -number: it was still starting
    if code not in (0, 128 + number, -number):
        return f"exit code {code}, {err[-300:]!r}"
    if left := [path.name for path in folder.rglob(".pysr-*")]:
        return f"{left} is left"
    for path in folder.rglob("*"):
        try:
            _READERS.get(path.suffix, Path.exists)(path)
        except Exception as error:
            return f"{path.name} is half-written: {error}"
    if code == 0 and number == signal.SIGINT and "out.png" in err and not (folder / "out.png").exists():
        return "done, but there is no output"
    return None


def run(count: int, folder: Path) -> Outcome:
    """Interrupt each of the commands at moments that cover its whole run."""
    outcome, generator = Outcome(), random.Random(0)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of a job that a shell starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # or the commands would ignore it, too
    make_images(folder)
    for name, command in list(_COMMANDS.items())[: None if count > _FEW else 1]:
        share = count if name == "import" else max(1, count // 10)
        seconds, refusal = duration(command, folder)
        if "no model called" in refusal or "pip install" in refusal:
            outcome.notes.append(f"{name}: not installed")
            continue
        if refusal:
            outcome.check(name, refusal[-300:])
            continue
        took = []
        for trial in range(share):
            moment = seconds * 1.05 * (trial + generator.random()) / share
            number = signal.SIGTERM if trial % 8 == 7 else signal.SIGINT
            ended, was_done, problem = interrupt(command, number, moment, folder)
            took.append(ended)
            if count > _FEW and ended > (_DONE if was_done else _LONGEST):  # the tests, many at once, go by no clock
                problem = problem or f"it took {ended:.1f} s{', to its usual end' if was_done else ''}"
            outcome.check(f"{name} after {moment:.3f} of {seconds:.2f} s", problem)
        took.sort()
        outcome.notes.append(f"{name}: ended in {took[len(took) // 2]:.3f} s (median), {took[-1]:.3f} s (longest)")
    return outcome
