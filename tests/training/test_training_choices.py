"""What a training is asked for: recipes, options, weights to start from, and what it refuses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import Sharpen, losses, recipe, rows, run, tiny
from torch import nn

import pysr.training
from pysr import InputError, UnknownNameError, WeightsError, load
from pysr.evaluation.metrics import psnr
from pysr.plugin import Fit, Recipe
from pysr.training import TrainingImage, TrainingOptions, train
from pysr.training.data import read_images
from pysr.upscaling.weights import load_weights, read_metadata, save_weights

Install = Callable[..., None]


def test_training_goes_on_from_given_weights(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(schedule=lambda progress: 0.0, ema_decay=0.0))
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


@pytest.mark.parametrize("changes", [{"losses": {}}, {"compute_losses": lambda *_: {}}])
def test_a_recipe_has_losses_or_a_step(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either losses or"):
        recipe(**changes)


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps: int, install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    with pytest.raises(InputError, match=f"steps is {steps}; give 1 or more"):
        run(pictures, tmp_path / "out", steps=steps)


def test_what_cannot_be_trained_is_said(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(losses={"beauty": 1.0}))
    with pytest.raises(InputError, match="bicubic cannot be trained: its plugin offers no recipe"):
        train("bicubic", [pictures], tmp_path / "out")
    with pytest.raises(UnknownNameError, match="no model called 'nothing'"):
        train("nothing", [pictures], tmp_path / "out")
    with pytest.raises(UnknownNameError, match="no loss called 'beauty'"):
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
    with pytest.raises(InputError, match="patch of 14 pixels cannot be downscaled by 3; give a multiple of 6"):
        run(tmp_path / "not even read", tmp_path / "out")
    assert not (tmp_path / "out" / "best.safetensors").exists()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_that_are_none_are_said_before_the_work(
    seed: int, install: Install, pictures: Path, tmp_path: Path
) -> None:
    install(tiny())
    with pytest.raises(InputError, match=f"seed is {seed}; give a whole number from 0 to 2\\^64 - 1"):
        run(tmp_path / "not even read", tmp_path / "out", seed=seed)
    run(pictures, tmp_path / "out", seed=2**64 - 1, steps=1)


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("float16", "precision 'float16' is for upscaling; train in 'bfloat16' or 'float32'"),
        ("double", "unknown precision 'double'; use 'auto', 'float32', 'bfloat16'"),
    ],
)
def test_precisions_that_do_not_train_are_refused(precision: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingOptions(precision=precision)


def test_a_recipe_may_be_named_or_given_or_left_out(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(replace(tiny(), recipes={"first": lambda: recipe(steps=1), "second": lambda: recipe(steps=2)}))
    options = TrainingOptions(device="cpu", precision="float32")
    second = pysr.training.recipe("tiny", "second")
    assert isinstance(second, Recipe)
    found: dict[str, str] = {}
    for chosen in (None, "second", replace(second, steps=3), recipe(steps=4)):
        metadata = read_metadata(train("tiny", pictures, tmp_path / str(len(found)), recipe=chosen, options=options))
        found[metadata["pysr.step"]] = metadata["pysr.recipe"]
    assert found == {"1": "first", "2": "second", "3": "second", "4": ""}  # the last is none of the model's


def test_places_may_be_text(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny(steps=1))
    options = TrainingOptions(device="cpu", precision="float32")
    best = train("tiny", str(pictures), str(tmp_path / "out"), validation=str(pictures), options=options)
    train("tiny", pictures, tmp_path / "on", options=replace(options, weights=str(best)))
    assert read_metadata(tmp_path / "on" / "best.safetensors")["pysr.weights"] == "best.safetensors"


def test_weights_without_a_checkpoint_are_not_trained_away(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(tiny())
    best = run(pictures, tmp_path / "out")
    before = best.read_bytes()
    for file in (tmp_path / "out" / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="out holds weights and no checkpoint to resume from; choose another folder"):
        run(pictures, tmp_path / "out", resume=True)
    assert best.read_bytes() == before


def test_a_run_has_a_checkpoint_before_it_has_weights(install: Install, pictures: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("enough")

    install(tiny())
    with pytest.raises(RuntimeError):
        run(pictures, tmp_path / "a", progress=stop)
    whole = run(pictures, tmp_path / "b").read_bytes()
    assert run(pictures, tmp_path / "a", resume=True).read_bytes() == whole


def test_a_recipe_may_ask_for_options(install: Install, pictures: Path, tmp_path: Path) -> None:
    install(
        replace(tiny(), recipes={"shipped": lambda steps="3", loss="l1": recipe(steps=int(steps), losses={loss: 1})})
    )
    about = read_metadata(run(pictures, tmp_path / "a", recipe_options={"steps": "2", "loss": "mse"}))
    assert about["pysr.step"] == "2"
    assert '"mse"' in about["pysr.values"]
    with pytest.raises(InputError, match="recipe 'shipped' of tiny has no option 'speed'; it has steps, loss"):
        run(pictures, tmp_path / "b", recipe_options={"speed": "9"})
    install(tiny())
    with pytest.raises(InputError, match="no option 'speed'; it has none"):
        run(pictures, tmp_path / "b", recipe_options={"speed": "9"})


def test_recipes_scales_and_variants_are_chosen_by_name(install: Install, pictures: Path, tmp_path: Path) -> None:
    model = tiny(about={"variants": ("plain", "other")})
    recipes = {"shipped": lambda: recipe(steps=2), "quick": lambda: recipe(steps=1)}
    install(replace(model, recipes=recipes))
    best = run(pictures, tmp_path / "a", recipe="quick", scales=(3,), variant="other")
    about = read_metadata(best)
    assert (about["pysr.recipe"], about["pysr.scales"], about["pysr.variant"]) == ("quick", "3", "other")
    assert list(rows(tmp_path / "a")[0]) == ["step", "seconds", "loss", "psnr_x3", "waiting"]
    with pytest.raises(InputError, match="tiny has no recipe 'slow'; it has shipped, quick"):
        run(pictures, tmp_path / "b", recipe="slow")
    with pytest.raises(InputError, match="tiny has no scale 4; it has 2, 3"):
        run(pictures, tmp_path / "b", scales=(2, 4))
    with pytest.raises(InputError, match="tiny has no variant 'best'; it has plain, other"):
        run(pictures, tmp_path / "b", variant="best")


def test_a_fitted_model_is_made_in_one_call(install: Install, pictures: Path, tmp_path: Path) -> None:
    given: list[object] = []

    def fit(network: nn.Module, data: Sequence[TrainingImage], scale: int, seed: int, progress: Any) -> None:
        given.extend([len(data), scale, seed])
        assert (tmp_path / "out").is_dir() or (tmp_path / "default").is_dir()  # a result needs a place
        progress(1, 1)
        assert isinstance(network, Sharpen)
        with torch.no_grad():
            network.conv.weight.fill_(0.01)

    install(replace(tiny(), recipes={"only": lambda: Fit(fit, (2, 3), rescale_augment=(1.0, 0.5))}))
    seen: list[tuple[int, int]] = []
    best = run(pictures, tmp_path / "out", scales=(3,), seed=8, validation=pictures, progress=lambda *w: seen.append(w))
    assert given == [4, 3, 8]
    assert seen == [(1, 1)]
    trained = Sharpen()
    load_weights(trained, best)
    assert bool((trained.conv.weight == 0.01).all())
    run(pictures, tmp_path / "default")
    assert read_metadata(tmp_path / "default" / "best.safetensors")["pysr.scales"] == "2"
    with pytest.raises(InputError, match="fit one at a time"):
        run(pictures, tmp_path / "out", scales=(2, 3))
    with pytest.raises(InputError, match="tiny is fitted in one go; it takes no resume"):
        run(pictures, tmp_path / "out", resume=True)
    with pytest.raises(InputError, match="tiny is fitted in one go; it takes no weights, pre_upsampler"):
        run(pictures, tmp_path / "out", weights=best, pre_upsampler="nearest")


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


def test_a_network_learns_to_go_on_from_another_models_result(install: Install, pictures: Path, tmp_path: Path) -> None:
    """The seen input is that model's result: with nothing to learn, the loss is its error."""
    install(tiny(schedule=lambda progress: 0.0, steps=1), replace(tiny(), name="other"))
    found = {}
    for pre_upsampler in (None, "nearest", "lanczos"):
        best = run(pictures, tmp_path / str(pre_upsampler), pre_upsampler=pre_upsampler, validation=pictures)
        found[pre_upsampler] = rows(tmp_path / str(pre_upsampler))[0]
        assert read_metadata(best)["pysr.initial"] == (pre_upsampler or "")
    assert len({row["loss"] for row in found.values()}) == 3
    assert float(found["nearest"]["psnr_x2"]) < float(found["lanczos"]["psnr_x2"])
    weights = tmp_path / "nearest" / "best.safetensors"
    upscaler = load("tiny", 2, pre_upsampler="nearest", weights=weights, device="cpu", precision="float32")
    truth = read_images([pictures], "luma", [2])[0]
    score = psnr((upscaler.upscale(truth.low[2]) * 255).round() / 255, truth.high / 255, shave=2)
    assert abs(score - float(found["nearest"]["psnr_x2"])) < 3  # one of the two pictures
    install(tiny(losses={"l1": 1.0}))
    assert losses(tmp_path / "nearest") != losses(tmp_path / "lanczos")
