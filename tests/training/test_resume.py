"""A training that is killed and resumed ends with the very bits of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from resumable_training import MODEL, assert_same, final, finish, is_under_way, start
from tiny_training import run

from pysr.errors import InputError, PysrError
from pysr.training.checkpoints import Checkpoints

KILLS = int(os.environ.get("PYSR_KILLS", "3"))  # of each kind; the long tier takes 20


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:60, :66]
    for i in range(2):
        waves = np.sin(x / (2 + i) + np.cos(y / 3)) * 100 + 128
        Image.fromarray(waves.astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def undisturbed(pictures: Path, tmp_path_factory: pytest.TempPathFactory, request: Any) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    finish(pictures, out, PRECISION=request.param)
    return out, request.param


@pytest.mark.parametrize("number", range(KILLS))
def test_a_kill_at_any_moment_changes_no_bit(
    number: int, undisturbed: tuple[Path, str], pictures: Path, tmp_path: Path
) -> None:
    whole, precision = undisturbed
    out = tmp_path / "out"
    process = start(pictures, out, SLOW="0.05", PRECISION=precision)
    deadline = time.monotonic() + 120
    while not is_under_way(out) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.Random(number).random())  # 24 steps take more than a second
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()  # type: ignore[union-attr]
    finish(pictures, out, PRECISION=precision)
    assert_same(whole, out)


@pytest.mark.parametrize(("kind", "when"), [("checkpoint", 2), ("file", 3), ("after", 9)])
def test_a_kill_inside_a_write_changes_no_bit(
    kind: str, when: int, undisturbed: tuple[Path, str], pictures: Path, tmp_path: Path
) -> None:
    whole, precision = undisturbed
    out = tmp_path / "out"
    process = start(pictures, out, kind, when, PRECISION=precision)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    finish(pictures, out, PRECISION=precision)
    assert_same(whole, out)


def test_sigterm_writes_a_checkpoint_and_exits_with_143(pictures: Path, tmp_path: Path) -> None:
    program = (
        MODEL
        + "\nimport sys\nfrom pysr import registry\nfrom pysr.cli import app\nfrom pysr.plugin import hookimpl\n"
        + (
            "import types\nfake = types.ModuleType('fake')\nfake.pysr_models = hookimpl(lambda: [MODEL])\n"
            "with registry.override([registry.core(), registry.Source('fake', 'fake', '1', lambda: fake)]):\n"
            "    sys.exit(app.main(sys.argv[1:]))\n"
        )
    )
    out = tmp_path / "out"
    args = ["train", "noisy", "--data", str(pictures), "--out", str(out), "--steps", "1000000", "--device", "cpu"]
    process = subprocess.Popen([sys.executable, "-c", program, *args], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not is_under_way(out) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)  # a million steps would take hours
    assert process.returncode == 143, errors
    assert "a checkpoint is in" in errors
    tensors, facts = final(out)
    assert facts["step"] > 0
    assert "network.body.0.weight" in tensors


def test_a_handler_that_goes_on_gets_no_unfinished_weights(pictures: Path, tmp_path: Path) -> None:
    """Where the program's own handler does not end it, the training says that it is not done."""

    def stop(done: int, total: int) -> None:
        if done == 7:
            signal.raise_signal(signal.SIGTERM)

    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: numbers.append(number))
    try:
        with pytest.raises(PysrError, match=r"stopped at step 7 of 24; .* resume the training to continue"):
            trained(pictures, tmp_path / "out", progress=stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert numbers == [signal.SIGTERM]
    assert final(tmp_path / "out")[1]["step"] == 7


def namespace() -> dict[str, Any]:
    values: dict[str, Any] = {}
    exec(MODEL, values)
    return values


def trained(pictures: Path, out: Path, **options: Any) -> Path:
    return run(pictures, out, **({"model": namespace()["MODEL"], "seed": 3} | options))


@pytest.fixture
def stopped(pictures: Path, tmp_path: Path) -> Path:
    """A run with checkpoints at steps 5 and 10, stopped after step 12."""

    def stop(done: int, total: int) -> None:
        if done == 12:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        trained(pictures, tmp_path / "stopped", progress=stop)
    return tmp_path / "stopped"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "nonsense", "missing"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    damage: str, stopped: Path, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newest = Checkpoints(stopped / "checkpoints").files()[-1]
    assert newest.name == "step-00000010.safetensors"
    data = newest.read_bytes()
    flipped = bytearray(data)
    flipped[-100] ^= 4
    newest.write_bytes({"cut": data[:-7], "flipped": bytes(flipped), "empty": b""}.get(damage, b"{}"))
    if damage == "missing":
        newest.unlink()
    firsts: list[int] = []
    trained(pictures, stopped, resume=True, progress=lambda done, *_: firsts.append(done))
    assert firsts[0] == 6
    assert (f"{newest} is damaged" in caplog.text) == (damage != "missing")
    trained(pictures, tmp_path / "whole")
    assert_same(tmp_path / "whole", stopped)


def test_damage_to_all_checkpoints_is_an_error(stopped: Path, pictures: Path) -> None:
    for path in Checkpoints(stopped / "checkpoints").files():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PysrError, match=r"all checkpoints in .* are damaged; start again in another folder"):
        trained(pictures, stopped, resume=True)


def test_two_checkpoints_are_kept(stopped: Path, pictures: Path) -> None:
    trained(pictures, stopped, resume=True)
    assert [path.name[5:13] for path in Checkpoints(stopped / "checkpoints").files()] == ["00000020", "00000024"]


def test_two_sound_checkpoints_are_kept_beside_a_damaged_one(stopped: Path) -> None:
    """A file that was cut short after it was written must not drive out the last one that can be read."""
    folder = stopped / "checkpoints"
    damaged = folder / "step-00000012.safetensors"
    damaged.write_bytes(Checkpoints(folder).files()[-1].read_bytes()[:-7])
    Checkpoints(folder).save(11, {"a": torch.ones(1)}, {})
    assert [path.name[5:13] for path in Checkpoints(folder).files()] == ["00000010", "00000011"]


def test_a_failed_write_removes_nothing(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(stopped / "checkpoints")
    before = checkpoints.files()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(11, {"a": torch.ones(1)}, {})
    assert checkpoints.files() == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nn.Dropout(0.2)", "nn.PReLU()", r"another network or other losses: it lacks average\.body\.3\.weight, n"),
        (
            "Conv2d(1, 8, 3, padding=1)",
            "Conv2d(1, 8, 5, padding=2)",
            r"body.0.weight, average.body.0.weight differ in shape \(\(8, 1, 3, 3\) instead of \(8, 1, 5, 5\)\)",
        ),
        ("torch.optim.Adam(rest, 0.01)", "torch.optim.SGD(rest, 0.01)", "'Adam of 7 at 0.01'., and now it is "),
        ("Muon(hidden, 0.01)", "Muon(hidden, 0.02)", "'Muon of 1 at 0.01', .*, and now it is .'Muon of 1 at 0.02', "),
        ("schedule=cosine", "schedule=lambda p: 1 - p", r"had schedule = \['1', '0.97\d+', .* \['1', '0.9', "),
    ],
)
def test_an_edited_network_is_named(old: str, new: str, message: str, stopped: Path, pictures: Path) -> None:
    values: dict[str, Any] = {}
    assert old in MODEL
    exec(MODEL.replace(old, new), values)
    with pytest.raises(InputError, match=message):
        trained(pictures, stopped, model=values["MODEL"], resume=True)


def test_a_training_is_not_overwritten_by_accident(stopped: Path, pictures: Path) -> None:
    with pytest.raises(InputError, match="holds a training; resume it, or choose another folder"):
        trained(pictures, stopped)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 4}, "had seed = 3, and now it is 4"),
        ({"steps": 30}, "had steps = 24, and now it is 30"),
        ({"scales": (2,)}, r"had scales = \[2, 3\], and now it is \[2\]"),
        ({"precision": "bfloat16"}, "had precision = 'float32', and now it is 'bfloat16'"),
    ],
)
def test_another_run_cannot_be_resumed(changed: dict[str, Any], message: str, stopped: Path, pictures: Path) -> None:
    with pytest.raises(InputError, match=message):
        trained(pictures, stopped, resume=True, **changed)


def test_a_finished_run_stays_finished(stopped: Path, pictures: Path) -> None:
    best = trained(pictures, stopped, resume=True)
    before = {path: path.read_bytes() for path in stopped.glob("*.safetensors")}
    steps: list[int] = []
    assert trained(pictures, stopped, resume=True, progress=lambda done, *_: steps.append(done)) == best
    assert not steps
    assert before == {path: path.read_bytes() for path in stopped.glob("*.safetensors")}


def test_resume_where_there_is_nothing_begins(pictures: Path, tmp_path: Path) -> None:
    trained(pictures, tmp_path / "one", resume=True, steps=6)
    trained(pictures, tmp_path / "two", steps=6)
    assert_same(tmp_path / "one", tmp_path / "two")
