"""The adversarial loss over features: what it learns, what it leaves alone, and that trainings with it resume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pysr.registry import registry
from pysr.testing import photo
from pysr.training import train
from pysr_perceptual.projected import DRIFT, Projected, projected
from pysr_perceptual.train import recipe

TRUTHS = torch.stack([torch.from_numpy(photo(48, 48, seed)).permute(2, 0, 1) for seed in range(4)])
BLURRED = torch.nn.functional.avg_pool2d(TRUTHS, 5, 1, 2, count_include_pad=False)


def taught(steps: int) -> Projected:
    torch.manual_seed(0)
    loss = projected()
    for _ in range(steps):
        loss.update(BLURRED, TRUTHS)
    return loss


def test_discriminators_learn_to_tell_and_the_loss_follows_them() -> None:
    loss = taught(20)
    told = loss.update(BLURRED, TRUTHS)
    assert told["discriminators"] < 0.45  # ln 2 and more in the beginning
    assert all(told[layer] > 0.6 for layer in loss.heads)
    assert float(loss(BLURRED, TRUTHS)) > 1.0
    halfway = BLURRED.lerp(TRUTHS, 0.5)
    assert float(loss(TRUTHS, TRUTHS)) < float(loss(halfway, TRUTHS)) < float(loss(BLURRED, TRUTHS))


def test_an_output_that_is_the_target_is_neither_truer_nor_less_true() -> None:
    assert float(taught(3)(TRUTHS, TRUTHS)) == pytest.approx(np.log(2), abs=1e-5)


def test_it_teaches_the_output_and_only_its_own_step_changes_it() -> None:
    loss = taught(1)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    loss.optimizers[0].zero_grad()
    output = BLURRED.clone().requires_grad_()
    loss(output, TRUTHS).backward()
    assert output.grad is not None and output.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in loss.heads.parameters())
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    loss.update(BLURRED, TRUTHS)
    assert all(not torch.equal(value, before[name]) for name, value in loss.state_dict().items())


def test_features_are_scaled_by_the_truths_alone() -> None:
    one, other = projected("relu1_1"), projected("relu1_1")
    for loss, outputs in ((one, BLURRED), (other, 1 - BLURRED)):
        torch.manual_seed(1)
        loss.update(outputs, TRUTHS)
    for name in ("running_mean", "running_var"):
        assert torch.equal(getattr(one.heads["relu1_1"].norm, name), getattr(other.heads["relu1_1"].norm, name))


def test_large_verdicts_cost_the_discriminators() -> None:
    loss = projected("relu1_1")
    torch.nn.init.constant_(loss.heads["relu1_1"].last.bias, 100.0)
    assert loss.update(TRUTHS, TRUTHS)["discriminators"] == pytest.approx(2 * DRIFT * 100**2 + np.log(2), rel=0.02)


def test_both_are_moved_alike_and_by_chance() -> None:
    loss = projected("relu1_1")
    seen: list[torch.Tensor] = []
    loss.features.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    for _ in range(12):
        loss(TRUTHS, TRUTHS)
        loss.update(TRUTHS, TRUTHS)
    assert all(torch.equal(one, other) for one, other in zip(seen[0::2], seen[1::2], strict=True))
    assert len({float(part[0, 0, 20, 20]) for part in seen}) > 12


def test_a_training_with_it_resumes_to_the_same_bits(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray((photo(48, 48, seed) * 255).astype(np.uint8)).save(folder / f"{seed}.png")
    order = replace(
        recipe(), losses={"l1": 1.0, "projected": 0.1}, steps=4, batch=2, patch=32, shrink=(1.0,), validate=2
    )
    model = replace(registry().model("perceptual"), recipes={"small": lambda: order})

    def stop(done: int, total: int, text: str) -> None:
        if done == 3:
            raise KeyError("stop")

    train(model, [folder], tmp_path / "whole", device="cpu", precision="float32")
    with pytest.raises(KeyError):
        train(model, [folder], tmp_path / "parts", device="cpu", precision="float32", progress=stop)
    train(model, [folder], tmp_path / "parts", device="cpu", precision="float32", resume=True)
    one, other = (load_file(sorted((tmp_path / of / "checkpoints").iterdir())[-1]) for of in ("whole", "parts"))
    assert any("heads" in name for name in one) and one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert "projected.relu4_4" in (tmp_path / "whole" / "log.csv").read_text().splitlines()[0]
