"""Images taken row by row: the same pixels as from images in memory."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from file_samples import noise
from image_samples import make_image
from PIL import Image

import pysr
from pysr import Output, Tiling, Upscaler
from pysr.errors import InputError, OutOfMemoryError
from pysr.files import Raster, read_raster, write_raster
from pysr.files.metadata import Metadata
from pysr.files.raster import Kind
from pysr.files.raster_rows import RasterRows
from pysr.upscaling import file as file_module
from pysr.upscaling import row_resizing, tiling
from pysr.upscaling.rows import SlidingRows
from pysr.upscaling.stage import Stage

MODELS = {
    "resampled": lambda: pysr.load("bicubic", 2),
    "exact": lambda: pysr.load("lanczos", 3, tiling=Tiling(24)),
    "blended": lambda: pysr.load("bicubic", 2, tiling=Tiling(24, "blend", overlap=5)),
    "averaged": lambda: pysr.load("bicubic", 2, tiling=Tiling(24, "mean", overlap=5)),
    "chained": lambda: pysr.load("bicubic+nearest", 4),
}
KINDS: dict[str, tuple[Kind, int, str]] = {
    "gray": ("gray", 1, "uint8"),
    "deep": ("rgb", 3, "uint16"),
    "float": ("rgb", 3, "float32"),
    "alpha": ("rgb", 4, "uint8"),
    "deep gray and alpha": ("gray", 2, "uint16"),
    "inks": ("cmyk", 4, "uint8"),
    "bilevel": ("bilevel", 1, "uint8"),
}


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "RESAMPLED", 2000)
    monkeypatch.setattr("pysr.files.interface.BAND", 700)
    monkeypatch.setattr("pysr.files.tiff.BAND", 700)
    monkeypatch.setattr("pysr.files.tiff_writer._STRIP", 900)


def sample(kind: str, height: int = 45, width: int = 38) -> Raster:
    name, channels, dtype = KINDS[kind]
    pixels = noise((height, width, channels), dtype)
    pixels = pixels[..., 0] if channels == 1 else pixels
    if kind in ("alpha", "deep gray and alpha"):
        pixels[..., -1] |= 1  # nothing is fully transparent
    if name == "bilevel":
        pixels = np.where(pixels > 127, np.uint8(255), np.uint8(0))
    return Raster(pixels, name, metadata=Metadata(size=(width, height)))


def both(
    up: Upscaler, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, output: Output | None = None
) -> tuple[Raster, Raster]:
    """The result by rows, and from memory; the reports must be equal, too."""
    found = []
    for most in (0, 2**62):
        monkeypatch.setattr(file_module, "IN_MEMORY", most)
        seen: list[tuple[int, int]] = []
        report = up.upscale_file(
            source, target, output=output or Output(), progress=lambda *now, seen=seen: seen.append(now)
        )
        becomes_larger = any(new > old for new, old in zip(report.size, read_raster(source).size, strict=True))
        assert seen == sorted(seen) and bool(seen) == becomes_larger  # else no model is needed
        assert all(done == total for done, total in seen[-1:])
        found.append((read_raster(target), report.kept, report.changed, report.dropped, report.warnings, report.size))
    assert found[0][1:] == found[1][1:]
    return found[0][0], found[1][0]


@pytest.fixture
def whole_images(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows when an image is put together in memory."""
    made: list[object] = []
    whole = RasterRows.whole

    def noted(rows: RasterRows) -> Raster:
        made.append(rows)
        return whole(rows)

    monkeypatch.setattr(RasterRows, "whole", noted)
    return made


@pytest.mark.parametrize(
    ("kind", "model"),
    [*itertools.product(KINDS, ["resampled"]), *itertools.product(["deep", "alpha", "inks"], [*MODELS][1:])],
)
def test_rows_give_the_pixels_of_the_whole(
    kind: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_images: list[object]
) -> None:
    write_raster(sample(kind), tmp_path / "in.tif")
    rows, whole = both(MODELS[model](), tmp_path / "in.tif", tmp_path / "out.tif", monkeypatch)
    assert (rows.mode, not whole_images) == (whole.mode, True)
    assert np.array_equal(rows.pixels, whole.pixels)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".ppm", ".webp"])
def test_rows_are_converted_to_what_a_format_holds(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = pysr.load("bicubic", 2)
    for kind in ("float", "inks", "bilevel") + (("alpha",) if ending != ".ppm" else ()):
        write_raster(sample(kind), tmp_path / "in.tif")
        output = Output(background="#1020c0", quality=None if ending in (".png", ".ppm") else 90)
        rows, whole = both(up, tmp_path / "in.tif", tmp_path / f"out{ending}", monkeypatch, output)
        assert (rows.mode, rows.metadata) == (whole.mode, whole.metadata)
        assert np.array_equal(rows.pixels, whole.pixels)


def test_a_neutral_image_stays_neutral_by_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gray = noise((40, 30))
    write_raster(Raster(np.stack([gray] * 3, -1), "rgb"), tmp_path / "in.tif")
    rows, whole = both(pysr.load("bicubic", 2), tmp_path / "in.tif", tmp_path / "out.tif", monkeypatch)
    assert np.array_equal(rows.pixels, whole.pixels)
    assert (rows.pixels[..., 0] == rows.pixels[..., 2]).all()


def test_colours_behind_transparent_pixels_depend_on_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_images: list[object]
) -> None:
    image = sample("alpha")
    image.pixels[10:20, 5:30, 3] = 0
    write_raster(image, tmp_path / "in.tif")
    rows, whole = both(pysr.load("bicubic", 2), tmp_path / "in.tif", tmp_path / "out.png", monkeypatch)
    assert np.array_equal(rows.pixels, whole.pixels)
    assert len(whole_images) == 1


def test_memory_that_runs_out_changes_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster(sample("deep", 70, 70), tmp_path / "in.tif")
    up = pysr.load("bicubic", 2, tiling=Tiling(32, "blend", overlap=6))
    expected = both(up, tmp_path / "in.tif", tmp_path / "out.tif", monkeypatch)[0]
    process, calls = Stage.process, iter(range(1000))

    def failing(stage: Stage, windows: object) -> object:
        if next(calls) == 4:
            raise MemoryError
        return process(stage, windows)  # type: ignore[arg-type]

    monkeypatch.setattr(Stage, "process", failing)
    monkeypatch.setattr(file_module, "IN_MEMORY", 0)
    up.upscale_file(tmp_path / "in.tif", tmp_path / "out.tif")
    assert np.array_equal(read_raster(tmp_path / "out.tif").pixels, expected.pixels)
    assert next(calls) > 9


@pytest.mark.parametrize("error", [OutOfMemoryError("none left"), ZeroDivisionError("of the caller")])
def test_what_fails_between_rows_is_no_error_of_writing(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "IN_MEMORY", 0)
    write_raster(sample("deep"), tmp_path / "in.tif")
    (tmp_path / "out.tif").write_bytes(b"before")

    def stop(done: int, total: int) -> None:
        if done > 2:
            raise error

    with pytest.raises(type(error)) as raised:
        pysr.load("bicubic", 2).upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", progress=stop)
    assert raised.value is error
    assert (tmp_path / "out.tif").read_bytes() == b"before"
    assert len([*tmp_path.iterdir()]) == 2


def test_a_file_cut_off_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "IN_MEMORY", 0)
    file = io.BytesIO()
    make_image("RGB", 60, 50).save(file, "PPM")
    (tmp_path / "in.ppm").write_bytes(file.getvalue()[:-100])
    with pytest.raises(InputError, match="is incomplete"):
        pysr.load("bicubic", 2).upscale_file(tmp_path / "in.ppm", tmp_path / "out.png")
    assert [*tmp_path.iterdir()] == [tmp_path / "in.ppm"]


def test_rows_slide_over_bands_of_any_heights() -> None:
    image = noise((3, 50, 4))
    bands = (image[:, first:last] for first, last in itertools.pairwise([0, 1, 2, 20, 21, 33, 50]))
    rows = SlidingRows(bands, (3, 50, 4))
    for first, last in ((0, 5), (0, 5), (3, 21), (3, 4), (30, 32), (31, 50), (49, 50)):
        assert np.array_equal(rows.take(first, last), image[:, first:last])
    with pytest.raises(InputError, match="ends at row 10"):
        SlidingRows(iter([image[:, :10]]), (3, 50, 4)).take(8, 12)


@pytest.mark.parametrize("kind", ["gray", "deep", "float", "inks", "bilevel", "alpha"])
@pytest.mark.parametrize(
    "output",
    [
        Output(size=1.5),
        Output(size=(70, None)),
        Output(size=(76, 31), fit="fill"),
        Output(size=(20, 90), fit="fill"),
        Output(size=0.3),
    ],
)
def test_rows_are_resized_to_the_pixels_of_the_whole(
    kind: str, output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_images: list[object]
) -> None:
    monkeypatch.setattr(row_resizing, "VALUES", 500)
    write_raster(sample(kind), tmp_path / "in.tif")
    rows, whole = both(pysr.load("bicubic", 2), tmp_path / "in.tif", tmp_path / "out.tif", monkeypatch, output)
    assert (rows.size, rows.mode, whole_images) == (whole.size, whole.mode, [])
    assert np.array_equal(rows.pixels, whole.pixels)


def test_a_palette_with_transparent_colours_is_resized_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.fromarray(noise((45, 38)) % 16, "P")  # no pixel is fully transparent, until bicubic undershoots
    image.putpalette(noise((16, 3)).tobytes())
    image.save(tmp_path / "in.png", transparency=bytes([1] * 8 + [255] * 8))
    up = pysr.load("bicubic", 2)
    rows, whole = both(up, tmp_path / "in.png", tmp_path / "out.png", monkeypatch, Output(size=1.5))
    assert np.array_equal(rows.pixels, whole.pixels)
