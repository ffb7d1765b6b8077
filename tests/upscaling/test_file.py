"""One image file in, one out: formats, sizes, pipes and replacing."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from image_samples import encoded, make_image
from PIL import Image

import pysr
from pysr.errors import InputError
from pysr.imaging.resize import resize


@pytest.fixture
def up() -> pysr.Upscaler:
    return pysr.load("nearest", 2)


def test_transparency_becomes_white_in_jpeg(up: pysr.Upscaler, tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert up.upscale_file(tmp_path / "a.png", tmp_path / "a.jpg").size == (16, 16)
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.mode, image.getpixel((8, 8))) == ("RGB", (255, 255, 255))


def test_a_palette_is_enlarged_in_full_colour(tmp_path: Path) -> None:
    make_image("P").save(tmp_path / "a.png")
    up = pysr.load("bicubic", 2)
    assert up.upscale(tmp_path / "a.png").mode == "RGB"
    for keep, mode in ((False, "RGB"), (True, "P")):
        up.upscale_file(tmp_path / "a.png", tmp_path / "b.png", output=pysr.Output(keep_palette=keep))
        with Image.open(tmp_path / "b.png") as image:
            assert image.mode == mode
            assert (len(image.convert("RGB").getcolors(999)) > 16) == (not keep)


def test_black_and_white_stays_so_where_the_format_has_it(up: pysr.Upscaler, tmp_path: Path) -> None:
    make_image("1").save(tmp_path / "a.png")
    for ending, mode in ((".png", "1"), (".tif", "1"), (".jpg", "L"), (".avif", "L")):
        up.upscale_file(tmp_path / "a.png", tmp_path / f"b{ending}")
        with Image.open(tmp_path / f"b{ending}") as image:
            assert image.mode == mode


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "CMYK"])
def test_a_fraction_is_the_models_result_resized_exactly(tmp_path: Path, mode: str) -> None:
    make_image(mode).save(tmp_path / "a.tif")
    assert pysr.load("bicubic", 2).upscale_file(
        tmp_path / "a.tif", tmp_path / "b.tif", output=pysr.Output(size=1.5)
    ).size == (18, 12)
    with Image.open(tmp_path / "b.tif") as image:
        assert (image.mode, image.size) == (mode, (18, 12))
        if mode in ("L", "I;16"):
            doubled = np.asarray(pysr.load("bicubic", 2).upscale(make_image(mode))).astype(np.float64)
            white = 65535 if mode == "I;16" else 255
            expected = resize(torch.from_numpy(doubled)[None], shape=(12, 18))[0].clamp(0, white).round().numpy()
            assert np.array_equal(np.asarray(image), expected)


def test_a_size_that_the_model_does_not_reach_is_refused(up: pysr.Upscaler, tmp_path: Path) -> None:
    make_image().save(tmp_path / "a.png")
    too_large, smaller = (pysr.Output(size=(width, None)) for width in (25, 6))
    with pytest.raises(InputError, match=r"2\.08 times as large, and the model enlarges by 2"):
        up.upscale_file(tmp_path / "a.png", tmp_path / "b.png", output=too_large)
    assert up.upscale_file(tmp_path / "a.png", tmp_path / "b.png", output=smaller).size == (6, 4)
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == (6, 4)


def test_streams_in_and_out(tmp_path: Path) -> None:
    for up in (pysr.load("nearest", 2), pysr.load("auto", 2)):
        for kind, written in (("PNG", "PNG"), ("JPEG", "JPEG"), ("GIF", "PNG")):
            result = io.BytesIO()
            assert up.upscale_file(io.BytesIO(encoded(make_image(), kind)), result).size == (24, 16)
            with Image.open(result) as image:
                assert (image.format, image.size) == (written, (24, 16))
    assert up.upscale(io.BytesIO(encoded(make_image(), "PNG"))).size == (24, 16)
    assert pysr.upscale(io.BytesIO(encoded(make_image(), "PNG")), "nearest").size == (24, 16)
    result = io.BytesIO()
    up.upscale_file(io.BytesIO(encoded(make_image("RGBA"), "PNG")), result, output=pysr.Output(format="jpg"))
    with Image.open(result) as image:
        assert image.format == "JPEG"


def test_the_format_goes_before_the_name(up: pysr.Upscaler, tmp_path: Path) -> None:
    make_image().save(tmp_path / "a.png")
    up.upscale_file(tmp_path / "a.png", tmp_path / "b.dat", output=pysr.Output(format="webp", lossless=True))
    with Image.open(tmp_path / "b.dat") as image:
        assert image.format == "WEBP"
        assert image.convert("RGB").resize((12, 8), Image.Resampling.NEAREST).tobytes() == make_image().tobytes()
    with pytest.raises(InputError, match="JPEG cannot be written without losses"):
        up.upscale_file(tmp_path / "a.png", tmp_path / "b.jpg", output=pysr.Output(lossless=True))


def test_an_input_is_replaced_in_its_own_format(up: pysr.Upscaler, tmp_path: Path) -> None:
    make_image().save(tmp_path / "a.jpg", "PNG")
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    in_place = pysr.Output(in_place=True)
    for name in ("a.jpg", "link.jpg"):
        up.upscale_file(tmp_path / name, tmp_path / name, output=in_place)
    assert (tmp_path / "link.jpg").is_symlink()
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.size) == ("PNG", (48, 32))
    make_image("P").save(tmp_path / "a.gif")
    with pytest.raises(InputError, match="GIF files are not written"):
        up.upscale_file(tmp_path / "a.gif", tmp_path / "a.gif", output=in_place)
