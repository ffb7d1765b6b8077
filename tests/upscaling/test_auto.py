"""Which model is chosen for an image, and why; and the upscaler that chooses for each."""

import io
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr.errors import InputError, UnknownNameError
from pysr.files.compression import Compression
from pysr.plugin import Model
from pysr.testing import photo
from pysr.upscaling.auto import better_model, candidates, choose_model

CLEAN = Compression(False, None, "lossless")
POOR = Compression(True, 40, "JPEG of quality 40")
WEBP = Compression(True, None, "lossy WebP")


class Repeat(nn.Module):
    """Every pixel repeated, times a number that tells the models of these tests apart."""

    def __init__(self, scale: int, gain: float) -> None:
        super().__init__()
        self.scale, self.gain = scale, gain

    def forward(self, low: Tensor) -> Tensor:
        return low.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2) * self.gain


def model(name: str, gain: float = 1, **fields: Any) -> Model:
    fields = {"scales": (2, 4), "colour": "any", "receptive_field": 0} | fields
    return Model(name, network=lambda scale, variant: Repeat(scale, gain), summary="", **fields)


SHARP = model("sharp", 0.5, scores={2: 40.0, 4: 35.0})
MENDING = model("mending", 0.25, made_for="compressed", scores={2: 36.0})
SHARP_MENDING = model("mending-sharp", made_for="compressed", scores={2: 34.0})


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray((photo(24, 20) * 255).astype(np.uint8))


@pytest.fixture
def folder(image: Image.Image, tmp_path: Path) -> Path:
    """One file of each kind that matters."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    image.save(folder / "a.png")
    image.save(folder / "b.jpg", quality=91)
    image.save(folder / "c.jpg", quality=92)
    image.save(folder / "d.webp", quality=95)
    image.save(folder / "e.webp", lossless=True)
    image.save(folder / "f.jpg", quality=30)
    return folder


NAMES = ["sharp", "mending", "sharp", "mending", "sharp", "mending"]  # of the models for the files in folder


# --- the choice ------------------------------------------------------------------------------------------------------


def test_the_most_exact_model_made_for_such_images_is_chosen(install: Callable[..., None]) -> None:
    install(SHARP_MENDING, MENDING, model("soft", scores={2: 20.0}), SHARP)
    assert choose_model(2, CLEAN).model.name == "sharp"
    assert choose_model(2, WEBP).model.name == choose_model(2, POOR).model.name == "mending"


@pytest.mark.parametrize(("quality", "name"), [(91, "mending"), (92, "sharp"), (100, "sharp")])
def test_good_jpeg_files_count_as_clean(install: Callable[..., None], quality: int, name: str) -> None:
    install(SHARP, MENDING)
    assert choose_model(2, Compression(True, quality, "")).model.name == name


def test_where_none_is_made_for_such_images_it_is_the_next_best(install: Callable[..., None]) -> None:
    install(SHARP)
    choice = choose_model(2, POOR)
    assert (choice.model.name, "no model for compressed images is installed for x2" in choice.reason) == ("sharp", True)
    install()
    assert choose_model(2, CLEAN).model.name == "lanczos"
    choice = choose_model(7, CLEAN)
    assert (choice.model.name, "states how exact it is at x7" in choice.reason) == ("bicubic", True)


def test_some_models_are_only_used_when_they_are_asked_for(install: Callable[..., None]) -> None:
    best: dict[str, Any] = {"scores": {2: 99.0}}
    install(
        model("faces", domain="face", **best),
        model("drawn", stochastic=True, **best),
        model("untrained", recipes={"shipped": lambda: None}, **best),
        model("larger", scales=(4,), **best),
    )
    assert {m.name for m in candidates(2)} == {"bicubic", "nearest", "lanczos"}


# --- the upscaler ----------------------------------------------------------------------------------------------------


def test_each_file_gets_its_model(install: Callable[..., None], folder: Path, tmp_path: Path) -> None:
    install(SHARP, MENDING)
    auto = pysr.load("auto", 2, device="cpu")
    results = list(auto.upscale_folder(folder, tmp_path / "out", format="png"))
    assert [result.upscaler.model.name for result in results if result.upscaler] == NAMES
    for result, gain in zip(results, (0.5, 0.25) * 3, strict=True):
        with Image.open(result.source) as before, Image.open(result.target) as after:
            expected = np.asarray(before.convert("RGB")).repeat(2, 0).repeat(2, 1) * gain
            assert np.abs(np.asarray(after) - expected).max() <= 0.5
    assert [auto.chosen_for(path).model.name for path in sorted(folder.iterdir())] == NAMES


def test_images_of_pillow_are_told_by_their_file(install: Callable[..., None], folder: Path) -> None:
    install(SHARP, MENDING)
    auto = pysr.load("auto", 2, device="cpu")
    for path, name in zip(sorted(folder.iterdir()), NAMES, strict=True):
        with Image.open(path) as opened:
            assert auto.chosen_for(opened).model.name == name
            assert auto.chosen_for(opened.rotate(90)).model.name == "sharp"
    stream = io.BytesIO((folder / "f.jpg").read_bytes())
    assert auto.chosen_for(Image.open(stream)).model.name == "mending"
    result, same = (np.asarray(auto.upscale(each)) for each in (Image.open(folder / "f.jpg"), folder / "f.jpg"))
    assert np.array_equal(result, same)


def test_arrays_and_tensors_count_as_clean(install: Callable[..., None]) -> None:
    install(SHARP, MENDING)
    auto = pysr.load("auto", 2, device="cpu")
    array = np.full((4, 5), 100, np.uint8)
    assert (auto.upscale(array) == 50).all()
    assert (auto.upscale(torch.from_numpy(array)[None]) == 50).all()


def test_each_model_is_loaded_once_even_by_threads(install: Callable[..., None], folder: Path) -> None:
    built: list[str] = []

    def counted(name: str, gain: float, **fields: Any) -> Model:
        def network(scale: int, variant: str | None) -> nn.Module:
            built.append(name)
            time.sleep(0.05)  # long enough for the other threads to come
            return Repeat(scale, gain)

        return Model(name, (2,), network, "", colour="any", receptive_field=0, **fields)

    install(counted("sharp", 1, scores={2: 40.0}), counted("mending", 1, made_for="compressed"))
    auto = pysr.load("auto", 2, device="cpu")
    assert not built
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(auto.upscale_file, folder.iterdir(), [folder.parent / f"{i}.png" for i in range(6)]))
    assert sorted(built) == ["mending", "sharp"]


def test_why_is_said_once_a_kind(install: Callable[..., None], folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(SHARP, MENDING)
    with caplog.at_level(logging.INFO, "pysr"):
        list(pysr.load("auto", 2, device="cpu").upscale_folder(folder, folder.parent / "out"))
    assert [record.message for record in caplog.records] == [
        f"sharp is chosen for {folder / 'a.png'} (lossless) because it is the most exact for clean images at x2",
        f"mending is chosen for {folder / 'b.jpg'} (JPEG of quality 91) because it is the most exact for compressed "
        "images at x2",
    ]


def test_options_for_all_models_reach_the_chosen_one(install: Callable[..., None]) -> None:
    install(SHARP)
    auto = pysr.load("auto", 4, device="cpu", precision="bfloat16", ensemble=True, match_histogram=True)
    chosen = auto.chosen_for(np.zeros((2, 2), np.uint8))
    assert repr(chosen) == repr(
        pysr.load("sharp", 4, device="cpu", precision="bfloat16", ensemble=True, match_histogram=True)
    )
    image = np.random.default_rng(0).integers(100, 200, (8, 8), np.uint8)
    assert abs(int(auto.upscale(image).max()) - int(image.max())) <= 1  # without matching, half of it


def test_it_has_what_an_upscaler_has(install: Callable[..., None], folder: Path) -> None:
    install(SHARP)
    auto = pysr.load("auto", device="cpu", precision="float32")
    assert repr(auto) == "<Upscaler auto x2 on cpu in float32>"
    assert pysr.load("sharp", 2).chosen_for(folder / "gone.jpg").model.name == "sharp"
    for call in (auto.sample, auto.uncertainty):
        with pytest.raises(InputError, match="auto draws nothing at random"):
            call(np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="leave the seed out"):
        auto.upscale(np.zeros((2, 2), np.uint8), seed=1)
    (evaluation,) = pysr.evaluate([pysr.load("auto", 4, device="cpu")], [_large(folder)])
    assert evaluation.model == "auto"


def _large(folder: Path) -> Path:
    large = folder.parent / "large"
    large.mkdir()
    Image.fromarray((photo(64, 64) * 255).astype(np.uint8)).save(large / "a.png")
    return large


def test_a_file_that_cannot_be_read_is_named(install: Callable[..., None], folder: Path) -> None:
    install(SHARP)
    with pytest.raises(InputError, match=r"gone\.jpg"):
        pysr.load("auto", 2, device="cpu").upscale(folder / "gone.jpg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "a"}, r"^variant cannot be given for the choice among all models \('auto'\); name one model"),
        ({"weights": "a", "strength": 0.5}, "^weights and strength cannot"),
        ({"pre_upsampler": "bicubic"}, "^pre_upsampler cannot"),
        ({"scale": 99}, "^scale is 99; it can be 2, 3, 4"),
        ({"scale": 1}, "^scale is 1; it can be 2"),
        ({"device": "gpu"}, "'gpu'"),
        ({"precision": "fp8"}, "'fp8'"),
    ],
)
def test_what_auto_cannot_use_is_named_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pysr.load("auto", **arguments)


def test_auto_stands_alone(install: Callable[..., None]) -> None:
    install(model("auto"))
    assert "cannot be called 'auto'" in str(next(p.error for p in pysr.registry.registry().plugins if p.name == "fake"))
    with pytest.raises(UnknownNameError, match="'auto', the word for choosing among all models, which stands alone"):
        pysr.load("auto+bicubic")


# --- the hint --------------------------------------------------------------------------------------------------------


def test_a_better_model_is_known_for_poor_files(install: Callable[..., None], folder: Path) -> None:
    install(SHARP, MENDING)
    sources = [folder / "gone.jpg", *sorted(folder.iterdir())]
    found = better_model(SHARP, 2, sources)
    assert found is not None
    assert (found[0].name, found[1].quality, found[2].name) == ("f.jpg", 30, "mending")
    assert better_model(SHARP, 2, sources[:-1]) is None  # above 75, and WebP, whose quality is unknown
    assert better_model(MENDING, 2, sources) is None
    assert better_model(model("faces", domain="face"), 2, sources) is None
    assert better_model(model("4x-Anything", file=Path("4x-Anything.pth")), 2, sources) is None
    install(SHARP)
    assert better_model(SHARP, 2, sources) is None
