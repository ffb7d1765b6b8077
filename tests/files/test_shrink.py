"""Shrinking: as the models learnt it, tags kept, and as many bytes as are allowed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_samples import make_image
from PIL import Image

from pysr.errors import InputError
from pysr.files import read_image, write_image
from pysr.files.original import Original, noted_original
from pysr.files.shrink import shrink, shrink_file
from pysr.imaging.degrade import bicubic
from pysr.testing import photo

MAKE, ORIENTATION = 0x010F, 0x0112


def make_photo(width: int = 61, height: int = 47) -> Image.Image:
    return Image.fromarray((photo(height, width) * 255).round().astype(np.uint8)).convert("RGB")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    image, exif = make_photo(), Image.Exif()
    exif[MAKE] = "Camera"
    image.info.update(icc_profile=b"profile" * 40, exif=exif.tobytes())
    write_image(image, tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixels_are_those_that_models_learnt_from(scale: int) -> None:
    image = make_photo(60, 48)
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1).double() / 255
    expected = (bicubic(planes, scale).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(shrink(image, scale)), expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_border_block_lies_where_the_others_do(scale: int) -> None:
    """What is cropped off the right and the bottom changes no pixel that does not reach there."""
    image, whole = make_photo(61, 47), shrink(make_photo(61, 47), scale)
    left = shrink(image.crop((0, 0, 48, 36)), scale)
    safe = 48 // scale - 2, 36 // scale - 2  # the kernel reaches two pixels of the result
    assert np.array_equal(np.asarray(whole.crop((0, 0, *safe))), np.asarray(left.crop((0, 0, *safe))))
    assert whole.size == (-(-61 // scale), -(-47 // scale))


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [("1", "L"), ("L", "L"), ("LA", "LA"), ("P", "RGB"), ("I;16", "I;16"), ("RGBA", "RGBA"), ("CMYK", "CMYK")],
)
def test_every_mode_is_shrunk_in_its_colours(mode: str, becomes: str) -> None:
    image = make_photo()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    small = shrink(image, 2)
    assert (small.mode, small.size) == (becomes, (31, 24))
    means = [np.asarray(each).mean((0, 1)) for each in (image if mode != "1" else image.convert("L"), small)]
    if mode != "P":
        assert means[0] == pytest.approx(means[1], rel=0.05)


def test_colours_hidden_by_transparency_do_not_show() -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :9] = 200, 100, 50, 255
    small = np.asarray(shrink(Image.fromarray(pixels), 2)).astype(int)
    assert np.abs(small[..., :3] - [200, 100, 50]).max() <= 1
    transparent = Image.fromarray(pixels).convert("P")
    transparent.info["transparency"] = transparent.getpixel((15, 0))
    assert shrink(transparent, 2).mode == "RGBA"


@pytest.mark.parametrize("ending", [".webp", ".jpg", ".avif", ".png"])
def test_profile_and_tags_are_kept_and_the_size_is_noted(source: Path, ending: str) -> None:
    target = source.with_name(f"small{ending}")
    result = shrink_file(source, target, 4)
    small = read_image(target)
    assert (result.original, result.size, result.bytes) == ((61, 47), (16, 12), target.stat().st_size)
    assert result.quality == (None if ending == ".png" else 80)
    assert small.size == (16, 12)
    assert noted_original(small.info["xmp"]) == Original((61, 47), 4)
    assert small.info["icc_profile"] == b"profile" * 40
    assert small.getexif()[MAKE] == "Camera"


def test_a_turned_photograph_notes_its_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    make_photo().save(tmp_path / "a.jpg", exif=exif)
    assert shrink_file(tmp_path / "a.jpg", tmp_path / "b.webp").original == (47, 61)
    assert noted_original(read_image(tmp_path / "b.webp").info["xmp"]) == Original((47, 61), 2)


@pytest.mark.parametrize("ending", [".webp", ".jpg", ".avif"])
def test_bytes_are_used_as_far_as_possible(source: Path, ending: str) -> None:
    target = source.with_name(f"small{ending}")
    low, high = (shrink_file(source, target, quality=quality).bytes for quality in (1, 100))
    limit = (2 * low + high) // 3
    result = shrink_file(source, target, max_bytes=limit)
    assert result.bytes == target.stat().st_size <= limit
    assert result.quality
    assert shrink_file(source, target, quality=result.quality).bytes == result.bytes
    assert shrink_file(source, target, quality=result.quality + 1).bytes > limit
    assert shrink_file(source, target, max_bytes=low).bytes <= low
    assert shrink_file(source, target, max_bytes=10**6).quality == 100


def test_too_few_bytes_are_an_error_and_leave_the_old_file(source: Path) -> None:
    target = source.with_name("small.webp")
    target.write_bytes(b"old")
    with pytest.raises(InputError, match=r"takes \d+ bytes even at the lowest quality, and 99 are allowed"):
        shrink_file(source, target, max_bytes=99)
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.webp", {"quality": 50, "max_bytes": 500}, "give only one of them"),
        ("a.png", {"quality": 50}, "loses nothing.*use .webp"),
        ("a.PNG", {"max_bytes": 500}, "loses nothing"),
        ("a.webp", {"quality": 0}, "1 to 100"),
        ("a.webp", {"max_bytes": 0}, "positive"),
        ("a.webp", {"scale": 5}, "can be 2, 3, 4"),
        ("a.bmp", {}, "use .webp"),
        ("a", {}, "use .webp"),
        ("missing/a.webp", {}, "create it first"),
    ],
)
def test_contradictions_are_refused_before_any_work(
    tmp_path: Path, name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        shrink_file(tmp_path / "not-even-there.png", tmp_path / name, **options)
    assert os.listdir(tmp_path) == []


def test_what_the_target_cannot_hold_is_refused_before_the_work(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.files.shrink.shrink", lambda *_: pytest.fail("it was shrunk"))
    write_image(Image.new("L", (131_004, 1)), source.with_name("long.png"))
    with pytest.raises(InputError, match="JPEG is limited to 65500 per side"):
        shrink_file(source.with_name("long.png"), source.with_name("small.jpg"))
    with pytest.raises(InputError, match="is the input"):
        shrink_file(source, source)


@pytest.mark.parametrize(("mode", "becomes"), [("RGBA", "RGB"), ("LA", "L"), ("I;16", "L"), ("P", "RGB")])
def test_what_jpeg_cannot_hold_is_converted(tmp_path: Path, mode: str, becomes: str) -> None:
    write_image(make_image(mode), tmp_path / "a.png")
    shrink_file(tmp_path / "a.png", tmp_path / "small.jpg")
    with Image.open(tmp_path / "small.jpg") as small:
        assert (small.mode, small.size) == (becomes, (6, 4))
