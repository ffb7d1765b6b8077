"""How lossily a file was compressed, told from files that Pillow wrote."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pysr.errors import InputError
from pysr.files.compression import compression_of, compression_of_image, jpeg_quality
from pysr.testing import photo


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray((photo(48, 40) * 255).astype(np.uint8))


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 51, 75, 90, 91, 92, 95, 99])
def test_the_quality_of_a_jpeg_file_is_found(image: Image.Image, quality: int, tmp_path: Path) -> None:
    for options in ({}, {"subsampling": 0}, {"progressive": True}):
        image.save(tmp_path / "a.jpg", quality=quality, **options)  # type: ignore[arg-type]
        found = compression_of(tmp_path / "a.jpg")
        assert (found.lossy, found.quality, found.name) == (True, quality, f"JPEG of quality {quality}")


def test_other_tables_count_as_what_is_as_coarse() -> None:
    table = [17, 18, 24, 47, 99, 99, 99, 99] * 8
    assert jpeg_quality([entry // 4 for entry in table]) > jpeg_quality(table)
    assert jpeg_quality([1] * 64) == 100


@pytest.mark.parametrize(
    ("name", "options", "lossy"),
    [
        ("a.webp", {"quality": 80}, True),
        ("a.webp", {"lossless": True}, False),
        ("a.webp", {"quality": 80, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}, True),
        ("a.png", {}, False),
        ("a.tif", {"compression": "jpeg"}, True),
        ("a.tif", {"compression": "tiff_lzw"}, False),
        ("a.gif", {}, False),
        ("a.bmp", {}, False),
        ("a.avif", {}, True),
    ],
)
def test_what_loses_is_told_by_content(
    image: Image.Image, name: str, options: dict[str, Any], lossy: bool, tmp_path: Path
) -> None:
    image.save(tmp_path / name, **options)
    other = tmp_path / "no.ending"
    (tmp_path / name).rename(other)
    assert compression_of(other).lossy is lossy


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 80}), ("a.tif", {"compression": "jpeg"})])
@pytest.mark.parametrize("most", [1000, 100])  # above it Pillow warns, and refuses above twice as many
def test_it_is_told_of_images_above_the_limit_of_pillow(
    image: Image.Image,
    name: str,
    options: dict[str, Any],
    most: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image.save(tmp_path / name, **options)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    assert compression_of(tmp_path / name).lossy


def test_an_animation_of_lossy_frames_is_lossy(image: Image.Image, tmp_path: Path) -> None:
    for lossless in (True, False):
        image.save(tmp_path / "a.webp", save_all=True, append_images=[image.rotate(90)], lossless=lossless)
        assert compression_of(tmp_path / "a.webp").lossy is not lossless


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*gone\.jpg"):
        compression_of(tmp_path / "gone.jpg")


def test_a_damaged_jpeg_file_is_still_a_jpeg_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0rubbish")
    assert compression_of(tmp_path / "a.jpg").name == "JPEG"


def test_an_opened_image_tells_what_its_file_tells(image: Image.Image, tmp_path: Path) -> None:
    for name, options in (
        ("a.jpg", {"quality": 60}),
        ("b.webp", {"lossless": True}),
        ("c.webp", {"quality": 60}),
        ("d.png", {}),
        ("e.tif", {"compression": "jpeg"}),
    ):
        image.save(tmp_path / name, **options)  # type: ignore[arg-type]
        with Image.open(tmp_path / name) as opened:
            assert compression_of_image(opened) == compression_of(tmp_path / name)
            assert not compression_of_image(opened.convert("L")).lossy
    assert compression_of_image(Image.open(BytesIO((tmp_path / "a.jpg").read_bytes()))).quality == 60
    assert compression_of_image(Image.open(BytesIO((tmp_path / "c.webp").read_bytes()))).lossy
    assert not compression_of_image(image).lossy
