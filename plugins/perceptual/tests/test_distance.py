"""The perceptual distance, and `pysr evaluate --metric perceptual`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import pysr
from pysr.cli import app
from pysr.errors import InputError
from pysr.plugin import resize
from pysr.testing import photo
from pysr_perceptual.distance import LAYERS, perceptual_distance
from pysr_perceptual.features import Features


def image(seed: int) -> Tensor:
    return torch.from_numpy(photo(64, 72, seed=seed)).permute(2, 0, 1).double()


def test_the_form_is_that_of_lpips() -> None:
    features = Features("squeezenet", LAYERS)
    found, wanted = (features(image(seed)[None]) for seed in (0, 1))
    layers = []
    for layer in LAYERS:
        one, other = (planes[0].double().flatten(1).numpy() for planes in (found[layer], wanted[layer]))
        one, other = (vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-12) for vectors in (one, other))
        layers.append(((one - other) ** 2).sum(0).mean())
    assert perceptual_distance(image(0), image(1)) == pytest.approx(np.mean(layers), rel=1e-4)


def test_equal_is_zero_and_it_grows_with_damage() -> None:
    truth = image(0)
    assert perceptual_distance(truth, truth) == 0
    blurred = [resize(resize(truth, shape=(64 // s, 72 // s)), shape=(64, 72)).clamp(0, 1) for s in (2, 4, 8)]
    distances = [perceptual_distance(worse, truth) for worse in blurred]
    assert 0 < distances[0] < distances[1] < distances[2] < 2


def test_it_prefers_texture_to_blur_where_psnr_does_not() -> None:
    grain = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    flat = torch.full_like(grain, 0.5)
    assert (other - grain).square().mean() > 1.5 * (flat - grain).square().mean()
    assert perceptual_distance(other, grain) < 0.5 * perceptual_distance(flat, grain)


def test_too_small_an_image() -> None:
    assert perceptual_distance(torch.rand(3, 31, 31), torch.rand(3, 31, 31)) > 0
    with pytest.raises(InputError, match="give at least 31 per side"):
        perceptual_distance(torch.rand(3, 30, 31), torch.rand(3, 30, 31))


def test_evaluate_names_what_is_too_small_before_it_measures(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name, side in (("good", 80), ("tiny", 38)):
        Image.fromarray((photo(side, side) * 255).astype(np.uint8)).save(tmp_path / "set" / f"{name}.png")
    done: list[int] = []
    with pytest.raises(InputError, match=r"tiny\.png is too small .*: perceptual needs 31 pixels a side"):
        pysr.evaluate(["nearest"], tmp_path / "set", [4], metrics=["perceptual"], progress=lambda *_: done.append(1))
    assert not done


def test_evaluate_shows_perception_beside_distortion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(2):
        Image.fromarray((photo(80, 72, seed=i) * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
    arguments = ["nearest", "bicubic", "--data", str(tmp_path), "--scale", "4"]
    written = tmp_path / "scores.json"
    metrics = ["--metric", "psnr,ssim,perceptual"]
    assert app.main(["evaluate", *arguments, *metrics, "--json", str(written), "--markdown", "-"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("PSNR in dB / SSIM / perceptual distance, protocol `y-shave`")
    results = [evaluation["results"][0] for evaluation in json.loads(written.read_text())]
    assert [list(result) for result in results] == [["scale", "psnr", "ssim", "perceptual", "seconds", "images"]] * 2
    best = min(result["perceptual"] for result in results)
    assert f"**{best:.4f}**" in text  # lower is better
    assert results[0]["perceptual"] == pytest.approx(np.mean([i["perceptual"] for i in results[0]["images"]]))
