"""A file in, a file out, twice as large: format by depth, alpha, profile and orientation, and no pixel is wrong.

The files are made, and the results are read, by other libraries than those that pysr reads and writes with.
"""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_samples import ORIENTATION, PROFILE, Pixels, chunk, exif_of, iccp, noise, png, read_independently, turned
from PIL import Image

import pysr
from pysr.upscaling.upscaler import Upscaler

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")
SHAPES = {"gray": (5, 7), "gray and alpha": (5, 7, 2), "RGB": (5, 7, 3), "RGB and alpha": (5, 7, 4)}
ENDINGS = {"PNG": ".png", "TIFF": ".tif", "WEBP": ".webp", "PPM": ".ppm"}


@pytest.fixture(scope="module")
def nearest() -> Upscaler:
    return pysr.load("nearest", 2, device="cpu")


def make_file(format: str, pixels: Pixels, orientation: int, profile: bytes) -> bytes:
    if format == "PNG":
        return png(pixels, before=(iccp(profile) if profile else b"") + chunk(b"eXIf", exif_of(orientation)))
    file = io.BytesIO()
    if format == "TIFF":
        tags: list[Any] = [(ORIENTATION, "H", 1, orientation, True)]
        tags += [(34675, "B", len(profile), profile, True)] if profile else []
        colour = "rgb" if pixels.ndim == 3 and pixels.shape[2] > 2 else "minisblack"
        extra = [2] if pixels.ndim == 3 and pixels.shape[2] in (2, 4) else None
        tifffile.imwrite(file, pixels, photometric=colour, extrasamples=extra, extratags=tags, metadata=None)
    else:
        exif = b"Exif\0\0" + exif_of(orientation)
        Image.fromarray(pixels).save(file, format, exif=exif, icc_profile=profile, lossless=True)
    return file.getvalue()


def profile_and_orientation(data: bytes) -> tuple[bytes, int]:
    if data[:2] in (b"II", b"MM"):
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            tags = file.pages[0].tags
            return bytes(tags.valueof(34675, b"")), tags.valueof(ORIENTATION, 1)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.info.get("icc_profile") or b"", image.getexif().get(ORIENTATION, 1)


def cases() -> Iterator[tuple[str, str, str, str, int, bytes]]:
    """Format, format of the result, what the channels are, depth, orientation and profile."""
    both = range(1, 9), (b"", PROFILE)
    for format, depths in (("PNG", ("uint8", "uint16")), ("TIFF", ("uint8", "uint16", "float32"))):
        for channels, depth, orientation, profile in itertools.product(SHAPES, depths, *both):
            yield format, format, channels, depth, orientation, profile
    for channels, orientation, profile in itertools.product(("RGB", "RGB and alpha"), *both):
        yield "WEBP", "WEBP", channels, "uint8", orientation, profile
    for channels, depth, orientation in itertools.product(SHAPES, ("uint8", "uint16"), (1, 3, 6)):
        yield "PNG", "TIFF", channels, depth, orientation, PROFILE
        yield "TIFF", "PNG", channels, depth, orientation, PROFILE
    for channels, depth in itertools.product(("gray", "RGB"), ("uint8", "uint16")):
        yield "TIFF", "PPM", channels, depth, 6, b""


def bicubic_by_numpy(pixels: Pixels) -> Pixels:
    """Enlarge by 2 in float64: Keys 1981 with a = -1/2, borders mirrored with the edge pixel; an axis at a time."""
    distances = np.array([[1.75, 0.75, 0.25, 1.25], [1.25, 0.25, 0.75, 1.75]])
    near = 1.5 * distances**3 - 2.5 * distances**2 + 1
    far = -0.5 * distances**3 + 2.5 * distances**2 - 4 * distances + 2
    weights = np.where(distances <= 1, near, far)
    for axis in (0, 1):
        line = np.moveaxis(pixels.astype(np.float64), axis, 0)
        padded = np.concatenate([line[1::-1], line, line[:-3:-1]])
        phases = [
            sum(weight * padded[first + tap : first + tap + len(line)] for tap, weight in enumerate(weights[phase]))
            for phase, first in ((0, 0), (1, 1))
        ]
        pixels = np.moveaxis(np.stack(phases, axis=1).reshape(-1, *line.shape[1:]), 0, axis)
    return pixels


def test_every_combination(
    tmp_path: Path, nearest: Upscaler, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # most of the time
    caplog.set_level(logging.WARNING)
    count = 0
    for count, case in enumerate(cases(), 1):
        format, target, channels, depth, orientation, profile = case
        pixels = noise(SHAPES[channels], depth, seed=count)
        white = 1 if depth == "float32" else np.iinfo(depth).max
        if "alpha" in channels:  # not quite transparent, as colours that nobody sees are changed
            pixels[..., -1] = pixels[..., -1].clip(0.01 * white, white)
        source, result = tmp_path / f"a{ENDINGS[format]}", tmp_path / f"b{ENDINGS[target]}"
        source.write_bytes(make_file(format, pixels, orientation, profile))
        nearest.upscale_file(source, result)
        written = result.read_bytes()
        decoded = read_independently(written, target, deep=depth != "uint8")
        right = turned(pixels, orientation).repeat(2, 0).repeat(2, 1)
        assert decoded.dtype == right.dtype, case
        if "alpha" in channels:  # which every model enlarges by bicubic
            wrong = np.abs(decoded[..., -1] - bicubic_by_numpy(turned(pixels, orientation)[..., -1]).clip(0, white))
            assert wrong.max() <= 1e-5 if depth == "float32" else 0.5001, case
            decoded, right = decoded[..., :-1], right[..., :-1]
        assert np.array_equal(decoded, right), case
        if target != "PPM":
            assert profile_and_orientation(written) == (profile, 1), case
            assert not [record for record in caplog.records if record.name.startswith("pysr")], case
    assert count >= 400


def test_jpeg(tmp_path: Path, nearest: Upscaler) -> None:
    rows, columns = np.mgrid[:16, :24] * 10
    image = Image.fromarray(np.stack([rows, columns, 255 - rows], axis=-1).astype(np.uint8))
    for mode, orientation, profile in itertools.product(("L", "RGB", "CMYK"), range(1, 9), (b"", PROFILE)):
        exif = b"Exif\0\0" + exif_of(orientation)
        image.convert(mode).save(tmp_path / "a.jpg", exif=exif, icc_profile=profile, quality=100, subsampling=0)
        nearest.upscale_file(tmp_path / "a.jpg", tmp_path / "b.jpg")
        written = (tmp_path / "b.jpg").read_bytes()
        decoded = read_independently(written, "JPEG", deep=False)
        right = turned(np.asarray(image.convert(mode)), orientation).repeat(2, 0).repeat(2, 1)
        assert decoded.shape == right.shape
        assert np.abs(decoded.astype(int) - right).mean() < 3
        assert profile_and_orientation(written) == (profile, 1)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bits_are_computed_in_16_bits(tmp_path: Path, format: str) -> None:
    pixels = noise((40, 50, 3), "uint16")
    source, result = tmp_path / f"a{ENDINGS[format]}", tmp_path / f"b{ENDINGS[format]}"
    source.write_bytes(make_file(format, pixels, 1, b""))
    pysr.load("bicubic", 2, device="cpu").upscale_file(source, result)
    decoded = read_independently(result.read_bytes(), format, deep=True)
    assert np.abs(decoded - bicubic_by_numpy(pixels).clip(0, 65535)).max() <= 1


def test_a_path_gives_a_pil_image_of_8_bits_with_a_warning(
    tmp_path: Path, nearest: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = noise((5, 7, 3), "uint16")
    (tmp_path / "a.png").write_bytes(png(pixels))
    image = nearest.upscale(tmp_path / "a.png")
    assert image.mode == "RGB"
    right = np.rint(pixels / 257).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(np.asarray(image), right)
    assert "16 bits" in caplog.text
