"""The training loop, with networks of a few parameters on pictures of a few pixels."""

import csv
import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from pysr import InputError, PysrError, UnknownModel, WeightsError, load
from pysr.colour import luma
from pysr.data import Picture, read_pictures
from pysr.degrade import bicubic
from pysr.metrics import psnr
from pysr.plugin import Fit, Model
from pysr.process_state import CUBLAS, be_deterministic, put_back
from pysr.recipe import Recipe
from pysr.training import train
from pysr.weights import load_weights, read_metadata, save_weights

Install = Callable[..., None]


class Sharpen(nn.Module):
    """The enlarged image plus one convolution of it."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, enlarged: Tensor) -> Tensor:
        return enlarged + self.conv(enlarged)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))

    def forward(self, enlarged: Tensor) -> Tensor:
        return enlarged + self.body(enlarged)


def recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "losses": {"l1": 1.0},
        "optimizers": lambda network: [torch.optim.Adam(network.parameters(), 0.01)],
        "schedule": lambda done: 1.0,
        "steps": 20,
        "batch": 6,
        "patch": 12,
        "scales": (2, 3),
        "validate": 5,
    }
    return Recipe(**(values | changes))


def tiny(network: Callable[[], nn.Module] = Sharpen, about: dict[str, Any] | None = None, **changes: Any) -> Model:
    values = {"colour": "luma", "preprocess": ("luma", "bicubic"), "receptive_field": 1} | (about or {})
    values["recipes"] = {"shipped": lambda: recipe(**changes)}
    return Model("tiny", (2, 3), lambda scale, variant: network(), "for tests", **values)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    y, x = np.mgrid[:60, :66]
    for i in range(2):
        waves = np.stack([np.sin(x / (2 + i + c) + np.cos(y / 3)) for c in range(3)], -1)
        Image.fromarray((waves * 100 + 128).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        found = list(csv.DictReader(file, restkey="too many", restval="too few"))
    assert all("too many" not in row and "too few" not in row.values() for row in found)
    return found


def losses(out: Path) -> list[float]:
    return [float(row["loss"]) for row in rows(out)]


def run(pictures: Path, out: Path, **options: Any) -> Path:
    return train("tiny", [pictures], out, device="cpu", **({"precision": "float32"} | options))


def test_twenty_steps_lower_the_loss_and_write_everything(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    out = tmp_path / "deep" / "out"
    seen: list[tuple[int, int, str]] = []
    best = run(pictures, out, validation=pictures, progress=lambda *what: seen.append(what))
    assert best == out / "best.safetensors"
    assert {path.name for path in out.iterdir()} == {
        *("best.safetensors", "last.safetensors", "log.csv", "checkpoints", "samples", "tensorboard")
    }
    assert [row["step"] for row in rows(out)] == ["5", "10", "15", "20"]
    assert losses(out)[-1] < 0.75 * losses(out)[0]
    assert all(float(row["psnr_x2"]) > 10 and float(row["psnr_x3"]) > 10 for row in rows(out))
    assert [(done, total) for done, total, _ in seen] == [(step, 20) for step in range(1, 21)]
    assert seen[-1][2].startswith("loss 0.")
    about = read_metadata(out / "last.safetensors")
    assert (about["pysr.model"], about["pysr.step"], about["pysr.data"]) == ("tiny", "20", "pictures")


def test_what_was_trained_can_be_used(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    best = run(pictures, tmp_path / "out")
    load_weights(Sharpen(), best)
    upscaler = load("tiny", 3, weights=best, device="cpu", precision="float32")
    assert upscaler.upscale(np.full((5, 6, 3), 128, np.uint8)).shape == (15, 18, 3)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_one_seed_gives_the_same_weights_bit_by_bit(
    install: Install, pictures: Path, tmp_path: Path, one_thread: None
) -> None:
    install(tiny())
    one, two, other = (run(pictures, tmp_path / str(i), seed=seed) for i, seed in enumerate((7, 7, 8)))
    weights = [safetensors.torch.load(path.read_bytes()) for path in (one, two, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not torch.equal(weights[0]["conv.weight"], weights[2]["conv.weight"])


def test_bfloat16_trains_too(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(lambda: nn.Sequential(Sharpen(), nn.Conv2d(1, 1, 3, padding=1))))
    found = {}
    for precision in ("float32", "bfloat16"):
        run(pictures, tmp_path / precision, precision=precision)
        found[precision] = losses(tmp_path / precision)
    assert found["bfloat16"] != found["float32"]
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.05)
    assert found["bfloat16"][-1] < 0.75 * found["bfloat16"][0]


def test_a_model_that_needs_float32_is_trained_in_bfloat16_only_on_request(
    install: Install, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pysr.precision._has_fast_bfloat16", lambda device: True)
    install(tiny(lambda: nn.Sequential(Sharpen(), nn.Conv2d(1, 1, 3, padding=1)), {"needs_float32": True}))
    found = {}
    for precision in ("auto", "float32", "bfloat16"):
        run(pictures, tmp_path / precision, precision=precision)
        found[precision] = losses(tmp_path / precision)
    assert found["auto"] == found["float32"] != found["bfloat16"]


@pytest.mark.parametrize(
    "about",
    [
        {"colour": "any", "preprocess": ("bicubic",)},
        {"colour": "luma", "preprocess": ("luma", "bicubic")},
        {"colour": "rgb", "preprocess": ("bicubic",)},
    ],
    ids=lambda about: about["colour"],
)
def test_models_of_every_colour_train(about: dict[str, Any], install: Install, pictures: Path, tmp_path: Path) -> None:
    channels = 3 if about["colour"] == "rgb" else 1
    install(tiny(lambda: Sharpen(channels), about))
    run(pictures, tmp_path / "out", validation=pictures)
    assert losses(tmp_path / "out")[-1] < losses(tmp_path / "out")[0]


def test_a_network_that_enlarges_itself_trains(install: Install, pictures: Path, tmp_path: Path) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))

    install(tiny(network, {"colour": "rgb", "preprocess": ()}, scales=(2,)))
    run(pictures, tmp_path / "out", validation=pictures)
    assert losses(tmp_path / "out")[-1] < losses(tmp_path / "out")[0]


def test_a_network_that_enlarges_itself_learns_one_scale_at_a_time(
    install: Install, pictures: Path, tmp_path: Path
) -> None:
    install(tiny(lambda: nn.PixelShuffle(2), {"colour": "rgb", "preprocess": ()}))
    with pytest.raises(
        InputError, match="network of tiny enlarges itself, and is another one for each scale; give one"
    ):
        run(pictures, tmp_path / "out")


def test_running_statistics_are_saved_and_used(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(Normed))
    best = run(pictures, tmp_path / "out", validation=pictures)
    trained = Normed()
    load_weights(trained, best)
    assert int(trained.body[1].num_batches_tracked) in (5, 10, 15, 20)  # batches of the training, nothing else
    assert not torch.equal(trained.body[1].running_mean, torch.zeros(4))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_training_moves_running_statistics(
    precision: str, install: Install, pictures: Path, tmp_path: Path
) -> None:
    class Blank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(1, momentum=1.0), nn.Conv2d(1, 1, 1)

        def forward(self, enlarged: Tensor) -> Tensor:
            return enlarged + self.conv(self.norm(enlarged))

    install(tiny(Blank, average=0.0))
    best = run(pictures, tmp_path / "out", validation=pictures, precision=precision, steps=1)
    trained = Blank()
    load_weights(trained, best)
    assert int(trained.norm.num_batches_tracked) == 1


def test_the_best_weights_are_those_of_the_best_validation(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(schedule=lambda done: 1.0 if done < 0.5 else 300.0, average=0.0))  # the second half does harm
    out = tmp_path / "out"
    best = run(pictures, out, validation=pictures)
    scores = [float(row["psnr_x2"]) + float(row["psnr_x3"]) for row in rows(out)]
    assert int(read_metadata(best)["pysr.step"]) == 5 * (1 + int(np.argmax(scores))) <= 10
    assert read_metadata(out / "last.safetensors")["pysr.step"] == "20"
    assert scores[-1] < max(scores) - 6


def test_the_validated_weights_are_the_saved_ones(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(average=0.9))  # far from the present weights
    out = tmp_path / "out"
    run(pictures, out, validation=pictures)
    for scale in (2, 3):
        upscaler = load("tiny", scale, weights=out / "last.safetensors", device="cpu", precision="float32")
        found = []
        for truth in read_pictures([pictures], "luma", [2, 3]):
            result = (upscaler.upscale(truth.low[scale]) * 255).round() / 255
            found.append(psnr(result, truth.high / 255, shave=scale))
        assert float(rows(out)[-1][f"psnr_x{scale}"]) == pytest.approx(sum(found) / len(found), abs=0.01)


def test_validation_does_not_change_the_training(
    install: Install, pictures: Path, tmp_path: Path, one_thread: None
) -> None:
    install(tiny(Normed, validate=3, average=0.9))
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
        steps.append(network.conv.weight.detach().clone())
        return [Watched(network.parameters(), 0.05)]

    install(tiny(optimizers=optimizers, average=0.6))
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


def test_training_goes_on_from_given_weights(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(schedule=lambda done: 0.0, average=0.0))
    start = Sharpen()
    save_weights(start, tmp_path / "start.safetensors", {})
    best = run(pictures, tmp_path / "out", steps=1, weights=tmp_path / "start.safetensors")
    trained = Sharpen()
    load_weights(trained, best)
    assert torch.equal(trained.conv.weight, start.conv.weight)
    assert read_metadata(best)["pysr.weights"] == "start.safetensors"
    save_weights(Sharpen(3), tmp_path / "other.safetensors", {})
    with pytest.raises(WeightsError, match="differ in shape"):
        run(pictures, tmp_path / "again", weights=tmp_path / "other.safetensors")


def test_the_schedule_multiplies_every_learning_rate(install: Install, pictures: Path, tmp_path: Path) -> None:
    made: list[torch.optim.Optimizer] = []

    def optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
        groups = [{"params": [network.conv.weight], "lr": 0.2}, {"params": [network.conv.bias], "lr": 0.02}]
        made.append(torch.optim.SGD(groups))
        return list(made)

    shares: list[float] = []
    install(tiny(optimizers=optimizers, schedule=lambda done: shares.append(done) or 1 - done))
    rates: list[list[float]] = []
    run(pictures, tmp_path / "out", steps=4, progress=lambda *_: rates.append([g["lr"] for g in made[0].param_groups]))
    shares = shares[-4:]  # a training may look at its schedule beforehand
    assert shares == [0, 0.25, 0.5, 0.75]
    np.testing.assert_allclose(rates, [[0.2 * (1 - done), 0.02 * (1 - done)] for done in shares])


def test_losses_are_weighted_and_summed(install: Install, pictures: Path, tmp_path: Path) -> None:
    found = []
    for i, weights in enumerate(({"l1": 1.0}, {"mse": 1.0}, {"l1": 2.0, "mse": 3.0})):
        install(tiny(losses=weights, schedule=lambda done: 0.0))
        run(pictures, tmp_path / str(i), steps=1)
        found += losses(tmp_path / str(i))
    assert found[2] == pytest.approx(2 * found[0] + 3 * found[1], abs=1e-5)


def test_a_step_of_its_own_replaces_the_losses(install: Install, pictures: Path, tmp_path: Path) -> None:
    def step(network: nn.Module, low: Tensor, high: Tensor) -> dict[str, Tensor]:
        assert low.shape == high.shape == (6, 1, 12, 12)
        output = network(low)
        return {"near": (output - high).abs().mean(), "far": (output - high).square().mean()}

    install(tiny(losses={}, step=step))
    run(pictures, tmp_path / "own", validation=pictures)
    install(tiny(losses={"l1": 1.0, "mse": 1.0}))
    run(pictures, tmp_path / "sum", validation=pictures)
    own, summed = rows(tmp_path / "own"), rows(tmp_path / "sum")
    assert list(own[0])[:5] == ["step", "seconds", "loss", "loss_near", "loss_far"]
    for row, other in zip(own, summed, strict=True):
        assert float(row["loss_near"]) == pytest.approx(float(other["loss_l1"]), rel=1e-4)
        assert float(row["loss_far"]) == pytest.approx(float(other["loss_mse"]), rel=1e-4)


@pytest.mark.parametrize("changes", [{"losses": {}}, {"step": lambda *_: {}}])
def test_a_recipe_has_losses_or_a_step(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either losses or a step of its own"):
        recipe(**changes)


def test_whole_faces_train_upright(install: Install, tmp_path: Path) -> None:
    """The patch is the whole picture; brighter above than below, which turns would undo."""
    faces = np.zeros((9, 12, 12, 3), np.uint8)
    faces[:, :6] = 255
    np.savez(tmp_path / "faces.npz", train=faces)
    seen: list[Tensor] = []

    def step(network: nn.Module, low: Tensor, high: Tensor) -> dict[str, Tensor]:
        seen.append(high)
        return {"l1": (network(low) - high).abs().mean()}

    install(tiny(losses={}, step=step, turns=False))
    best = run(tmp_path / "faces.npz", tmp_path / "out", steps=3)
    assert read_metadata(best)["pysr.data"] == "faces.npz"
    assert all(bool((high[:, :, :6] > high[:, :, 6:]).all()) for high in seen)


def test_an_exception_in_progress_ends_the_training(install: Install, pictures: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:
        if done == 7:
            raise KeyboardInterrupt

    install(tiny())
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "out", progress=stop)
    assert read_metadata(tmp_path / "out" / "last.safetensors")["pysr.step"] == "5"


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps: int, install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    with pytest.raises(InputError, match=f"steps is {steps}; give 1 or more"):
        run(pictures, tmp_path / "out", steps=steps)


def test_what_cannot_be_trained_is_said(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(losses={"beauty": 1.0}))
    with pytest.raises(InputError, match="bicubic cannot be trained: its plugin gives no recipe"):
        train("bicubic", [pictures], tmp_path / "out")
    with pytest.raises(UnknownModel, match="no model called 'nothing'"):
        train("nothing", [pictures], tmp_path / "out")
    with pytest.raises(UnknownModel, match="no loss called 'beauty'"):
        run(pictures, tmp_path / "out")
    install(tiny())
    with pytest.raises(InputError, match="missing"):
        run(tmp_path / "missing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        run(pictures, tmp_path / "out", validation=tmp_path / "empty")
    install(tiny(patch=120))
    with pytest.raises(InputError, match="sides of at least 120 pixels, as this training needs; give larger ones"):
        run(pictures, tmp_path / "out")
    install(tiny(patch=14))
    with pytest.raises(InputError, match="patch of 14 pixels cannot be shrunk by 3; give a multiple of 6"):
        run(tmp_path / "not even read", tmp_path / "out")
    assert not (tmp_path / "out" / "best.safetensors").exists()


def test_a_recipe_may_ask_for_options(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(
        replace(tiny(), recipes={"shipped": lambda steps="3", loss="l1": recipe(steps=int(steps), losses={loss: 1})})
    )
    about = read_metadata(run(pictures, tmp_path / "a", options={"steps": "2", "loss": "mse"}))
    assert about["pysr.step"] == "2"
    assert '"mse"' in about["pysr.values"]
    with pytest.raises(InputError, match="recipe 'shipped' of tiny has no option 'speed'; it has steps, loss"):
        run(pictures, tmp_path / "b", options={"speed": "9"})
    install(tiny())
    with pytest.raises(InputError, match="no option 'speed'; it has none"):
        run(pictures, tmp_path / "b", options={"speed": "9"})


def test_recipes_scales_and_variants_are_chosen_by_name(install: Install, pictures: Path, tmp_path: Path) -> None:
    model = tiny(about={"variants": ("plain", "other")})
    recipes = {"shipped": lambda: recipe(steps=2), "quick": lambda: recipe(steps=1)}
    install(replace(model, recipes=recipes))
    best = run(pictures, tmp_path / "a", recipe="quick", scales=[3], variant="other")
    about = read_metadata(best)
    assert (about["pysr.recipe"], about["pysr.scales"], about["pysr.variant"]) == ("quick", "3", "other")
    assert list(rows(tmp_path / "a")[0]) == ["step", "seconds", "loss", "psnr_x3", "waiting"]
    with pytest.raises(InputError, match="tiny has no recipe 'slow'; it has shipped, quick"):
        run(pictures, tmp_path / "b", recipe="slow")
    with pytest.raises(InputError, match="tiny has no scale 4; it has 2, 3"):
        run(pictures, tmp_path / "b", scales=[2, 4])
    with pytest.raises(InputError, match="tiny has no variant 'best'; it has plain, other"):
        run(pictures, tmp_path / "b", variant="best")


def test_a_fitted_model_is_made_in_one_call(install: Install, pictures: Path, tmp_path: Path) -> None:
    given: list[object] = []

    def fit(network: nn.Module, data: list[Picture], scale: int, seed: int, progress: Any) -> None:
        given.extend([len(data), scale, seed])
        progress(1, 1, "all")
        with torch.no_grad():
            network.conv.weight.fill_(0.01)

    install(replace(tiny(), recipes={"only": lambda: Fit(fit, (2, 3), shrink=(1.0, 0.5))}))
    seen: list[tuple[int, int, str]] = []
    best = run(pictures, tmp_path / "out", scales=[3], seed=8, validation=pictures, progress=lambda *w: seen.append(w))
    assert given == [4, 3, 8]
    assert seen == [(1, 1, "all")]
    trained = Sharpen()
    load_weights(trained, best)
    assert bool((trained.conv.weight == 0.01).all())
    run(pictures, tmp_path / "default")
    assert read_metadata(tmp_path / "default" / "best.safetensors")["pysr.scales"] == "2"
    with pytest.raises(InputError, match="fit one at a time"):
        run(pictures, tmp_path / "out", scales=[2, 3])
    with pytest.raises(InputError, match="tiny is fitted in one go; it takes no steps, resume"):
        run(pictures, tmp_path / "out", steps=5, resume=True)


def test_a_fit_is_checked_before_it_begins(install: Install, pictures: Path, tmp_path: Path) -> None:
    def fit(*_: Any) -> None:
        begun.append(1)

    begun: list[int] = []
    install(replace(tiny(), recipes={"only": lambda: Fit(fit, (2,))}))
    with pytest.raises(InputError, match="missing"):
        run(pictures, tmp_path / "out", validation=tmp_path / "missing")
    assert not begun
    run(pictures, tmp_path / "out")
    before = (tmp_path / "out" / "best.safetensors").read_bytes()
    with pytest.raises(InputError, match="out holds the weights of another run; choose another folder"):
        run(pictures, tmp_path / "out", seed=1)
    assert begun == [1]
    assert (tmp_path / "out" / "best.safetensors").read_bytes() == before
    install(tiny())
    with pytest.raises(InputError, match="out holds a training; resume it, or choose another folder"):
        run(pictures, tmp_path / "out")


class Guess(nn.Module):
    """Stochastic: every pixel four times, and a normal density around it whose width is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.width = nn.Parameter(torch.tensor(1.0))

    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def sample(self, low: Tensor, n: int, seed: int, temperature: float, **_: Any) -> Tensor:
        return self(low)[:, None].expand(-1, n, -1, -1, -1)

    def log_likelihood(self, low: Tensor, high: Tensor) -> Tensor:
        z = (high.float() - self(low)) * 255 / 32 / self.width
        density = -z.square() / 2 - (self.width * 32 * math.sqrt(2 * math.pi)).log()
        return density.double().flatten(1).sum(1)


@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_a_stochastic_model_is_validated_by_bits(colour: str, install: Install, pictures: Path, tmp_path: Path) -> None:
    def step(network: Guess, low: Tensor, high: Tensor) -> dict[str, Tensor]:
        return {"nats": -network.log_likelihood(low, high).mean()}

    about = {"colour": colour, "preprocess": (), "stochastic": True}
    install(tiny(Guess, about, losses={}, step=step, scales=(2,), average=0.0))
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


def test_a_training_leaves_the_program_as_it_was(install: Install, pictures: Path, tmp_path: Path) -> None:
    def state() -> list[Any]:
        settings = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
        return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist(), settings,
                torch.get_num_threads(), os.environ.get(CUBLAS)]  # fmt: skip

    def disturb(*_: Any) -> None:
        torch.set_num_threads(torch.get_num_threads() + 1)
        be_deterministic()

    install(tiny())
    before = state()
    run(pictures, tmp_path / "out", steps=2, progress=disturb)
    assert state() == before


def test_cuda_is_asked_for_the_same_bits_again() -> None:
    with put_back():
        be_deterministic()
        assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert os.environ[CUBLAS]
    assert not torch.are_deterministic_algorithms_enabled()
    assert CUBLAS not in os.environ


def test_shaved_borders_do_not_count(install: Install, pictures: Path, tmp_path: Path) -> None:
    """A loss that sees only the inside is that of a crop."""

    class Framed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.zeros(1))

        def forward(self, enlarged: Tensor) -> Tensor:
            frame = torch.full_like(enlarged, 100.0)
            frame[..., 2:-2, 2:-2] = enlarged[..., 2:-2, 2:-2]
            return frame + self.value

    install(tiny(Framed, {"receptive_field": 0}, shave=2, schedule=lambda done: 0.0))
    run(pictures, tmp_path / "out", steps=1)
    assert losses(tmp_path / "out")[0] < 1


def test_several_losses_have_columns_of_their_own(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(losses={"l1": 1.0, "mse": 2.0}))
    run(pictures, tmp_path / "out", steps=5)
    (row,) = rows(tmp_path / "out")
    assert float(row["loss"]) == pytest.approx(float(row["loss_l1"]) + float(row["loss_mse"]), rel=1e-4)


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
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'pysr-sdk\[train\]'"):
        run(pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_learns_to_go_on_from_another_models_result(install: Install, pictures: Path, tmp_path: Path) -> None:
    """The seen input is that model's result: with nothing to learn, the loss is its error."""
    install(tiny(schedule=lambda done: 0.0, steps=1), replace(tiny(), name="other"))
    found = {}
    for initial in (None, "nearest", "lanczos"):
        best = run(pictures, tmp_path / str(initial), initial=initial, validation=pictures)
        found[initial] = rows(tmp_path / str(initial))[0]
        assert read_metadata(best)["pysr.initial"] == (initial or "")
    assert len({row["loss"] for row in found.values()}) == 3
    assert float(found["nearest"]["psnr_x2"]) < float(found["lanczos"]["psnr_x2"])
    weights = tmp_path / "nearest" / "best.safetensors"
    upscaler = load("tiny", 2, initial="nearest", weights=weights, device="cpu", precision="float32")
    truth = read_pictures([pictures], "luma", [2])[0]
    score = psnr((upscaler.upscale(truth.low[2]) * 255).round() / 255, truth.high / 255, shave=2)
    assert abs(score - float(found["nearest"]["psnr_x2"])) < 3  # one of the two pictures
    install(tiny(losses={"l1": 1.0}))
    assert losses(tmp_path / "nearest") != losses(tmp_path / "lanczos")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_gpu_trains_as_the_cpu_does(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    for device in ("cpu", "cuda"):
        train("tiny", [pictures], tmp_path / device, device=device, precision="float32", validation=pictures)
    np.testing.assert_allclose(losses(tmp_path / "cuda"), losses(tmp_path / "cpu"), rtol=1e-3)
