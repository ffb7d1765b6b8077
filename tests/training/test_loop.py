"""The training loop, with networks of a few parameters on pictures of a few pixels."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tiny_training import Sharpen, losses, rows, run, tiny
from torch import Tensor, nn

from pysr import InputError, load
from pysr.plugin import Loss, Preprocessor
from pysr.training.reproducibility import CUBLAS_WORKSPACE, enable_determinism, preserve_global_state
from pysr.upscaling.weights import load_weights, read_metadata

Install = Callable[..., None]


def test_twenty_steps_lower_the_loss_and_write_everything(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    out = tmp_path / "deep" / "out"
    seen: list[tuple[int, int]] = []
    best = run(pictures, out, validation=pictures, progress=lambda *what: seen.append(what))
    assert best == out / "best.safetensors"
    assert {path.name for path in out.iterdir()} == {
        *("best.safetensors", "last.safetensors", "log.csv", "checkpoints", "samples", "tensorboard")
    }
    assert [row["step"] for row in rows(out)] == ["5", "10", "15", "20"]
    assert losses(out)[-1] < 0.75 * losses(out)[0]
    assert all(float(row["psnr_x2"]) > 10 and float(row["psnr_x3"]) > 10 for row in rows(out))
    assert seen == [(step, 20) for step in range(1, 21)]
    about = read_metadata(out / "last.safetensors")
    assert (about["pysr.model"], about["pysr.step"], about["pysr.data"]) == ("tiny", "20", "pictures")


def test_what_was_trained_can_be_used(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    best = run(pictures, tmp_path / "out")
    load_weights(Sharpen(), best)
    upscaler = load("tiny", 3, weights=best, device="cpu", precision="float32")
    assert upscaler.upscale(np.full((5, 6, 3), 128, np.uint8)).shape == (15, 18, 3)


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
    monkeypatch.setattr("pysr.ops.hardware._has_fast_bfloat16", lambda device: True)
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


class Smoothed:
    """A preprocessor that looks at neighbours and enlarges nothing."""

    def preprocess(self, window: Tensor, scale: int) -> tuple[Tensor, Any]:
        return nn.functional.avg_pool2d(window, 3, 1, 1), None

    def postprocess(self, output: Tensor, memory: Any, scale: int) -> Tensor:
        return output


def test_a_network_that_enlarges_itself_gets_no_margin(install: Install, pictures: Path, tmp_path: Path) -> None:
    seen: set[tuple[int, ...]] = set()

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 12, 3, padding=1)

        def forward(self, low: Tensor) -> Tensor:
            seen.add(tuple(low.shape[-2:]))
            return nn.functional.pixel_shuffle(self.conv(low), 2)

    smoothed = Preprocessor("smoothed", Smoothed, "for tests", reach=1)
    install(tiny(Watching, {"colour": "rgb", "preprocess": ("smoothed",)}, scales=(2,)), preprocessors=[smoothed])
    run(pictures, tmp_path / "out", steps=2)
    assert (6, 6) in seen and (8, 8) not in seen


def test_float32_is_kept_on_the_way_back(
    install: Install, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN reads its setting when gradients are computed, too."""
    held, found = [0], []

    @contextmanager
    def precision_context(*_: Any, **__: Any) -> Iterator[None]:
        held[0] += 1
        yield
        held[0] -= 1

    def watched(output: Tensor, target: Tensor) -> Tensor:
        output.register_hook(lambda gradient: found.append(held[0]))
        return (output - target).abs().mean()

    monkeypatch.setattr("pysr.training.state.precision_context", precision_context)
    install(tiny(losses={"watched": 1.0}), losses=[Loss("watched", lambda: watched, "for tests")])
    run(pictures, tmp_path / "out", steps=2)
    assert found == [1, 1]


def test_a_network_that_enlarges_itself_learns_one_scale_at_a_time(
    install: Install, pictures: Path, tmp_path: Path
) -> None:
    install(tiny(lambda: nn.PixelShuffle(2), {"colour": "rgb", "preprocess": ()}))
    with pytest.raises(
        InputError, match="network of tiny enlarges by itself, and is a different one for each scale; give one"
    ):
        run(pictures, tmp_path / "out")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_training_moves_running_statistics(
    precision: str, install: Install, pictures: Path, tmp_path: Path
) -> None:
    class Blank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(1, momentum=1.0), nn.Conv2d(1, 1, 1)

        def forward(self, enlarged: Tensor) -> Tensor:
            output: Tensor = enlarged + self.conv(self.norm(enlarged))
            return output

    install(tiny(Blank, ema_decay=0.0))
    best = run(pictures, tmp_path / "out", validation=pictures, precision=precision, steps=1)
    trained = Blank()
    load_weights(trained, best)
    assert int(trained.state_dict()["norm.num_batches_tracked"]) == 1


def test_the_schedule_multiplies_every_learning_rate(install: Install, pictures: Path, tmp_path: Path) -> None:
    made: list[torch.optim.Optimizer] = []

    def optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
        weight, bias = (network.get_parameter(f"conv.{name}") for name in ("weight", "bias"))
        groups = [{"params": [weight], "lr": 0.2}, {"params": [bias], "lr": 0.02}]
        made.append(torch.optim.SGD(groups))
        return list(made)

    def schedule(progress: float) -> float:
        asked.append(progress)
        return 1 - progress

    asked: list[float] = []
    install(tiny(optimizers=optimizers, schedule=schedule))
    rates: list[list[float]] = []
    run(pictures, tmp_path / "out", steps=4, progress=lambda *_: rates.append([g["lr"] for g in made[0].param_groups]))
    asked = asked[-4:]  # a training may look at its schedule beforehand
    assert asked == [0, 0.25, 0.5, 0.75]
    np.testing.assert_allclose(rates, [[0.2 * (1 - done), 0.02 * (1 - done)] for done in asked])


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

    install(tiny(losses={}, compute_losses=step))
    run(pictures, tmp_path / "own", validation=pictures)
    install(tiny(losses={"l1": 1.0, "mse": 1.0}))
    run(pictures, tmp_path / "sum", validation=pictures)
    own, summed = rows(tmp_path / "own"), rows(tmp_path / "sum")
    assert list(own[0])[:5] == ["step", "seconds", "loss", "loss_near", "loss_far"]
    for row, other in zip(own, summed, strict=True):
        assert float(row["loss_near"]) == pytest.approx(float(other["loss_l1"]), rel=1e-4)
        assert float(row["loss_far"]) == pytest.approx(float(other["loss_mse"]), rel=1e-4)


def test_whole_faces_train_upright(install: Install, tmp_path: Path) -> None:
    """The patch is the whole picture; brighter above than below, which turns would undo."""
    faces = np.zeros((9, 12, 12, 3), np.uint8)
    faces[:, :6] = 255
    np.savez(tmp_path / "faces.npz", train=faces)
    seen: list[Tensor] = []

    def step(network: nn.Module, low: Tensor, high: Tensor) -> dict[str, Tensor]:
        seen.append(high)
        return {"l1": (network(low) - high).abs().mean()}

    install(tiny(losses={}, compute_losses=step, rotate=False))
    best = run(tmp_path / "faces.npz", tmp_path / "out", steps=3)
    assert read_metadata(best)["pysr.data"] == "faces.npz"
    assert all(bool((high[:, :, :6] > high[:, :, 6:]).all()) for high in seen)


def test_an_exception_in_progress_ends_the_training(install: Install, pictures: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    install(tiny())
    with pytest.raises(KeyboardInterrupt):
        run(pictures, tmp_path / "out", progress=stop)
    assert read_metadata(tmp_path / "out" / "last.safetensors")["pysr.step"] == "5"


def test_a_training_leaves_the_program_as_it_was(install: Install, pictures: Path, tmp_path: Path) -> None:
    def state() -> list[Any]:
        settings = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
        return [
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state(legacy=False)["state"]["key"].tolist(),
            settings,
            torch.get_num_threads(),
            os.environ.get(CUBLAS_WORKSPACE),
        ]

    def disturb(*_: Any) -> None:
        torch.set_num_threads(torch.get_num_threads() + 1)
        enable_determinism()

    install(tiny())
    before = state()
    run(pictures, tmp_path / "out", steps=2, progress=disturb)
    assert state() == before


def test_cuda_is_asked_for_the_same_bits_again() -> None:
    with preserve_global_state():
        enable_determinism()
        assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert os.environ[CUBLAS_WORKSPACE]
    assert not torch.are_deterministic_algorithms_enabled()
    assert CUBLAS_WORKSPACE not in os.environ


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


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_gpu_trains_as_the_cpu_does(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    for device in ("cpu", "cuda"):
        run(pictures, tmp_path / device, device=device, validation=pictures)
    np.testing.assert_allclose(losses(tmp_path / "cuda"), losses(tmp_path / "cpu"), rtol=1e-3)
