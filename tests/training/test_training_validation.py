"""What a training measures and saves on its way: the best weights, the last good ones, their mean."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from tiny_training import Normed, Sharpen, rows, run, tiny
from torch import Tensor, nn

from pysr import InputError, PysrError, load
from pysr.evaluation.metrics import psnr
from pysr.imaging.colour import luma
from pysr.imaging.degrade import bicubic
from pysr.training.data import read_images
from pysr.upscaling.weights import load_weights, read_metadata

Install = Callable[..., None]


def test_running_statistics_are_saved_and_used(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(Normed))
    best = run(pictures, tmp_path / "out", validation=pictures)
    trained = Normed()
    load_weights(trained, best)
    statistics = trained.state_dict()
    assert int(statistics["body.1.num_batches_tracked"]) in (5, 10, 15, 20)  # batches of the training, nothing else
    assert not torch.equal(statistics["body.1.running_mean"], torch.zeros(4))


def test_the_best_weights_are_those_of_the_best_validation(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(schedule=lambda done: 1.0 if done < 0.5 else 300.0, ema_decay=0.0))  # the second half does harm
    out = tmp_path / "out"
    best = run(pictures, out, validation=pictures)
    scores = [float(row["psnr_x2"]) + float(row["psnr_x3"]) for row in rows(out)]
    assert int(read_metadata(best)["pysr.step"]) == 5 * (1 + int(np.argmax(scores))) <= 10
    assert read_metadata(out / "last.safetensors")["pysr.step"] == "20"
    assert scores[-1] < max(scores) - 6


def test_the_validated_weights_are_the_saved_ones(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(ema_decay=0.9))  # far from the present weights
    out = tmp_path / "out"
    run(pictures, out, validation=pictures)
    for scale in (2, 3):
        upscaler = load("tiny", scale, weights=out / "last.safetensors", device="cpu", precision="float32")
        found = []
        for truth in read_images([pictures], "luma", [2, 3]):
            result = (upscaler.upscale(truth.low[scale]) * 255).round() / 255
            found.append(psnr(result, truth.high / 255, shave=scale))
        assert float(rows(out)[-1][f"psnr_x{scale}"]) == pytest.approx(sum(found) / len(found), abs=0.01)


def test_validation_does_not_change_the_training(
    install: Install, pictures: Path, tmp_path: Path, one_thread: None
) -> None:
    install(tiny(Normed, validate_every=3, ema_decay=0.9))
    run(pictures, tmp_path / "with", steps=9, validation=pictures)
    run(pictures, tmp_path / "without", steps=9)
    one, two = (safetensors.torch.load_file(tmp_path / name / "last.safetensors") for name in ("with", "without"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_the_saved_weights_are_the_running_mean(install: Install, pictures: Path, tmp_path: Path) -> None:
    steps: list[Tensor] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            result = super().step(closure)
            steps.append(self.param_groups[0]["params"][0].detach().clone())
            return result

    def optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
        steps.append(network.get_parameter("conv.weight").detach().clone())
        return [Watched(network.parameters(), 0.05)]

    install(tiny(optimizers=optimizers, ema_decay=0.6))
    best = run(pictures, tmp_path / "out", steps=6)
    mean = steps[0]
    for i, weight in enumerate(steps[1:]):
        decay = min(0.6, (i + 1) / (i + 10))
        mean = decay * mean + (1 - decay) * weight
    trained = Sharpen()
    load_weights(trained, best)
    torch.testing.assert_close(trained.conv.weight.detach(), mean)


def broken_from(step: int) -> Callable[[float], float]:
    """A schedule whose learning rate is not a number from that step (counted from one) of twenty on."""
    return lambda done: math.nan if done >= (step - 1) / 20 - 1e-9 else 1.0


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("first", [8, 10, 11])
def test_a_loss_of_nan_stops_and_keeps_the_last_good_weights(
    first: int, validated: bool, install: Install, pictures: Path, tmp_path: Path
) -> None:
    kept = "10" if first > 10 else "5"
    install(tiny(schedule=broken_from(first)))  # the weights are NaN after that step, the loss one step later
    out = tmp_path / "out"
    with pytest.raises(PysrError, match=r"became .*(nan|NaN).* at step \d+; lower the learning rate") as raised:
        run(pictures, out, validation=pictures if validated else None)
    assert str(out) in str(raised.value)
    assert ("loss became nan" in str(raised.value)) == (first != 10)  # as soon as it is seen
    for name in ("best.safetensors", "last.safetensors"):
        load_weights(Sharpen(), out / name)  # finite
        assert int(read_metadata(out / name)["pysr.step"]) <= int(kept)
    assert read_metadata(out / "last.safetensors")["pysr.step"] == kept


class Guess(nn.Module):
    """Stochastic: every pixel four times, and a normal density around it whose width is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.width = nn.Parameter(torch.tensor(1.0))

    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def sample(self, low: Tensor, n: int, seed: int, temperature: float, **_: Any) -> Tensor:
        return self.forward(low)[:, None].expand(-1, n, -1, -1, -1)

    def log_likelihood(self, low: Tensor, high: Tensor) -> Tensor:
        z = (high.float() - self.forward(low)) * 255 / 32 / self.width
        density = -z.square() / 2 - (self.width * 32 * math.sqrt(2 * math.pi)).log()
        return density.double().flatten(1).sum(1)


@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_a_stochastic_model_is_validated_by_bits(colour: str, install: Install, pictures: Path, tmp_path: Path) -> None:
    def step(network: Guess, low: Tensor, high: Tensor) -> dict[str, Tensor]:
        return {"nats": -network.log_likelihood(low, high).mean()}

    about = {"colour": colour, "preprocess": (), "stochastic": True}
    install(tiny(Guess, about, losses={}, compute_losses=step, scales=(2,), ema_decay=0.0))
    faces = np.random.default_rng(0).integers(0, 256, (3, 14, 14, 3), np.uint8)
    np.savez(tmp_path / "faces.npz", train=faces, val=faces[1:])
    best = run(tmp_path / "faces.npz", tmp_path / "out", validation=tmp_path / "faces.npz")
    found = rows(tmp_path / "out")
    assert list(found[0]) == ["step", "seconds", "loss", "bits_per_dim", "waiting"]
    bits = [float(row["bits_per_dim"]) for row in found]
    assert bits[-1] < bits[0] < 12
    assert read_metadata(best)["pysr.step"] == found[int(np.argmin(bits))]["step"]
    upscaler = load("tiny", 2, weights=tmp_path / "out" / "last.safetensors", device="cpu", precision="float32")
    expected = []
    for planes in torch.from_numpy(faces[1:]).permute(0, 3, 1, 2).float() / 255:
        high = planes if colour == "rgb" else (luma(planes) * 255).round() / 255
        low = bicubic(high, 2).clamp(0, 1)
        expected.append(upscaler.bits_per_dim((low * 255).round().byte(), (high * 255).round().byte()))
    assert bits[-1] == pytest.approx(sum(expected) / 2, abs=1e-3)
    assert (tmp_path / "out" / "samples" / "step-00000020.png").exists()


def test_an_array_validates_as_its_pictures_do(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    pixels = np.stack([np.asarray(Image.open(pictures / f"{i}.png")) for i in range(2)])
    np.savez(tmp_path / "set.npz", val=pixels, train=pixels[:1])
    for name, place in (("files", pictures), ("array", tmp_path / "set.npz")):
        run(pictures, tmp_path / name, validation=place, steps=1)
    assert rows(tmp_path / "files")[0]["psnr_x3"] == rows(tmp_path / "array")[0]["psnr_x3"]


def test_a_validation_draws_a_sample_and_curves(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    run(pictures, tmp_path / "out", validation=pictures, steps=5)
    with Image.open(tmp_path / "out" / "samples" / "step-00000005.png") as sheet:
        assert sheet.width > 3 * 66
    (events,) = (tmp_path / "out" / "tensorboard").iterdir()
    assert all(name in events.read_bytes() for name in (b"loss", b"psnr_x2", b"psnr_x3", b"waiting"))


def test_without_tensorboard_it_says_what_to_install(
    install: Install, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tiny())
    monkeypatch.setattr("pysr.training.log.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'pysr-sdk\[train\]'"):
        run(pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()
