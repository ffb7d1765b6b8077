"""Losses with options, and losses that learn themselves."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from pysr import InputError, UnknownNameError
from pysr.plugin import Loss, Model, Recipe
from pysr.training import TrainingOptions, random_shift, train
from pysr.training.checkpoints import Checkpoints

Install = Callable[..., None]


class Critic(nn.Module):
    """Adversarial in form: its convolution learns to tell the two apart, and it has running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 1, 3))
        self.optimizers = [torch.optim.Adam(self.parameters(), 0.01)]

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.softplus(-self.body(output)).mean()

    def update(self, output: Tensor, target: Tensor) -> dict[str, float]:
        assert not output.requires_grad
        loss = (nn.functional.softplus(-self.body(target)) + nn.functional.softplus(self.body(output))).mean()
        self.optimizers[0].zero_grad()
        loss.backward()
        self.optimizers[0].step()
        return {"own": loss.item(), "rate": self.optimizers[0].param_groups[0]["lr"]}


LOSSES = [
    Loss("critic", Critic, "learns"),
    Loss(
        "power",
        lambda exponent, factor="1": (
            lambda output, target: (float(factor) * (output - target).abs() ** int(exponent)).mean()
        ),
        "has options",
    ),
]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[:60, :66]
    Image.fromarray((np.sin(x / 2 + np.cos(y / 3)) * 100 + 128).astype(np.uint8)).save(folder / "a.png")
    return folder


def run(
    pictures: Path, out: Path, losses: dict[str, float], steps: int = 12, precision: str = "float32", **arguments: Any
) -> Path:
    recipe = Recipe(
        losses=losses,
        optimizers=lambda n: [torch.optim.Adam(n.parameters(), 0.01)],
        batch=4,
        patch=12,
        schedule=lambda progress: 1 - progress,
        steps=steps,
        scales=(2,),
        validate_every=4,
    )
    model = Model(
        "tiny",
        (2,),
        lambda scale, variant: nn.Conv2d(1, 1, 3, padding=1),
        "for tests",
        colour="luma",
        preprocess=("luma", "bicubic"),
        receptive_field=1,
    )
    options = TrainingOptions(device="cpu", precision=precision)
    return train(model, [pictures], out, recipe=recipe, options=options, **arguments)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_images_are_shifted_alike_by_every_distance() -> None:
    image = torch.arange(48.0).view(1, 1, 6, 8)
    found: set[float] = set()
    for _ in range(300):
        one, other = random_shift((image, -image), 2)
        assert one.shape == image.shape and torch.equal(one, -other)
        found.add(float(one[0, 0, 2, 3]))
    assert found == {float(8 * y + x) for y in range(5) for x in range(1, 6)}
    with pytest.raises(InputError, match="6 x 8 pixels cannot be shifted by 6"):
        random_shift((image,), 6)


def test_options_stand_behind_the_name(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(losses=LOSSES)
    for name in ("mse", "power:2", "power:2,3"):
        run(pictures, tmp_path / name, {name: 1.0}, steps=1)
    plain, power, thrice = (float(rows(tmp_path / n)[0]["loss"]) for n in ("mse", "power:2", "power:2,3"))
    assert power == pytest.approx(plain, rel=1e-4)
    assert thrice == pytest.approx(3 * plain, rel=1e-4)
    both = {"l1": 1.0, "power:2,3": 1.0}
    run(pictures, tmp_path / "both", both, steps=1)
    assert float(rows(tmp_path / "both")[0]["loss_power:2,3"]) == pytest.approx(thrice, rel=1e-4)


def test_unknown_losses_and_options_are_said(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(losses=LOSSES)
    with pytest.raises(
        UnknownNameError, match=r"no loss called .beauty. .installed: charbonnier, critic, l1, mse, power"
    ):
        run(pictures, tmp_path / "out", {"beauty:much": 1.0})
    with pytest.raises(InputError, match="the loss 'l1' cannot be built from 'l1:a,b'"):
        run(pictures, tmp_path / "out", {"l1:a,b": 1.0})


def test_a_run_goes_on_with_the_files_of_its_losses(install: Install, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("1")
    from_file = Loss("from_file", lambda path: LOSSES[1].build("2", Path(path).read_text()), "reads")
    install(losses=[from_file])
    losses = {f"from_file:{tmp_path / 'file.txt'}": 1.0}
    run(pictures, tmp_path / "out", losses, steps=1)
    run(pictures, tmp_path / "out", losses, steps=1, resume=True)
    (tmp_path / "file.txt").write_text("2")
    with pytest.raises(InputError, match=r"the run to be resumed had files = .*file\.txt"):
        run(pictures, tmp_path / "out", losses, steps=1, resume=True)


def test_a_loss_that_learns_takes_its_step_and_has_metrics(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(losses=LOSSES)
    run(pictures, tmp_path / "out", {"l1": 1.0, "critic": 0.1})
    found = rows(tmp_path / "out")
    assert float(found[-1]["critic.own"]) < float(found[0]["critic.own"])
    rates = [0.01 * (1 - step / 12) for step in range(12)]  # as the recipe's schedule says
    assert [float(row["critic.rate"]) for row in found] == pytest.approx(
        [sum(rates[i : i + 4]) / 4 for i in (0, 4, 8)], rel=1e-3
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loss_computes_in_the_precision_of_the_training(
    precision: str, install: Install, pictures: Path, tmp_path: Path
) -> None:
    low: list[bool] = []

    class Watching(Critic):
        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            low.append(torch.is_autocast_enabled("cpu"))
            return super().forward(output, target)

        def update(self, output: Tensor, target: Tensor) -> dict[str, float]:
            low.append(torch.is_autocast_enabled("cpu"))
            return super().update(output, target)

    install(losses=[Loss("critic", Watching, "learns")])
    run(pictures, tmp_path / "out", {"critic": 1.0}, precision=precision)
    assert set(low) == {precision == "bfloat16"}


def test_a_loss_that_learns_may_take_several_steps_in_a_low_precision(
    install: Install, pictures: Path, tmp_path: Path
) -> None:
    found: list[float] = []

    class Eager(Critic):
        def update(self, output: Tensor, target: Tensor) -> dict[str, float]:
            found.extend(super(Eager, self).update(output, target)["own"] for _ in range(4))
            return {}

    install(losses=[Loss("critic", Eager, "learns four times a step")])
    run(pictures, tmp_path / "out", {"l1": 1.0, "critic": 0.0}, precision="bfloat16", steps=1)
    assert len(set(found)) == 4  # each with the weights that the step before it left


def test_a_loss_that_learns_resumes_to_the_same_bits(install: Install, pictures: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 6:
            raise RuntimeError("enough")

    install(losses=LOSSES)
    losses = {"l1": 1.0, "critic": 0.1}
    with pytest.raises(RuntimeError, match="enough"):
        run(pictures, tmp_path / "parts", losses, progress=stop)
    run(pictures, tmp_path / "parts", losses, resume=True)
    run(pictures, tmp_path / "whole", losses)
    (tensors, _), (others, _) = (
        Checkpoints(tmp_path / n / "checkpoints").newest() or ({}, {}) for n in ("parts", "whole")
    )
    assert {"loss.critic.body.0.weight", "loss.critic.body.1.running_mean", "optimizer.1.0.exp_avg"} <= tensors.keys()
    assert tensors.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in tensors.items())
    assert load_file(tmp_path / "parts" / "best.safetensors").keys() == {"weight", "bias"}
