"""Animated files: frames, timing, disposal and loops; and TIFF files of several pages."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import pysr
from pysr import Output
from pysr.errors import InputError
from pysr.files import read_raster, write_raster
from pysr.files.frames import count_frames, read_animation
from pysr.files.streams import InMemory
from pysr.files.tiff_pages import join_pages, read_pages

COLOURS = ((200, 30, 40), (10, 180, 90), (60, 70, 220))
DURATIONS = [40, 120, 300]


def animated(path: Path, *, alpha: bool = False, **options: Any) -> Path:
    """Three frames of 12 x 8 pixels: a square moves over another colour each time, or over nothing."""
    frames = []
    for number, colour in enumerate(COLOURS):
        frame = np.zeros((8, 12, 4), np.uint8)
        frame[...] = (0, 0, 0, 0) if alpha else (*colour[::-1], 255)
        frame[2:6, 4 * number : 4 * number + 4] = (*colour, 255)
        if alpha:
            frame[3:5, 4 * number + 1] = 0  # a hole
        frames.append(Image.fromarray(frame if alpha else frame[..., :3]))
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    clear = {"disposal": 2} if alpha and path.suffix == ".gif" else {}
    options = {"loop": 0} | lossless | clear | options
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=DURATIONS, **options)
    return path


@pytest.fixture(scope="module")
def nearest() -> pysr.Upscaler:
    return pysr.load("nearest", scale=2)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("target", [".gif", ".png", ".webp"])
@pytest.mark.parametrize("source", [".gif", ".png", ".webp"])
def test_all_frames_are_upscaled_with_their_timing(
    source: str, target: str, alpha: bool, nearest: pysr.Upscaler, tmp_path: Path
) -> None:
    path, made = animated(tmp_path / f"in{source}", alpha=alpha), tmp_path / f"out{target}"
    assert nearest.upscale_file(path, made).size == (24, 16)
    before, after = read_animation(path), read_animation(made)
    assert list(after.durations) == list(before.durations) == DURATIONS
    assert before.plays == after.plays == 0
    exact = target != ".webp" or source == ".webp"  # which loses nothing where nothing was lost before
    for small, large in zip(before.frames, after.frames, strict=True):
        assert small.has_alpha == large.has_alpha == alpha
        wanted, found = nearest.upscale(small.pixels).astype(int), large.pixels.astype(int)
        if alpha and target == ".gif":  # a pixel is transparent or not
            wanted[..., 3] = np.where(wanted[..., 3] < 128, 0, 255)
        visible = wanted[..., 3:] > 0 if alpha else True
        error = np.abs(wanted - found) * visible
        assert error.max() == 0 if exact else error.mean() < 8
        if alpha:
            assert (wanted[..., 3] == found[..., 3]).all()


@pytest.mark.parametrize("target", [".gif", ".png", ".webp"])
@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (3, 4)])
def test_loops_are_kept(target: str, loop: int | None, plays: int, nearest: pysr.Upscaler, tmp_path: Path) -> None:
    path = animated(tmp_path / "in.gif", loop=loop)
    nearest.upscale_file(path, tmp_path / f"out{target}")
    assert read_animation(path).plays == read_animation(tmp_path / f"out{target}").plays == plays


def test_one_frame_can_be_chosen(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    path = animated(tmp_path / "in.gif")
    nearest.upscale_file(path, tmp_path / "out.png", output=Output(frame=1))
    assert count_frames(tmp_path / "out.png") == ("PNG", 1)
    with Image.open(tmp_path / "out.png") as image:
        assert image.getpixel((10, 6)) == COLOURS[1]
    with pytest.raises(InputError, match="has the frames 0 to 2, not 3"):
        nearest.upscale_file(path, tmp_path / "out.png", output=Output(frame=3))


def test_an_image_that_is_not_of_the_animation_is_left_out(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    path = animated(tmp_path / "in.png", default_image=True)
    assert count_frames(path) == ("PNG", 2)
    nearest.upscale_file(path, tmp_path / "out.gif")
    assert list(read_animation(tmp_path / "out.gif").durations) == DURATIONS[:2]


def test_progress_goes_on_over_all_frames(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = animated(tmp_path / "in.gif")
    nearest.upscale_file(path, tmp_path / "out.webp", progress=lambda *now: seen.append(now))
    assert [done / total for done, total in seen] == pytest.approx([1 / 3, 2 / 3, 1])


def test_formats_without_frames_get_the_first_and_a_warning(
    nearest: pysr.Upscaler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nearest.upscale_file(animated(tmp_path / "in.webp"), tmp_path / "out.jpg")
    assert "several images; only the first is used" in caplog.text


def test_an_animation_is_not_overwritten(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    path = animated(tmp_path / "in.gif")
    with pytest.raises(InputError, match="would be overwritten"):
        nearest.upscale_file(path, path)


@pytest.mark.parametrize("name", [b"acTL", b"fcTL"])
def test_damage_of_what_tells_of_frames_costs_no_image(name: bytes, nearest: pysr.Upscaler, tmp_path: Path) -> None:
    path = animated(tmp_path / "in.png")
    data = bytearray(path.read_bytes())
    data[data.index(name) + 4] ^= 1
    path.write_bytes(data)
    report = nearest.upscale_file(path, tmp_path / "out.png")
    assert [note.what for note in report.dropped] == ["animation"]
    assert count_frames(tmp_path / "out.png") == ("PNG", 1)


def test_metadata_are_kept_beside_the_frames(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[315] = "Ann"
    path = animated(tmp_path / "in.webp", exif=exif)
    for target in ("out.png", "out.webp"):
        report = nearest.upscale_file(path, tmp_path / target)
        with Image.open(tmp_path / target) as image:
            assert image.getexif()[315] == "Ann"
        assert "EXIF" in report.kept
        assert count_frames(tmp_path / target)[1] == 3


def test_bytes_go_in_and_out(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    result = io.BytesIO()
    nearest.upscale_file(io.BytesIO(animated(tmp_path / "in.gif").read_bytes()), result)
    result.seek(0)
    assert count_frames(result) == ("GIF", 3)


def pages(path: Path, dtype: str = "uint8") -> list[Any]:
    rng = np.random.default_rng(0)
    white = 255 if dtype == "uint8" else 65535
    shapes = [(6, 5, 3), (4, 9), (7, 3, 3)]
    arrays = [rng.integers(0, white + 1, shape).astype(dtype) for shape in shapes]
    thumbnail = np.zeros((2, 2, 3), dtype)
    with tifffile.TiffWriter(path) as file:
        file.write(thumbnail, subfiletype=1, photometric="rgb", metadata=None)
        for array in arrays:
            file.write(array, photometric="rgb" if array.ndim == 3 else "minisblack", metadata=None)
    return arrays


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_all_pages_are_upscaled_and_thumbnails_left_out(dtype: str, nearest: pysr.Upscaler, tmp_path: Path) -> None:
    arrays = pages(tmp_path / "in.tif", dtype)
    report = nearest.upscale_file(tmp_path / "in.tif", tmp_path / "out.tif")
    assert (report.size, report.warnings) == ((10, 12), ())
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert len(file.pages) == 3
        for page, array in zip(file.pages, arrays, strict=True):
            assert (page.asarray() == nearest.upscale(array)).all()


def test_one_page_can_be_chosen(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    arrays = pages(tmp_path / "in.tif")
    nearest.upscale_file(tmp_path / "in.tif", tmp_path / "out.png", output=Output(frame=2))
    assert (read_raster(tmp_path / "out.png").pixels == nearest.upscale(arrays[2])).all()
    with pytest.raises(InputError, match="has the pages 0 to 2, not 3"):
        nearest.upscale_file(tmp_path / "in.tif", tmp_path / "out.png", output=Output(frame=3))


@pytest.mark.parametrize("by_pillow", [False, True])
def test_pages_are_not_gone_through_anew_for_each(by_pillow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if by_pillow:
        monkeypatch.setattr("pysr.files.tiff_choice.find_spec", lambda name: None)
    taken = 0  # calls, and bytes

    class Counting(InMemory):
        def read(self, *arguments: Any) -> bytes:
            nonlocal taken
            data = super().read(*arguments)
            taken += 1 if by_pillow else 1 + len(data)  # Pillow reads ahead, a constant number of bytes
            return data

    def taken_for(count: int) -> int:
        nonlocal taken
        file = io.BytesIO()
        images = [Image.new("L", (3, 2), number) for number in range(count)]
        images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
        taken = 0
        found = list(read_pages(Counting(file.getvalue(), "a.tif")))
        assert [page.pixels[0, 0] for page in found] == list(range(count))
        return taken

    assert taken_for(80) <= 2.1 * taken_for(40)


def test_pages_keep_their_metadata(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[315] = "Ann"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + b"a comment that is long"
    files = []
    for colour in ("red", "blue"):
        Image.new("RGB", (5, 4), colour).save(tmp_path / "one.png", exif=exif)
        write_raster(read_raster(tmp_path / "one.png"), tmp_path / "one.tif")
        files.append((tmp_path / "one.tif").read_bytes())
    with (tmp_path / "in.tif").open("wb") as file:
        join_pages(files, file)
    nearest.upscale_file(tmp_path / "in.tif", tmp_path / "out.tif")
    for path in (tmp_path / "in.tif", tmp_path / "out.tif"):
        with Image.open(path) as image:
            for number, shade in enumerate([(255, 0, 0), (0, 0, 255)]):
                image.seek(number)
                assert image.getexif()[315] == "Ann"
                assert image.getexif().get_ifd(0x8769)[0x9286].endswith(b"a comment that is long")
                assert image.convert("RGB").getpixel((3, 3)) == shade


def test_each_page_keeps_its_own_metadata(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    path, page = tmp_path / "in.tif", np.zeros((4, 6), np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        for name, density in (("one", 150), ("two", 300)):
            options: dict[str, Any] = {"description": name, "resolution": (density, density), "resolutionunit": "INCH"}
            tiff.write(page, metadata=None, extratags=[(34675, 7, 3, name.encode(), True)], **options)
    nearest.upscale_file(path, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        tags = [{tag.name: tag.value for tag in each.tags} for each in file.pages]
    assert [each["ImageDescription"] for each in tags] == ["one", "two"]
    assert [each["InterColorProfile"] for each in tags] == [b"one", b"two"]
    assert [each["XResolution"] for each in tags] == [(150, 1), (300, 1)]


def test_metadata_are_those_of_the_image_not_of_a_thumbnail_before_it(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    with tifffile.TiffWriter(path) as tiff:
        for name, side, kind in (("small", 2, 1), ("large", 6, 0)):
            page = np.zeros((side, side), np.uint8)
            profile = (34675, 7, len(name), name.encode(), True)
            tiff.write(page, description=name, metadata=None, extratags=[profile], subfiletype=kind)
    nearest.upscale_file(path, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (12, 12)
        assert image.getexif()[270] == "large"
        assert image.info["icc_profile"] == b"large"


def test_what_all_pages_lose_is_said_once(nearest: pysr.Upscaler, tmp_path: Path) -> None:
    path, page = tmp_path / "in.tif", np.zeros((4, 6), np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        for _ in range(3):
            tiff.write(page, description='{"shape": [4, 6]}', metadata=None)
    report = nearest.upscale_file(path, tmp_path / "out.tif")
    assert ["ImageDescription" in warning for warning in report.warnings] == [True]
