import base64
import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pysr
from pysr.cli.app import main
from pysr.errors import InputError
from pysr.evaluation import metrics
from pysr.evaluation.page import compare
from pysr.imaging.colour import luma


def noise(width: int = 36, height: int = 24, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two image files of one size."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(paths):
        noise(seed=seed).save(path)
    return paths


def embedded(page: str) -> list[tuple[str, bytes]]:
    """The media types and bytes of the images in a page."""
    found = re.findall(r'<img src="data:([\w/]+);base64,([^"]+)"', page)
    return [(media, base64.b64decode(data)) for media, data in found]


@pytest.mark.parametrize(("ending", "media"), [("png", "png"), ("jpg", "jpeg"), ("webp", "webp"), ("avif", "avif")])
def test_files_that_browsers_show_are_in_the_page_byte_for_byte(tmp_path: Path, ending: str, media: str) -> None:
    paths = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for seed, path in enumerate(paths):
        noise(120, 80, seed).save(path)
    page = compare(paths).html()
    assert embedded(page) == [(f"image/{media}", path.read_bytes()) for path in paths]


@pytest.mark.parametrize("ending", ["tif", "bmp", "gif"])
def test_other_files_are_in_the_page_as_png(two: list[Path], tmp_path: Path, ending: str) -> None:
    noise(seed=5).convert("P").save(tmp_path / f"c.{ending}")
    media, data = embedded(compare([two[0], tmp_path / f"c.{ending}"]).html())[1]
    assert media == "image/png"
    with Image.open(tmp_path / f"c.{ending}") as original, Image.open(io.BytesIO(data)) as shown:
        assert shown.convert("RGB").tobytes() == original.convert("RGB").tobytes()


def test_an_animation_is_shown_as_the_image_that_pysr_reads(two: list[Path], tmp_path: Path) -> None:
    noise(seed=3).save(tmp_path / "c.png", save_all=True, append_images=[noise(seed=4)])
    (_, data) = embedded(compare([two[0], tmp_path / "c.png"]).html())[1]
    assert b"acTL" not in data


def test_the_page_asks_nobody_for_anything(two: list[Path]) -> None:
    page = compare(two).html()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        (part,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert "http:" not in page
    assert "https:" not in page
    assert "url(" not in page


def test_the_page_is_little_larger_than_its_images(tmp_path: Path) -> None:
    for seed in range(2):
        noise(500, 400, seed).save(tmp_path / f"{seed}.png")
    compare([tmp_path / "0.png", tmp_path / "1.png"]).save(tmp_path / "page.html")
    images = sum(path.stat().st_size for path in tmp_path.glob("*.png"))
    assert (tmp_path / "page.html").stat().st_size < 1.4 * images


def test_captions_cannot_be_markup() -> None:
    page = compare({'<script>alert("a")</script>': noise(), "b & c": noise(seed=1)}).html()
    assert "<script>alert" not in page
    assert "b &amp; c" in page


def test_scores_are_measured_against_the_truth() -> None:
    truth, output = noise(seed=1), noise(seed=2)
    comparison = compare({"vdsr x3": output, "input": noise(12, 8)}, truth=truth)
    planes = [torch.from_numpy(np.array(image)).permute(2, 0, 1).double() / 255 for image in (output, truth)]
    rounded = [(luma(image) * 255).round() / 255 for image in planes]
    assert [image.caption for image in comparison.images] == ["truth", "vdsr x3", "input"]
    assert comparison.images[1].scores == {"PSNR": metrics.psnr(*rounded), "SSIM": metrics.ssim(*rounded)}
    assert comparison.images[2].scores is None
    assert f"<td>{metrics.psnr(*rounded):.2f}</td>" in comparison.html()


def test_an_equal_image_has_an_infinite_psnr() -> None:
    assert "<td>∞</td>" in compare([noise()], truth=noise()).html()


def test_the_best_scores_are_bold() -> None:
    truth = noise()
    close = Image.eval(truth, lambda value: min(value + 2, 255))
    page = compare({"far": noise(seed=1), "close": close}, truth=truth).html()
    (row,) = re.findall(r'<tr><th scope="row">close</th>(.*?)</tr>', page)
    assert row.count("<strong>") == 2
    assert page.count("<strong>") == 2


@pytest.mark.parametrize("shape", [(24, 36), (24, 36, 1), (24, 36, 3), (24, 36, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_arrays_are_shown_in_8_bits(shape: Any, dtype: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, shape)
    factor = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    array = (levels * factor).astype(dtype)
    ((_, data), _) = embedded(compare([array, noise()]).html())
    assert (np.asarray(Image.open(io.BytesIO(data))).reshape(shape) == levels).all()


def test_tensors_are_shown_too() -> None:
    levels = torch.randint(0, 256, (3, 24, 36), dtype=torch.uint8)
    ((_, data), (_, half)) = embedded(compare([levels, (levels / 255).half()]).html())
    assert (np.asarray(Image.open(io.BytesIO(data))) == levels.permute(1, 2, 0).numpy()).all()
    assert (np.asarray(Image.open(io.BytesIO(half))) == levels.permute(1, 2, 0).numpy()).all()
    with pytest.raises(InputError, match="image 1 is a batch of 2 images; give one of them"):
        compare([torch.zeros(2, 3, 24, 36), noise()])


@pytest.mark.parametrize(("small", "factor"), [((18, 12), 2), ((12, 8), 3), ((36, 24), 1), ((24, 16), 1.5)])
def test_the_input_of_a_model_is_shown_enlarged(small: tuple[int, int], factor: float) -> None:
    comparison = compare([noise(*small), noise()])
    assert comparison.images[0].factor == factor
    assert 'width="36" height="24"' in comparison.html().split("<img")[1]


def test_a_reduced_side_may_have_been_rounded_up() -> None:
    assert compare([noise(13, 9), noise(37, 25)]).images[0].factor == 3


@pytest.mark.parametrize("size", [(36, 25), (20, 12), (12, 9)])
def test_images_of_different_scenes_fail(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="which is another shape; crop or resize one of them"):
        compare({"a": noise(*size), "b": noise(36, 24)})


def test_too_few_images_fail() -> None:
    with pytest.raises(InputError, match="two images or more; 1 given"):
        compare([noise()])
    with pytest.raises(InputError, match="the truth is 12 x 8 pixels, smaller than an image"):
        compare([noise()], truth=noise(12, 8))


def test_files_of_the_same_name_are_told_apart(two: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    noise(seed=9).save(tmp_path / "other" / "a.png")
    images = compare([two[0], tmp_path / "other" / "a.png"]).images
    assert [image.caption for image in images] == ["a.png", "a.png (2)"]


def test_a_notebook_shows_the_comparison() -> None:
    html = pysr.compare([noise(), noise(seed=1)])._repr_html_()
    assert html.startswith('<iframe title="Comparison of images" srcdoc="&lt;!doctype html&gt;')
    assert html.count('"') % 2 == 0


def test_the_command_writes_the_page(two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["compare", *map(str, two), "--html", str(page), "--truth", str(two[0])]) == 0
    assert "open it in a browser" in capsys.readouterr().err
    assert page.read_text() == compare(two, truth=two[0]).html()
    captions = ["--caption", "bicubic", "--caption", "vdsr x3, 0.8 s"]
    assert main(["compare", *map(str, two), "--html", str(page), *captions]) == 0
    assert "<title>bicubic | vdsr x3, 0.8 s</title>" in page.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--caption", "a"], "there are 1 captions for 2 images"),
        (["--caption", "a", "--caption", "a"], "give each image one of its own"),
        (["--html", "a.png"], "--html a.png is one of the images"),
    ],
)
def test_the_command_refuses_what_it_cannot_use(
    two: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(two[0].parent)
    assert main(["compare", "a.png", "b.png", "--html", "page.html", *options]) == 2
    assert message in capsys.readouterr().err
    assert not Path("page.html").exists()


def test_a_page_for_a_folder_that_is_missing_says_so(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 3))
    with pytest.raises(InputError, match=r"there is no folder .*/none' for .*create it first"):
        compare([image, image]).save(tmp_path / "none" / "page.html")
