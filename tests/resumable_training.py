"""A training in a process of its own, which can be killed and resumed, for several test files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pysr.training.checkpoints import Checkpoints

MODEL = """
import os, signal, sys
from pathlib import Path

import torch
from torch import nn

from pysr.plugin import Model, Recipe
from pysr.training import Muon, cosine


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1),
        )

    def forward(self, enlarged):
        return enlarged + self.body(enlarged)


def optimizers(network):
    hidden = [network.body[4].weight]
    rest = [p for p in network.parameters() if p is not hidden[0]]
    return [Muon(hidden, 0.01), torch.optim.Adam(rest, 0.01)]


def recipe():
    return Recipe(losses={"l1": 1.0, "mse": 0.5}, optimizers=optimizers, schedule=cosine, steps=STEPS, batch=6,
                  patch=12, scales=(2, 3), hard_mining_candidates=2, ema_decay=0.9, validate_every=5, clip_theta=0.01)


STEPS = 24
MODEL = Model("noisy", (2, 3), lambda scale, variant: Noisy(), "for tests", colour="luma",
              preprocess=("luma", "bicubic"), receptive_field=3, recipes={"only": recipe})
"""

PROGRAM = (
    MODEL
    + '''
from pysr.training import TrainingOptions, train

data, out, kind, when = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
real, calls = os.replace, 0


def replace(source, target):
    """SIGKILL just before or just after the renaming that completes the file number `when` of that kind."""
    global calls
    calls += (kind == "checkpoint") == ("checkpoints" in str(target))
    if kind != "none" and calls == when and kind.startswith("after") is False:
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
    if kind == "after" and calls == when:
        os.kill(os.getpid(), signal.SIGKILL)


if kind in ("checkpoint", "file", "after"):
    os.replace = replace
slow = float(os.environ.get("SLOW", "0"))
train(MODEL, [data], out, validation=data, resume=True, progress=lambda *_: __import__("time").sleep(slow),
      options=TrainingOptions(seed=3, device="cpu", precision=os.environ["PRECISION"]))
'''
)


def start(pictures: Path, out: Path, kind: str = "none", when: int = 0, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(pictures), str(out), kind, str(when)]
    environment = {**os.environ, "PRECISION": "float32", **environment}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(pictures: Path, out: Path, **environment: str) -> None:
    process = start(pictures, out, "none", 0, **environment)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def final(out: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    found = Checkpoints(out / "checkpoints").newest()
    assert found
    tensors, facts = found
    log = facts["log"]
    rows = [{name: cell for name, cell in row.items() if name not in ("seconds", "waiting")} for row in log["rows"]]
    facts["log"] = {
        "step": log["step"],
        "losses": log["losses"],
        "metrics": log["metrics"],
        "rows": rows,
    }  # without times
    return tensors, facts


def assert_same(one: Path, other: Path) -> None:
    (tensors, facts), (others, other_facts) = final(one), final(other)
    assert facts == other_facts
    assert tensors.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in tensors.items())
    for name in ("best.safetensors", "last.safetensors"):
        mine, its = load_file(one / name), load_file(other / name)
        assert all(torch.equal(value, its[key]) for key, value in mine.items())
    logs = [(path / "log.csv").read_text().splitlines() for path in (one, other)]
    mine_log, its_log = ([line.split(",")[2:-1] for line in log] for log in logs)  # without seconds and waiting
    assert mine_log == its_log
    left_over = [path for path in other.rglob(".pysr-*") if path.is_file()]
    assert not left_over


def is_under_way(out: Path) -> bool:
    """Whether there is a checkpoint besides that of the beginning."""
    return len(list((out / "checkpoints").glob("step-*.safetensors"))) > 1
