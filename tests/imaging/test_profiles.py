"""Transfer curves of colour profiles, and files of linear light enlarged by sRGB's."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

import pysr
from pysr import Output
from pysr.files import read_raster, write_raster
from pysr.files.metadata import Metadata
from pysr.files.raster import Raster
from pysr.imaging.profiles import STEPS, as_srgb, curves_of, from_srgb, is_far_from_srgb, srgb_curve
from pysr.testing import photo

X = np.linspace(0, 1, STEPS)


def profile(*curves: bytes) -> bytes:
    """An ICC profile of nothing but curves, for gray or RGB."""
    names = (b"kTRC",) if len(curves) == 1 else (b"rTRC", b"gTRC", b"bTRC")
    table, data, offset = b"", b"", 132 + 12 * len(curves)
    for name, curve in zip(names, curves, strict=True):
        table += struct.pack(">4sII", name, offset + len(data), len(curve))
        data += curve
    return b"\0" * 128 + struct.pack(">I", len(curves)) + table + data


def gamma(value: float) -> bytes:
    return struct.pack(">4s4xIH", b"curv", 1, round(value * 256))


LINEAR = struct.pack(">4s4xI", b"curv", 0)
TABLE = struct.pack(">4s4xI3H", b"curv", 3, 0, 16384, 65535)


def parametric(kind: int, *numbers: float) -> bytes:
    return struct.pack(f">4s4xHH{len(numbers)}i", b"para", kind, 0, *(round(n * 65536) for n in numbers))


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (LINEAR, X),
        (gamma(1.8), X**1.80078125),
        (TABLE, np.interp(X, [0, 0.5, 1], [0, 16384 / 65535, 1])),
        (parametric(0, 2.0), X**2),
        (parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045), srgb_curve()),
    ],
)
def test_curves_are_read(curve: bytes, expected: Any) -> None:
    for icc, channels in ((profile(curve), 1), (profile(curve, LINEAR, curve), 3)):
        curves = curves_of(icc, {}, channels)
        assert curves is not None
        np.testing.assert_allclose(curves[0], expected, atol=2e-4)


@pytest.mark.parametrize("icc", [b"", b"damaged", profile(LINEAR)[:140], profile(b"mft2" + bytes(40))])
def test_without_a_curve_there_is_none(icc: bytes) -> None:
    assert curves_of(icc, {}, 1) is None


def test_pngs_gamma_counts_where_nothing_else_does() -> None:
    linear = {"gAMA": struct.pack(">I", 100_000)}
    curves = curves_of(b"", linear, 3)
    assert curves is not None
    assert is_far_from_srgb(curves)
    assert curves_of(b"", linear | {"sRGB": b"\0"}, 3) is None


def test_only_curves_far_from_srgb_are_replaced() -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc, far in ((own, False), (profile(*[gamma(2.2)] * 3), False), (profile(*[gamma(1.8)] * 3), True)):
        curves = curves_of(icc, {}, 3)
        assert curves is not None
        assert is_far_from_srgb(curves) is far


def test_the_way_there_and_back_changes_nothing() -> None:
    values = np.linspace(0, 1, 65536, dtype=np.float32).reshape(256, 256)
    for curve in (X, X**1.8):
        back = from_srgb(as_srgb(values, [curve]), [curve])
        assert np.abs(back - values).max() < 0.5 / 65535 + 2e-5


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_linear_light_is_enlarged_as_its_srgb_is(dtype: Any, tmp_path: Path) -> None:
    srgb = photo(12, 14)
    white = 65535 if dtype == np.uint16 else 1
    light = np.interp(srgb, X, srgb_curve()) * white
    pixels = (light.round() if white > 1 else light).astype(dtype)
    icc = profile(LINEAR, LINEAR, LINEAR)
    write_raster(Raster(pixels, "rgb", metadata=Metadata(icc=icc)), tmp_path / "in.tif")
    upscaler = pysr.load("vdsr", scale=2, device="cpu", precision="float32")
    expected = np.interp(upscaler.upscale(srgb), X, srgb_curve())
    upscaler.upscale_file(tmp_path / "in.tif", tmp_path / "out.tif")
    found = read_raster(tmp_path / "out.tif")
    assert (found.pixels.dtype, found.metadata.icc) == (dtype, icc)
    assert np.abs(found.pixels / white - expected).max() < 0.002
    upscaler.upscale_file(tmp_path / "in.tif", tmp_path / "plain.tif", output=Output(colour="file"))
    assert np.abs(read_raster(tmp_path / "plain.tif").pixels / white - expected).max() > 0.01


def test_neutral_and_transparent_pixels_stay_so(tmp_path: Path) -> None:
    gray = (photo(9, 9)[..., 0] * 255).astype(np.uint8)
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    Image.fromarray(np.dstack([gray] * 4)).save(tmp_path / "in.png", pnginfo=chunks)
    pysr.load("bicubic", scale=2).upscale_file(tmp_path / "in.png", tmp_path / "out.png")
    result = read_raster(tmp_path / "out.png").pixels
    assert (result[..., 0] == result[..., 2]).all()
    alpha = pysr.load("bicubic", scale=2).upscale(gray)
    assert (result[..., 3] == alpha).all()
    assert b"gAMA" in (tmp_path / "out.png").read_bytes()
    assert (result[..., 0] != alpha).any()  # enlarged otherwise than as it is
