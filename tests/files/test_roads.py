"""The same TIFF file gives the same pixels whether tifffile or Pillow reads it."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_samples import Pixels, noise, png

from pysr.errors import InputError
from pysr.files import Raster, read_raster

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")
LAYOUTS: list[tuple[int, str, list[int] | None]] = [
    (1, "minisblack", None),
    (1, "miniswhite", None),
    (1, "palette", None),
    (2, "minisblack", [1]),
    (2, "minisblack", [2]),
    (3, "rgb", None),
    (4, "rgb", [0]),
    (4, "rgb", [1]),
    (4, "rgb", [2]),
    (5, "rgb", [2, 0]),
    (4, "separated", None),
    (3, "ycbcr", None),
    (3, "cielab", None),
]


def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tiff_choice", "png", "heif", "jpeg2000", "jpeg_rows"):
        monkeypatch.setattr(f"pysr.files.{module}.find_spec", lambda name: None)


def tiff(bits: int, layout: tuple[int, str, list[int] | None], options: dict[str, Any]) -> bytes | None:
    """A file of noise; None if tifffile cannot write such files."""
    channels, photometric, extra = layout
    pixels: Pixels = noise((19, 23, channels), "uint16") >> (16 - bits)
    pixels = pixels.astype(bool if bits == 1 else np.uint8 if bits <= 8 else np.uint16)
    pixels = pixels[..., 0] if channels == 1 else pixels
    options = {"planarconfig": "contig", **options} if channels > 1 else {**options, "planarconfig": None}
    if options["planarconfig"] == "separate":
        pixels = np.moveaxis(pixels, 2, 0)
    if photometric == "palette":
        options["colormap"] = noise((3, 1 << bits), "uint16", seed=1)
    if photometric == "ycbcr":
        options["subsampling"] = (1, 1)
    file = io.BytesIO()
    try:
        bitspersample = bits if bits in (2, 4, 12) else None
        tifffile.imwrite(
            file,
            pixels,
            photometric=photometric,
            extrasamples=extra,
            bitspersample=bitspersample,
            metadata=None,
            **options,
        )
    except (ValueError, NotImplementedError, RuntimeError):
        return None
    return file.getvalue()


def test_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compressions = (None, "lzw", "zlib", "jpeg")
    shapes: tuple[dict[str, Any], ...] = ({"rowsperstrip": 5}, {"tile": (16, 16), "byteorder": ">"})
    cases = itertools.product((1, 2, 4, 8, 12, 16), LAYOUTS, ("contig", "separate"), compressions, shapes)
    compared = 0
    for bits, layout, planar, compression, shape in cases:
        data = tiff(bits, layout, {"planarconfig": planar, "compression": compression, **shape})
        if data is None or (planar == "separate" and layout[0] == 1):
            continue
        (tmp_path / "a.tif").write_bytes(data)
        results: list[Raster | str] = []
        for road in ("tifffile", "Pillow"):
            with monkeypatch.context() as patch:
                if road == "Pillow":
                    without_libraries(patch)
                try:
                    results.append(read_raster(tmp_path / "a.tif"))
                except InputError as error:
                    results.append(str(error))
        compared += both_agree(results[0], results[1], (bits, layout, planar, compression, shape))
    assert compared > 120


def both_agree(first: Raster | str, second: Raster | str, case: Any) -> bool:
    """Whether two results are pixels, which must be equal, and not a refusal."""
    if isinstance(first, str):
        assert "damaged" not in first, case
        return False
    if isinstance(second, str):
        assert "pysr-sdk[files]" in second, (case, second)
        return False
    pixels = first.pixels
    if second.pixels.dtype != pixels.dtype:
        pixels = (pixels >> 8).astype(np.uint8)
    assert np.array_equal(pixels, second.pixels), case
    if first.palette is not None and second.palette is not None:
        assert np.array_equal(first.palette[pixels], second.palette[pixels]), case
    return True


def test_16_bit_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pixels = noise((5, 7, 3), "uint16")
    (tmp_path / "a.png").write_bytes(png(pixels))
    without_libraries(monkeypatch)
    assert np.array_equal(read_raster(tmp_path / "a.png").pixels, pixels >> 8)
    assert "only the upper 8 are used" in caplog.text
