"""Models that draw their result at random, with a network whose noise is plain to see."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pysr
from pysr import Tiling
from pysr.cli.app import main
from pysr.errors import InputError, OutOfMemoryError, PluginError
from pysr.plugin import Model, Weights
from pysr.testing import check_model


class Dots(nn.Module):
    """Every pixel four times, and a few levels added that depend on seed, sample and place; keeps what is known."""

    def __init__(self, planes: int = 3) -> None:
        super().__init__()
        self.planes = planes
        self.asked: list[dict[str, Any]] = []

    def forward(self, low: Tensor) -> Tensor:
        return self.sample(low, 1)[:, 0]

    def sample(
        self,
        low: Tensor,
        n: int,
        seed: int = 0,
        temperature: float = 1.0,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        progress: Any = None,
    ) -> Tensor:
        self.asked.append({"reduced": torch.is_autocast_enabled("cpu"), "temperature": temperature})
        high = low.repeat_interleave(2, -1).repeat_interleave(2, -2)
        drawn = []
        for number in range(n):
            generator = torch.Generator().manual_seed(seed * 1000 + number)
            noise = torch.randint(0, 16, high.shape[1:], generator=generator) * temperature
            drawn.append(((high * 255).round() * 15 / 16 + noise).round() / 255)
            if progress:
                progress(number + 1, n)
        result = torch.stack(drawn, 1)
        if known is not None and mask is not None:
            result = torch.where(mask[:, None, None], known[:, None] / 255, result)
        return result

    def log_likelihood(self, low: Tensor, high: Tensor) -> Tensor:
        expected = low.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return -((high - expected) ** 2).double().flatten(1).sum(1)


@pytest.fixture
def dots(install: Callable[..., None]) -> Callable[..., Any]:
    def load(planes: int = 3, **options: Any) -> Any:
        colour: Any = "rgb" if planes == 3 else "luma"
        install(Model("dots", (2,), lambda scale, variant: Dots(planes), "", colour=colour, stochastic=True))
        return pysr.load("dots", **options)

    return load


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_samples_are_what_upscale_gives_n_times(dots: Callable[..., Any]) -> None:
    up = dots()
    array = up.sample(PIXELS, 3, seed=4)
    assert array.shape == (3, 10, 14, 3) and array.dtype == np.uint8
    assert np.array_equal(array[0], up.upscale(PIXELS, seed=4))
    assert not np.array_equal(array[0], array[1])
    images = up.sample(Image.fromarray(PIXELS), 3, seed=4)
    assert [image.size for image in images] == [(14, 10)] * 3
    assert all(np.array_equal(np.asarray(image), one) for image, one in zip(images, array, strict=True))
    tensor = up.sample(torch.from_numpy(PIXELS).permute(2, 0, 1), 3, seed=4)
    assert np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), array)


def test_a_batch_gives_each_image_what_it_gets_alone(dots: Callable[..., Any]) -> None:
    up, batch = dots(), torch.rand(2, 3, 4, 5)
    drawn = up.sample(batch, 2, seed=1)
    assert drawn.shape == (2, 2, 3, 8, 10)
    assert torch.equal(drawn[:, 1], up.sample(batch[1], 2, seed=1))


def test_the_default_seed_is_zero_and_another_gives_another_image(dots: Callable[..., Any]) -> None:
    up = dots()
    assert np.array_equal(up.upscale(PIXELS), up.upscale(PIXELS, seed=0))
    assert not np.array_equal(up.upscale(PIXELS), up.upscale(PIXELS, seed=1))


def test_gray_through_a_colour_network_and_alpha(dots: Callable[..., Any]) -> None:
    up = dots()
    assert up.sample(PIXELS[..., 0], 2).shape == (2, 10, 14)
    rgba = Image.fromarray(np.dstack([PIXELS, np.full((5, 7), 255, np.uint8)]), "RGBA")
    drawn = up.sample(rgba, 2)
    assert drawn[1].mode == "RGBA" and drawn[1].getextrema()[3] == (255, 255)


def test_colour_through_a_gray_network_gives_gray(dots: Callable[..., Any]) -> None:
    up = dots(planes=1)
    gray = PIXELS[..., :1].repeat(3, -1)
    drawn = up.sample(gray, 2)
    assert drawn.shape == (2, 10, 14, 3) and (drawn == drawn[..., :1]).all()
    assert np.array_equal(drawn[..., 0], up.sample(gray[..., 0], 2))
    known, mask = np.full((10, 14, 3), 77, np.uint8), np.ones((10, 14), bool)
    assert (up.sample(PIXELS, 1, known=known, mask=mask) == 77).all()


def test_known_pixels_stay(dots: Callable[..., Any]) -> None:
    up = dots()
    known = np.random.default_rng(1).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    mask = np.random.default_rng(2).random((10, 14)) < 0.5
    drawn = up.sample(PIXELS, 2, known=known, mask=mask)
    assert (drawn[:, mask] == known[mask]).all()
    assert (drawn[:, ~mask] == up.sample(PIXELS, 2)[:, ~mask]).all()
    pil = up.sample(Image.fromarray(PIXELS), 1, known=Image.fromarray(known), mask=Image.fromarray(mask))
    assert np.array_equal(np.asarray(pil[0]), drawn[0])


def test_sixteen_bits_spread_as_eight_do(dots: Callable[..., Any], tmp_path: Path) -> None:
    dots()
    gray = PIXELS[..., 0]
    for name, pixels in (("eight", gray), ("sixteen", gray.astype(np.uint16) * 257)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        assert main(["sample", str(tmp_path / f"{name}.png"), "-m", "dots", "-n", "3"]) == 0
    maps = [tmp_path / f"{name}_samples" / f"{name}_uncertainty.png" for name in ("eight", "sixteen")]
    one, other = (np.asarray(Image.open(path)).astype(int) for path in maps)
    assert np.abs(one - other).max() <= 2


def test_what_png_cannot_hold_is_refused_before_any_work(
    dots: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dots()
    Image.fromarray(PIXELS).convert("CMYK").save(tmp_path / "print.tif")
    assert main(["sample", str(tmp_path / "print.tif"), "-m", "dots"]) == 2
    assert "CMYK" in capsys.readouterr().err and not (tmp_path / "print_samples").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": None}, "belong together"),
        ({"known": PIXELS}, "must have the result's size, 14 x 10"),
        ({"mask": np.zeros((5, 7), bool)}, "must have the result's size, 14 x 10"),
        ({"mask": np.zeros((10, 14), np.uint8)}, "bool array"),
        ({"known": np.zeros((10, 14), np.uint8)}, "known and the image differ in colour; give RGB"),
        ({"n": 0}, "n is 0; give"),
        ({"seed": -1}, "seed is -1; give a whole number"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"temperature": -0.1}, "temperature is -0.1; give"),
        ({"temperature": math.nan}, "temperature is nan; give"),
        ({"temperature": 1e-39}, "or 1e-6 to 1e6"),
    ],
)
def test_bad_arguments_are_refused(dots: Callable[..., Any], change: dict[str, Any], words: str) -> None:
    given = {"known": np.zeros((10, 14, 3), np.uint8), "mask": np.zeros((10, 14), bool)} | change
    with pytest.raises(InputError, match=words):
        dots().sample(PIXELS, **given)


def test_numbers_of_numpy_are_numbers(dots: Callable[..., Any]) -> None:
    up = dots()
    drawn = up.sample(PIXELS, np.int64(2), seed=np.uint64(5), temperature=np.float32(0.5))
    assert np.array_equal(drawn, up.sample(PIXELS, 2, seed=5, temperature=0.5))


def test_uncertainty_is_the_deviation_over_the_samples(dots: Callable[..., Any]) -> None:
    up = dots()
    found = up.uncertainty(PIXELS, 8, seed=3)
    drawn = up.sample(PIXELS, 8, seed=3) / 255
    assert found.shape == (10, 14) and found.dtype == np.float32
    assert np.allclose(found, np.sqrt(drawn.var(0).mean(-1)), atol=1e-6)
    assert up.uncertainty(torch.rand(2, 3, 4, 5), 2).shape == (2, 8, 10)
    assert up.uncertainty(PIXELS, 8, temperature=0).max() == 0


def test_bits_per_dim(dots: Callable[..., Any]) -> None:
    up = dots()
    high = np.random.default_rng(5).random((10, 14, 3), np.float32)
    low = PIXELS.astype(np.float32) / 255
    expected = ((high - low.repeat(2, 0).repeat(2, 1)) ** 2).mean() / math.log(2)
    assert up.bits_per_dim(low, high) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match="must be 14 x 10"):
        up.bits_per_dim(low, low)


def test_gray_counts_as_the_planes_that_are_drawn(dots: Callable[..., Any]) -> None:
    low, high = PIXELS[..., 0], np.random.default_rng(5).integers(0, 256, (10, 14), dtype=np.uint8)
    up = dots()
    colour = up.bits_per_dim(np.dstack([low] * 3), np.dstack([high] * 3))
    assert up.bits_per_dim(low, high) == pytest.approx(colour, rel=1e-6)


def test_pairs_of_different_kinds_have_no_likelihood(dots: Callable[..., Any]) -> None:
    up = dots()
    for low, high in (
        (PIXELS[..., 0], np.zeros((10, 14, 3), np.uint8)),
        (torch.rand(2, 3, 4, 5), torch.rand(3, 3, 8, 10)),
    ):
        with pytest.raises(InputError, match="different kinds"):
            up.bits_per_dim(low, high)


def test_images_are_taken_whole(dots: Callable[..., Any]) -> None:
    for tiling in (Tiling(32), Tiling(mode="blend"), Tiling(max_memory=10**9)):
        with pytest.raises(InputError, match="processes the whole image at once; leave the tiling"):
            dots(tiling=tiling)


def test_progress_goes_to_the_end_and_its_exception_comes_out(dots: Callable[..., Any]) -> None:
    up, seen = dots(), []
    up.sample(torch.rand(2, 3, 4, 5), 4, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]

    def stop(done: int, total: int) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        up.upscale(PIXELS, progress=stop)


class Layered(Dots):
    """The same with layers, whose precision can be chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1))

    def sample(self, low: Tensor, n: int, *options: Any, **named: Any) -> Tensor:
        self.layers(low)
        return super().sample(low, n, *options, **named)


def test_float32_is_the_default_precision_and_bfloat16_reaches_the_network(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pysr.upscaling.loading.load_weights", lambda network, weights: None)
    weights = {2: Weights(Path("none"), "0" * 64, "free", "nothing")}
    install(Model("dots", (2,), lambda scale, variant: Layered(), "", weights=weights, stochastic=True))
    for options, expected in (({}, "float32"), ({"precision": "bfloat16"}, "bfloat16")):
        up = pysr.load("dots", **options)
        up.upscale(PIXELS)
        assert up.precision == expected
        assert up._stages[0].stage.runner._network[0].asked[-1]["reduced"] is (expected == "bfloat16")


def test_other_models_do_not_sample(dots: Callable[..., Any]) -> None:
    dots()
    up = pysr.load("bicubic")
    for call in (up.sample, up.uncertainty, lambda image: up.bits_per_dim(image, 0)):
        with pytest.raises(InputError, match="bicubic draws nothing at random"):
            call(PIXELS)
    with pytest.raises(InputError, match="leave the seed out"):
        up.upscale(PIXELS, seed=0)


def test_no_chains(install: Callable[..., None]) -> None:
    random = Model("dots", (2,), lambda scale, variant: Dots(), "", stochastic=True)
    install(random, Model("sharpen", (2,), lambda scale, variant: nn.Identity(), "", preprocess=("bicubic",)))
    with pytest.raises(InputError, match="use that model by itself"):
        pysr.load(["bicubic", "dots"])
    with pytest.raises(InputError, match="cannot be a pre-upsampler"):
        pysr.load("sharpen", pre_upsampler="dots")


def test_a_wrong_shape_is_the_plugins_error(dots: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    up = dots()
    monkeypatch.setattr(Dots, "sample", lambda self, low, n, **options: torch.zeros(1, n, 3, 4, 4))
    with pytest.raises(PluginError, match=r"returned \(1, 1, 3, 4, 4\), not \(1, 1, 3, 10, 14\)"):
        up.upscale(PIXELS)


def test_the_contract_holds_for_them(dots: Callable[..., Any]) -> None:
    dots()
    check_model("dots")


def test_a_photograph_given_to_a_model_of_small_faces_is_told(
    install: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dots = Model("dots", (2,), lambda scale, variant: Dots(), "", domain="face", stochastic=True)
    install(dots, replace(dots, name="any", domain="photo"))
    for side, model, told in ((64, "dots", False), (65, "dots", True), (65, "any", False)):
        Image.new("RGB", (side, 9)).save(tmp_path / "a.png")
        assert main(["sample", str(tmp_path / "a.png"), "-m", model, "-n", "1"]) == 0
        assert ("a.png has 65 x 9 pixels, and dots is made for a face" in capsys.readouterr().err) == told


def test_the_command_writes_samples_sheet_and_uncertainty(dots: Callable[..., Any], tmp_path: Path) -> None:
    dots()
    Image.fromarray(PIXELS).save(tmp_path / "face.png")
    assert main(["sample", str(tmp_path / "face.png"), "-m", "dots", "-n", "3", "--seed", "7"]) == 0
    folder = tmp_path / "face_samples"
    names = ["face_01.png", "face_02.png", "face_03.png", "face_sheet.png", "face_uncertainty.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    expected = pysr.load("dots").sample(PIXELS, 3, seed=7)
    for one, name in zip(expected, names, strict=False):
        assert np.array_equal(np.asarray(Image.open(folder / name)), one)
    spread = np.asarray(Image.open(folder / "face_uncertainty.png"))
    assert spread.shape == (10, 14) and spread.max() == 255


def test_several_images_give_what_each_gives_alone(dots: Callable[..., Any]) -> None:
    up, other = dots(), PIXELS[:3, ::-1]
    seen: list[tuple[int, int]] = []
    drawn = up.sample_each([PIXELS, other, Image.fromarray(PIXELS)], 2, seed=5, progress=lambda *now: seen.append(now))
    assert np.array_equal(drawn[0], up.sample(PIXELS, 2, seed=5))
    assert np.array_equal(drawn[1], up.sample(other, 2, seed=5)) and drawn[1].shape == (2, 6, 14, 3)
    assert [image.mode for image in drawn[2]] == ["RGB", "RGB"] and seen[-1][0] == seen[-1][1]
    assert up.sample_each([], 2) == []


@pytest.mark.parametrize("image", [PIXELS, PIXELS[..., 0], Image.fromarray(PIXELS), "a.png", Path("a.png")])
def test_one_image_is_not_taken_for_several(dots: Callable[..., Any], image: Any) -> None:
    with pytest.raises(InputError, match=r"images is one image, of type .*; give a list of images, or use sample"):
        dots().sample_each(image, 1)


def test_the_command_draws_several_images_together(
    dots: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dots()
    faces = {"small": PIXELS[:3], "large": PIXELS}
    for name, pixels in faces.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / f"{name}.png") for name in faces]
    assert main(["sample", *paths, "-m", "dots", "-n", "2", "-o", str(tmp_path / "out")]) == 0
    for name, pixels in faces.items():
        expected = pysr.load("dots").sample(pixels, 2)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / f"{name}_02.png")), expected[1])
    for args, words in (
        ([paths[0], paths[0]], "would overwrite those of"),
        ([*paths, "--known", paths[0], "--mask", paths[0]], "--known and --mask belong to one image, but 2 are given"),
    ):
        assert main(["sample", *args, "-m", "dots"]) == 2 and words in capsys.readouterr().err


def test_the_command_keeps_known_pixels(dots: Callable[..., Any], tmp_path: Path) -> None:
    dots()
    mask = np.full((10, 14), 90, np.uint8)  # of gray, the lighter half is kept
    mask[:5] = 170
    for name, pixels in (("low", PIXELS), ("known", np.full((10, 14, 3), 9, np.uint8)), ("mask", mask)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    names = {name: str(tmp_path / f"{name}.png") for name in ("low", "known", "mask")}
    args = ["-m", "dots", "-n", "1", "--known", names["known"], "--mask", names["mask"], "-o", str(tmp_path / "out")]
    assert main(["sample", names["low"], *args]) == 0
    drawn = np.asarray(Image.open(tmp_path / "out" / "low_01.png"))
    assert (drawn[:5] == 9).all() and (drawn[5:] != 9).any()


def test_the_command_refuses_other_models(dots: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    dots()
    assert main(["sample", "none.png", "-m", "bicubic"]) == 2
    assert "bicubic draws nothing at random; use pysr upscale" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["pysr.upscaling.sampling.finished", "numpy.stack"])
def test_memory_that_runs_out_at_the_end_is_named(
    dots: Callable[..., Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = dots()

    def fails(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(place, fails)
    with pytest.raises(OutOfMemoryError, match=r"while samples were drawn .*draw fewer at a time"):
        up.sample(PIXELS, 3)
