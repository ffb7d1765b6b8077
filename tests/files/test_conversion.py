"""What a format cannot hold is converted as a person would do it, and said."""

import io
from typing import Any

import numpy as np
import pytest
from image_samples import make_image
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pysr.files import Raster
from pysr.files.conversion import by_profile, converted, fitted, fitted_mode, flattened, in_full_colour
from pysr.files.formats import FORMATS, Format, format_of_ending
from pysr.files.output import DEFAULT, Output

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def through(image: Image.Image, ending: str, output: Output = DEFAULT) -> Image.Image:
    """The image as a format gets it, before and after an enlargement that does nothing."""
    kind = format_of_ending(ending)
    return fitted(converted(Raster.from_pil(image), kind, output, "a"), kind, "a").to_pil()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_every_mode_fits_into_every_format(mode: str, kind: Format) -> None:
    assert through(make_image(mode), kind.endings[0]).mode in kind.modes


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "RGB", "RGBA"])
def test_what_the_format_holds_stays_as_it_is(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    image = make_image(mode)
    result = through(image, "png")
    assert (result.mode, result.tobytes()) == (image.mode, image.tobytes())
    assert not caplog.messages


def test_transparency_is_laid_over_the_background(caplog: pytest.LogCaptureFixture) -> None:
    image = Image.new("RGBA", (3, 1), (10, 20, 30, 0))
    image.putpixel((1, 0), (10, 20, 30, 255))
    image.putpixel((2, 0), (0, 100, 200, 128))
    over = [
        tuple(through(image, "jpg", Output(background=name)).getpixel((x, 0)) for x in range(3))
        for name in ("white", "#102030")
    ]
    assert over[0] == ((255, 255, 255), (10, 20, 30), (127, 177, 227))
    assert over[1] == ((16, 32, 48), (10, 20, 30), (8, 66, 124))
    assert caplog.messages[0] == "'a': JPEG has no transparency; it is laid over white"


@pytest.mark.parametrize(("background", "mode"), [("white", "L"), ("gray", "L"), ("red", "RGB")])
def test_gray_stays_gray_over_gray(background: str, mode: str) -> None:
    assert through(make_image("LA"), "jpg", Output(background=background)).mode == mode


def test_opaque_alpha_is_dropped_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    image = make_image("RGB")
    assert through(image.convert("RGBA"), "jpg").tobytes() == image.tobytes()
    assert through(make_image("L").convert("LA"), "bmp").mode == "L"
    assert not caplog.messages


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_flattening_keeps_the_depth(dtype: type) -> None:
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    pixels: NDArray[Any] = np.array([[[0, 0], [0, white], [white, white / 2]]]).astype(dtype)
    result = flattened(pixels, (51, 51, 51))
    assert result.dtype == dtype
    expected = [white * 0.2, 0, white * 0.2 + (white - white * 0.2) * (pixels[0, 2, 1] / white)]
    assert np.allclose(result[0, :, 0], expected, atol=0 if dtype is np.float32 else 0.5)


def test_a_palette_becomes_full_colour_unless_it_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    image = make_image("P")
    assert through(image, "png").tobytes() == image.convert("RGB").tobytes()
    assert through(image, "png", Output(keep_palette=True)).mode == "P"
    assert not caplog.messages  # nothing is lost
    assert through(image, "jpg", Output(keep_palette=True)).mode == "RGB"
    assert "JPEG has no palettes" in caplog.text
    image.info["transparency"] = 3
    assert through(image, "png").mode == "RGBA"
    assert through(image, "png", Output(keep_palette=True)).mode == "P"
    assert through(image, "tif", Output(keep_palette=True)).mode == "RGBA"
    assert through(image, "jpg").mode == "RGB"
    assert in_full_colour(Raster.from_pil(make_image("L"))).mode == "L"


def test_16_bits_become_8_by_rounding(caplog: pytest.LogCaptureFixture) -> None:
    values = np.array([[0, 128, 129, 65535 - 129, 65535 - 128, 65535]], np.uint16)
    result = through(Image.fromarray(values), "jpg")
    assert np.asarray(result).tolist() == [[0, 0, 1, 254, 255, 255]]
    assert caplog.messages == ["'a': JPEG cannot hold 16 bits per channel here; they are rounded to 8 bits"]


def test_floats_become_as_deep_as_can_be() -> None:
    raster = Raster(np.array([[-1, 0.25, 2]], np.float32), "gray")
    assert fitted_mode(raster, format_of_ending("png")) == "I;16"
    assert fitted(raster, format_of_ending("png"), "a").pixels.tolist() == [[0, 16384, 65535]]
    assert fitted(raster, format_of_ending("jpg"), "a").pixels.tolist() == [[0, 64, 255]]


def test_cmyk_goes_by_its_profile_or_roughly(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    image = make_image("CMYK")
    assert through(image, "tif").mode == "CMYK"
    assert through(image, "png").tobytes() == image.convert("RGB").tobytes()
    image.info["icc_profile"] = SRGB  # for other colours
    result = through(image, "png")
    assert result.tobytes() == image.convert("RGB").tobytes()
    assert "icc_profile" not in result.info
    first, second = caplog.messages
    assert "the file has no colour profile; the colours become roughly sRGB" in first
    assert "its colour profile cannot be used" in second

    seen = []

    def by_this(inks: np.ndarray, profile: bytes) -> tuple[np.ndarray, bytes]:
        seen.append(profile)
        return inks[..., :3], b"sRGB"

    monkeypatch.setattr("pysr.files.conversion.by_profile", by_this)
    result = through(image, "png")
    assert (set(seen), result.info["icc_profile"]) == ({SRGB}, b"sRGB")
    for ending in ("bmp", "ppm", "npy"):  # without a place for a profile, sRGB is what the file is taken for
        assert "icc_profile" not in through(image, ending).info


def test_a_profile_is_asked_for_its_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gray profile in the place of an ink profile, which no test can make: littleCMS is called with all of it."""
    calls = []

    def convert(image: Image.Image, source: object, target: object, *how: object, **flags: object) -> Image.Image:
        calls.append((image.mode, how, flags))
        return image.convert("RGB")

    monkeypatch.setattr(ImageCms, "profileToProfile", convert)
    inks = np.asarray(make_image("CMYK"))
    pixels, profile = by_profile(inks, SRGB)
    assert pixels.shape == (8, 12, 3)
    assert calls == [
        ("CMYK", (ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB"), {"flags": ImageCms.Flags.BLACKPOINTCOMPENSATION})
    ]
    assert ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(profile))).startswith("sRGB")
