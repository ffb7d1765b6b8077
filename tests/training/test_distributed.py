"""What several processes exchange: two of them, started by torchrun, on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pysr import InputError
from pysr.training.distributed import Distributed

EXCHANGES = """
from contextlib import suppress
from pathlib import Path

import torch
from torch import distributed, nn
from pysr.training.distributed import TIMEOUT, Distributed, _leave

both = Distributed("auto" if not torch.cuda.is_available() else "cpu")
assert both.world_size == 2 and both.shard == (both.rank, 2) and both.is_main == (both.rank == 0)
assert both.device.type == "cpu"
mine, exact = torch.full((2, 3), 1.0 + both.rank), torch.tensor([10 + both.rank])
both.all_reduce_mean_([mine])
assert mine.tolist() == [[1.5] * 3] * 2
flag = torch.tensor(both.is_main)
both.broadcast_([exact, flag, wide := torch.full((2,), 3.0 + both.rank, dtype=torch.float64)])
assert exact.tolist() == [10] and flag.item() is True and wide.tolist() == [3.0, 3.0]
assert both.all_reduce_max(7 * both.rank) == 7
assert both.broadcast_object(lambda: {"rank": both.rank, "tensor": torch.ones(2)})["rank"] == 0

layer = nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in range(3)])
layer[0].weight.grad = torch.full((1, 1), 2.0 + both.rank)
if both.is_main:
    layer[1].weight.grad = torch.full((1, 1), 8.0)
both.average_gradients(layer.parameters())
assert [p.grad if p.grad is None else p.grad.item() for p in layer.parameters()] == [2.5, 4.0, None]

assert distributed.group.WORLD._get_backend(both.device).options._timeout == TIMEOUT
both.barrier()

def threads():
    for file in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it ended just now
            if "gloo" in (name := file.read_text()):
                yield name


torch.optim.SGD(layer.parameters(), 0.1)  # imports much of torch that could keep the group, and so its threads, alive
assert list(threads()) or not Path("/proc/self/task").exists()
_leave()
assert not list(threads())
"""

LEARNING = """
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from torch import nn

import pysr.training.losses
from pysr.plugin import Model, Recipe
from pysr.training import TrainingOptions, train


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(1, 1, 5)
        self.optimizers = [torch.optim.SGD(self.parameters(), 1.0)]

    def forward(self, output, target):
        return nn.functional.softplus(-self.body(output)).mean()

    def update(self, output, target):
        loss = (nn.functional.softplus(-self.body(target)) + nn.functional.softplus(self.body(output))).mean()
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        return {"own": loss.item(), "drawn": torch.rand(()).item()}


about = SimpleNamespace(build=Critic)
pysr.training.losses.registry = lambda: SimpleNamespace(loss=lambda name: about)
recipe = Recipe(losses={"critic": 1.0}, optimizers=lambda n: [torch.optim.SGD(n.parameters(), 0.01)], batch=4, patch=12,
                schedule=lambda progress: 1.0, steps=9, scales=(2,), validate_every=3)
model = Model("tiny", (2,), lambda scale, variant: nn.Conv2d(1, 1, 3, padding=1), "for tests", colour="luma",
              preprocess=("luma", "bicubic"), receptive_field=1, recipes={"only": lambda: recipe})
train(model, [Path(sys.argv[1])], Path(sys.argv[2]), options=TrainingOptions(device="cpu", precision="float32"))
"""


def run_two(tmp_path: Path, source: str, *args: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(source)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(program),
        *args,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr


def test_tensors_numbers_and_gradients_are_exchanged(tmp_path: Path) -> None:
    run_two(tmp_path, EXCHANGES)


def test_a_loss_learns_in_two_processes_what_it_learns_in_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 24, 24), np.uint8)
    np.savez(tmp_path / "set.npz", pixels)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    data, one, both = (str(tmp_path / name) for name in ("set.npz", "one", "both"))
    subprocess.run([sys.executable, "-c", LEARNING, data, one], env=environment, check=True, timeout=120)
    run_two(tmp_path, LEARNING, data, both)
    found = [np.genfromtxt(Path(out) / "log.csv", delimiter=",", names=True) for out in (one, both)]
    for column in ("loss", "criticown"):
        np.testing.assert_allclose(found[0][column], found[1][column], rtol=1e-4)
    assert not np.isclose(found[0]["criticdrawn"], found[1]["criticdrawn"]).any()  # dropout would differ in each
    assert abs(found[0]["criticown"][-1] / found[0]["criticown"][0] - 1) > 0.01  # it does learn


def test_one_process_exchanges_nothing() -> None:
    alone = Distributed("cpu")
    assert (alone.world_size, alone.shard, alone.is_main, alone.device) == (1, (0, 1), True, torch.device("cpu"))
    assert alone.broadcast_object(lambda: 3) == alone.all_reduce_max(3) == 3
    with pytest.raises(InputError, match="device 'warp' cannot be used here"):
        Distributed("warp")


def test_several_processes_take_no_single_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"device 'cuda:1' is a single GPU, and there are 2 processes; give 'cuda' or"):
        Distributed("cuda:1")
    with pytest.raises(InputError, match="device 'warp' cannot be used here"):
        Distributed("warp")
    with pytest.raises(InputError, match="device 'meta' cannot be used here"):
        Distributed("meta")


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(InputError, match=r"more processes than GPUs \(1\); start one process for each, or give 'cpu'"):
        Distributed("auto")
