import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import Upsample

import pysr
from pysr.errors import InputError, UnknownNameError
from pysr.evaluation.metrics import psnr, ssim
from pysr.evaluation.protocols import evaluate, measure
from pysr.files.datasets import read_planes
from pysr.imaging.degrade import bicubic
from pysr.plugin import Degradation, Metric, Model
from pysr.testing import photo
from pysr.upscaling.weights import save_weights

SET5 = Path(__file__).parents[3] / "shared" / "data" / "bench" / "Set5"
needs_set5 = pytest.mark.skipif(not SET5.is_dir(), reason="the benchmark set Set5 is not beside the project")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, size in enumerate([(33, 47), (50, 41)]):
        array = (photo(*size, seed=i) * 255).round().astype(np.uint8)
        Image.fromarray(array).save(tmp_path / f"photo{i}.png")
    Image.fromarray(array[..., 0]).save(tmp_path / "gray.png")
    return tmp_path


def test_one_entry_a_model_with_means_over_images(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = evaluate(["nearest", "bicubic"], folder, [2, 3], progress=lambda *now: seen.append(now))
    assert [e.model for e in found] == ["nearest", "bicubic"]
    assert seen == [(i, 12) for i in range(1, 13)]
    for evaluation in found:
        facts = evaluation.as_dict()
        assert set(facts) == {"model", "data", "protocol", "degradation", "results"}
        assert facts["data"] == folder.name
        assert [r["scale"] for r in facts["results"]] == [2, 3]
        for result in facts["results"]:
            assert [i["name"] for i in result["images"]] == ["gray", "photo0", "photo1"]
            assert result["psnr"] == pytest.approx(np.mean([i["psnr"] for i in result["images"]]))
            assert result["ssim"] == pytest.approx(np.mean([i["ssim"] for i in result["images"]]))
            assert result["seconds"] == pytest.approx(np.mean([i["seconds"] for i in result["images"]]))
    assert found[1].results[0].psnr > found[0].results[0].psnr


def test_a_model_named_twice_is_measured_once(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = evaluate(["nearest", "bicubic", "nearest"], folder, [2], progress=lambda *now: seen.append(now))
    assert [evaluation.model for evaluation in found] == ["nearest", "bicubic"]
    assert seen[-1] == (6, 6)


def test_several_sets_give_what_each_gives_alone(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (folder / "gray.png").rename(other / "gray.png")
    seen: list[tuple[int, int]] = []
    found = evaluate(["nearest", "bicubic"], [other, folder], [2], progress=lambda *now: seen.append(now))
    assert [(e.data, e.model) for e in found] == [
        (data.name, model) for data in (other, folder) for model in ("nearest", "bicubic")
    ]
    assert seen == [(i, 6) for i in range(1, 7)]
    alone = evaluate(["nearest"], other, [2])[0]
    assert [image.name for image in alone.results[0].images] == ["gray"]
    assert (found[0].results[0].psnr, found[0].results[0].ssim) == (alone.results[0].psnr, alone.results[0].ssim)


def test_seconds_are_those_of_upscaling_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def takes(seconds: Iterator[int], real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            clock[0] += next(seconds)
            return real(*args, **options)

        return call

    monkeypatch.setattr("pysr.evaluation.protocols.perf_counter", lambda: clock[0])
    monkeypatch.setattr("pysr.evaluation.protocols.read_planes", takes(repeat(100), read_planes))
    monkeypatch.setattr("pysr.evaluation.metrics.ssim", takes(repeat(100), ssim))
    monkeypatch.setattr(pysr.Upscaler, "upscale", takes(chain([100], repeat(3)), pysr.Upscaler.upscale))  # a slow start
    (evaluation,) = evaluate(["bicubic"], folder, [2])
    assert [image.seconds for image in evaluation.results[0].images] == [3, 3, 3]
    assert evaluation.results[0].seconds == 3


@pytest.fixture
def even(install: Callable[..., None]) -> None:
    """A model called "even" that offers the scales 2 and 4."""
    install(Model("even", (2, 4), lambda scale, _: Upsample(scale_factor=scale), "Every pixel repeated", colour="any"))


@pytest.mark.usefixtures("even")
def test_a_model_is_measured_at_those_of_the_scales_that_it_offers(tmp_path: Path) -> None:
    Image.new("L", (40, 40), 90).save(tmp_path / "flat.png")
    seen: list[tuple[int, int]] = []
    found = evaluate(["even", "bicubic"], tmp_path, [3, 2, 2], progress=lambda *now: seen.append(now))
    assert [[result.scale for result in evaluation.results] for evaluation in found] == [[2], [3, 2]]
    assert [[evaluation.at(scale) is None for scale in (2, 3)] for evaluation in found] == [[False, True], [False] * 2]
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.usefixtures("even")
@pytest.mark.parametrize(
    ("names", "scales", "message"),
    [
        (["even"], [2, 3], r"offers scale 3 \(even: 2 4\)"),
        (["even", "bicubic"], [2, 9], r"offers scale 9 \(even: 2 4, bicubic: 2 3"),
        (["bicubic", "even"], [3, 5], r"even offers none of the scales"),
    ],
)
def test_a_gap_that_cannot_be_meant_is_an_error(
    folder: Path, names: list[str], scales: list[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(names, folder, scales)


def test_upscalers_are_measured_with_the_options_that_they_were_loaded_with(
    folder: Path, tmp_path: Path, install: Callable[..., None]
) -> None:
    class Darker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

        def forward(self, planes: Tensor) -> Tensor:
            return planes * self.factor

    steps = ("luma", "bicubic")
    install(Model("darker", (2,), lambda scale, variant: Darker(), "", colour="luma", preprocess=steps))
    network, file = Darker(), tmp_path / "half.safetensors"
    (bicubic,) = evaluate(["bicubic"], folder, [2])
    for factor, is_better in ((1.0, True), (0.5, False)):
        nn.init.constant_(network.factor, factor)
        save_weights(network, file, {})
        (found,) = evaluate([pysr.load("darker", weights=file)], folder)
        assert (found.model, [result.scale for result in found.results]) == ("darker", [2])
        assert (found.results[0].psnr > bicubic.results[0].psnr - 0.1) == is_better


def test_upscalers_of_one_name_are_one_model_at_several_scales(folder: Path) -> None:
    first, second, third = (pysr.load("nearest", scale) for scale in (3, 2, 2))
    found = evaluate([first, second, third, "bicubic", first], folder)
    rows = [(evaluation.model, [result.scale for result in evaluation.results]) for evaluation in found]
    assert rows == [("nearest", [3, 2]), ("nearest", [2]), ("bicubic", [3, 2])]
    (by_name,) = evaluate(["nearest"], folder, [3, 2])
    assert [result.scores for result in by_name.results] == [result.scores for result in found[0].results]


def test_without_scales_those_that_all_models_come_trained_for(folder: Path, install: Callable[..., None]) -> None:
    install(Model("few", (3, 4), lambda scale, _: Upsample(scale_factor=scale), "", colour="any"))
    found = evaluate(["bicubic", "few"], folder, metrics=["psnr"])
    assert [[result.scale for result in evaluation.results] for evaluation in found] == [[3, 4]] * 2
    upscaler = pysr.load("few", 4)
    with pytest.raises(InputError, match=r"few offers none of the scales asked for \(few: 4, bicubic: 2"):
        evaluate([upscaler, "bicubic"], folder, [2])
    with pytest.raises(InputError, match=r"none of these models offers scale 3 \(few: 4\)"):
        evaluate([upscaler], folder, [3, 4])


def test_models_in_a_row_and_models_that_begin_with_another(folder: Path, install: Callable[..., None]) -> None:
    steps = ("luma", "bicubic")
    install(Model("copy", (2, 4), lambda scale, variant: nn.Identity(), "", colour="luma", preprocess=steps))
    nearest, twice = evaluate(["nearest", "nearest+nearest"], folder, [4])
    (begun,) = evaluate([pysr.load("copy", 4, pre_upsampler="nearest")], folder)
    assert (twice.model, begun.model) == ("nearest+nearest", "copy, pre_upsampler nearest")
    assert nearest.results[0].psnr == twice.results[0].psnr == begun.results[0].psnr
    assert nearest.results[0].psnr != evaluate(["copy"], folder, [4])[0].results[0].psnr


@needs_set5
def test_bicubic_on_set5_is_the_published_number() -> None:
    (evaluation,) = evaluate(["bicubic"], SET5, [2, 3, 4])
    assert [r.psnr for r in evaluation.results] == pytest.approx([33.661, 30.392, 28.421], abs=0.005)
    assert [r.ssim for r in evaluation.results] == pytest.approx([0.9299, 0.8682, 0.8104], abs=0.0002)


@needs_set5
def test_bfloat16_costs_vdsr_next_to_nothing() -> None:
    pytest.importorskip("pysr_vdsr", reason="the plugin pysr-vdsr is not installed")
    whole, reduced = (
        evaluate([pysr.load("vdsr", 4, precision=precision)], SET5)[0].results[0]
        for precision in ("float32", "bfloat16")
    )
    assert whole.psnr > 30.5
    assert abs(whole.psnr - reduced.psnr) <= 0.02


def test_a_colour_model_gets_rounded_colour(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pysr.evaluation.protocols as module

    given = []
    from pysr.upscaling.loading import load as real

    def as_colour(*args: object, **kwargs: object) -> object:
        upscaler = real(*args, **kwargs)  # type: ignore[arg-type]
        upscaler.model = replace(upscaler.model, colour="any")
        return Spy(upscaler)

    class Spy:
        def __init__(self, upscaler: object) -> None:
            self.inner, self.scale = upscaler, upscaler.scale  # type: ignore[attr-defined]
            self.model = replace(upscaler.model, colour="rgb")  # type: ignore[attr-defined]

        def upscale(self, image: torch.Tensor) -> torch.Tensor:
            given.append((image.dtype, len(image)))
            result: torch.Tensor = self.inner.upscale(image)  # type: ignore[attr-defined]
            return result

    monkeypatch.setattr(module, "load", as_colour)
    (evaluation,) = evaluate(["bicubic"], folder, [2])
    assert given[-3:] == [(torch.uint8, 1), (torch.uint8, 3), (torch.uint8, 3)]
    assert all(20 < image.psnr < 60 for image in evaluation.results[0].images)


def test_metrics_are_measured_in_the_order_asked_for(folder: Path) -> None:
    (both,) = evaluate(["bicubic"], folder, [2])
    (one,) = evaluate(["bicubic"], folder, [2], metrics=["ssim"])
    assert [[metric.name for metric in found.metrics] for found in (both, one)] == [["psnr", "ssim"], ["ssim"]]
    assert both.metrics[0].title == "PSNR in dB"
    assert one.results[0].ssim == both.results[0].ssim
    assert list(one.as_dict()["results"][0]) == ["scale", "ssim", "seconds", "images"]
    with pytest.raises(UnknownNameError, match="no metric called 'psn'; did you mean 'psnr'"):
        evaluate(["bicubic"], folder, [2], metrics=["psn"])
    with pytest.raises(InputError, match="metrics is 'psnr'; give a list"):
        evaluate(["bicubic"], folder, [2], metrics="psnr")


@pytest.mark.parametrize("colour", ["rgb", "any"])
def test_a_metric_of_colour_compares_what_a_user_gets(colour: Literal["rgb", "any"]) -> None:
    given: dict[str, tuple[Tensor, Tensor]] = {}

    def metric(planes: Literal["rgb", "luma"]) -> tuple[Metric, Callable[[Tensor, Tensor], float]]:
        def score(output: Tensor, target: Tensor) -> float:
            given[planes] = output, target
            return 1.5

        return Metric(planes, lambda: score, "", planes, colour=planes), score

    upscaler = pysr.load("bicubic", 2)
    upscaler.model = replace(upscaler.model, colour=colour)
    image = (torch.from_numpy(photo(33, 40)).permute(2, 0, 1) * 255).round() / 255
    result = measure(upscaler, "a", image, dict([metric("rgb"), metric("luma")]))
    assert result.scores == {"rgb": 1.5, "luma": 1.5}
    low = (bicubic(image[:, :32].double(), 2).clamp(0, 1) * 255).round().byte()
    output, target = given["rgb"]
    assert torch.equal(output, upscaler.upscale(low)[:, 2:-2, 2:-2].double() / 255)
    assert torch.equal(target, image[:, 2:30, 2:38].double())
    assert [planes.shape for planes in given["luma"]] == [(1, 28, 36)] * 2


def test_border_pixels_do_not_count(tmp_path: Path) -> None:
    pixels = np.full((40, 40), 90, np.uint8)
    pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1] = 0, 255, 255, 0  # what only shaved pixels get wrong
    Image.fromarray(pixels.repeat(3, 0).repeat(3, 1)).save(tmp_path / "framed.png")
    truth = torch.from_numpy(pixels.repeat(3, 0).repeat(3, 1)).double()[None] / 255
    low = bicubic(truth, 3).float()
    output = (pysr.load("nearest", 3).upscale(low).double() * 255).round() / 255
    (evaluation,) = evaluate(["nearest"], tmp_path, [3])
    assert evaluation.results[0].psnr == pytest.approx(psnr(output, truth, shave=3), abs=1e-9)
    assert abs(psnr(output, truth) - psnr(output, truth, shave=3)) > 0.1


def test_a_perfect_output_is_no_infinity_in_json(tmp_path: Path) -> None:
    Image.new("L", (40, 40), 90).save(tmp_path / "flat.png")
    (evaluation,) = evaluate(["nearest"], tmp_path, [2])
    assert evaluation.results[0].psnr == float("inf")
    assert json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))["results"][0]["psnr"] is None


def test_what_cannot_be_evaluated_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown protocol 'y'"):
        evaluate(["bicubic"], folder, [2], protocol="y")
    with pytest.raises(InputError, match="no scale"):
        evaluate(["bicubic"], folder, [])
    with pytest.raises(InputError, match="takes lists"):
        evaluate("bicubic", folder, [2])
    with pytest.raises(InputError, match="takes lists"):
        evaluate(pysr.load("bicubic", 2), folder)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a model is a name or an upscaler, not int"):
        evaluate([2], folder)  # type: ignore[list-item]
    with pytest.raises(UnknownNameError):
        evaluate(["bicubix"], folder, [2])
    Image.new("L", (12, 40)).save(folder / "tiny.png")
    with pytest.raises(InputError, match=r"tiny\.png is too small to be measured at scale 4"):
        evaluate(["bicubic"], folder, [2, 4])
    (folder / "tiny.png").rename(tmp_path / "tiny.png")
    (evaluation,) = evaluate(["bicubic"], tmp_path, [2, 4], metrics=["psnr"])  # which needs no more
    assert len(evaluation.results) == 2
    with pytest.raises(InputError, match="nowhere"):
        evaluate(["bicubic"], tmp_path / "nowhere", [2])
    with pytest.raises(InputError, match="no model"):
        evaluate([], folder, [2])
    with pytest.raises(InputError, match="no folder"):
        evaluate(["bicubic"], [], [2])


def test_every_set_is_checked_before_the_first_is_measured(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    good, small = folder / "good", folder / "small"
    good.mkdir()
    small.mkdir()
    (folder / "gray.png").rename(good / "gray.png")
    Image.new("L", (12, 40)).save(small / "tiny.png")
    with pytest.raises(InputError, match=r"tiny\.png is too small"):
        evaluate(["nearest"], [good, small], [4], progress=lambda *now: seen.append(now))
    with pytest.raises(InputError, match="two folders are called 'good'"):
        evaluate(["nearest"], [good, f"{good}/"], [2], progress=lambda *now: seen.append(now))
    assert seen == []


def test_a_degradation_makes_scores_worse_and_is_recorded(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    Image.fromarray(pixels).resize((96, 80), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    names = (None, "photo-mild", "photo-strong")
    found = [evaluate(["bicubic"], tmp_path, [2], degradation=name)[0] for name in names]
    scores = [evaluation.results[0].psnr for evaluation in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] + 1
    assert tuple(evaluation.degradation for evaluation in found) == names
    assert evaluate(["bicubic"], tmp_path, [2], degradation="photo-strong")[0].results[0].psnr == scores[-1]
    with pytest.raises(UnknownNameError, match="no degradation called 'photo-stong'; did you mean 'photo-strong'"):
        evaluate(["bicubic"], tmp_path, [2], degradation="photo-stong")


@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_a_degraded_image_is_what_the_model_gets(
    colour: Literal["rgb", "luma"], install: Callable[..., None], folder: Path
) -> None:
    """Each pixel of it is seeded by the file's name; a luma model gets its luma."""
    seen: list[Tensor] = []
    seeded: list[float] = []

    class Seeing(Upsample):
        def forward(self, low: Tensor) -> Tensor:
            seen.append(low)
            return super().forward(low)

    def degrade(high: Tensor, scale: int, rng: np.random.Generator) -> Tensor:
        seeded.append(rng.random())
        assert high.shape[-2] % scale == high.shape[-1] % scale == 0
        return bicubic(high, scale).float().clamp(0, 1) * 0 + 51 / 255

    def network(scale: int, variant: str | None) -> nn.Module:
        return Seeing(scale_factor=scale)

    steps = ("luma",) if colour == "luma" else ()
    install(
        Model("seeing", (2,), network, "", colour=colour, preprocess=steps, receptive_field=0),
        degradations=[Degradation("dark", lambda: degrade, "")],
    )
    evaluate(["seeing"], folder, [2], degradation="dark", metrics=["psnr"])
    assert seeded == [np.random.default_rng(zlib.crc32(name)).random() for name in (b"gray", b"photo0", b"photo1")]
    shown = {round(float(level) * 255) for low in seen[-3:] for level in low.flatten()}
    assert shown == {51} if colour == "rgb" else shown <= {51, round(16 + 51 * 219 / 255)}


def test_gray_files_are_named_and_score_less_than_the_same_stored_as_rgb(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pysr")
    image = Image.fromarray((photo(66, 60) * 255).round().astype(np.uint8)).convert("L")
    image.save(tmp_path / "gray.png")
    image.convert("RGB").save(tmp_path / "rgb.png")
    (result,) = evaluate(["bicubic"], tmp_path, [2])[0].results
    gray, rgb = (image.psnr for image in result.images)
    assert rgb - gray == pytest.approx(20 * np.log10(255 / 219), abs=0.05)
    assert "gray.png: gray, so compared in the full range" in caplog.text
    assert "1.32 dB" in (evaluate.__doc__ or "")
