"""VDSR as in the paper, and the effect of its gradient clipping."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pysr
from pysr.errors import PysrError
from pysr.testing import photo
from pysr.training import TrainingOptions, train
from pysr_vdsr.network import VDSR
from pysr_vdsr.train import finetune, paper, recipe

CPU = TrainingOptions(device="cpu", precision="float32")


def test_the_network_is_the_papers() -> None:
    network = VDSR()
    assert sum(p.numel() for p in network.parameters()) == 665_921
    flat = torch.full((1, 1, 9, 7), 0.5)
    assert network(flat).shape == flat.shape
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(network(flat), flat)  # what is learned is the difference


def losses(tmp_path: Path, clip: float | None) -> list[float]:
    """Mean losses over 5 steps each, of the paper's recipe with fewer and smaller patches."""
    data = tmp_path / "images"
    data.mkdir(exist_ok=True)
    for i in range(3):
        Image.fromarray((photo(60, 72, seed=i) * 255).astype(np.uint8)).save(data / f"{i}.png")
    weights = {"mse": 24 * 24 / 2}
    short = replace(paper(), steps=25, clip_theta=clip, batch=12, patch=24, losses=weights, validate_every=5)
    out = tmp_path / str(clip)
    train("vdsr", data, out, recipe=short, options=replace(CPU, seed=1))
    with (out / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_adjustable_clipping_keeps_the_papers_rate_stable(tmp_path: Path) -> None:
    clipped = losses(tmp_path, paper().clip_theta)
    assert np.mean(clipped[-2:]) < 0.7 * clipped[0]
    with pytest.raises(PysrError, match=r"became (nan|inf).* at step \d\b; lower the learning rate"):
        losses(tmp_path, None)


def test_the_clipping_bounds_every_step(tmp_path: Path) -> None:
    """theta / rate, times the rate: without momentum and decay no weight moves by more than theta."""
    (tmp_path / "images").mkdir()
    Image.fromarray((photo(40, 40) * 255).astype(np.uint8)).save(tmp_path / "images" / "a.png")
    before: list[torch.Tensor] = []

    def optimizers(network: torch.nn.Module) -> list[torch.optim.Optimizer]:
        before.extend(p.detach().clone() for p in network.parameters())
        return [torch.optim.SGD(network.parameters(), 0.1)]

    short = replace(paper(), steps=1, batch=3, patch=24, optimizers=optimizers, clip_theta=1e-4)
    best = train("vdsr", tmp_path / "images", tmp_path / "out", recipe=short, options=CPU)
    after = VDSR()
    after.load_state_dict(load_file(best))
    moves = [float((new.detach() - old).abs().max()) for new, old in zip(after.parameters(), before, strict=True)]
    assert max(moves) <= 1e-4 * 1.01
    assert max(moves) > 0.8e-4


def test_the_shipped_network_after_another_start_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    pysr.load("vdsr", 3, device="cpu")
    assert not caplog.records
    pysr.load("vdsr", 3, pre_upsampler="lanczos", device="cpu")
    assert "the network was trained with the pre-upsampler bicubic, not lanczos; expect worse results" in caplog.text


def test_a_further_stage_has_lower_rates_that_fall_from_the_beginning() -> None:
    first, further = recipe(), finetune()
    rates = [[o.param_groups[0]["lr"] for o in stage.optimizers(VDSR())] for stage in (first, further)]
    assert all(low < high for low, high in zip(rates[1], rates[0], strict=True))
    assert further.schedule(0.5) < 0.6 < first.schedule(0.5)
