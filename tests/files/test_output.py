import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_samples import encoded, make_image
from PIL import Image

from pysr import Output
from pysr.errors import InputError
from pysr.files import Raster, read_image, write_image, write_raster
from pysr.files.formats import format_of_ending
from pysr.files.output import TargetSize
from pysr.files.streams import buffered, name_of


@pytest.mark.parametrize(
    ("size", "before", "after"),
    [
        (TargetSize(1.5), (3, 5), (5, 8)),
        (TargetSize(Fraction(1, 10)), (3, 30), (1, 3)),
        (TargetSize(width=100), (30, 20), (100, 67)),
        (TargetSize(height=100), (30, 20), (150, 100)),
        (TargetSize(width=90, height=90), (30, 20), (90, 60)),
        (TargetSize(width=90, height=90, fit="inside"), (30, 20), (90, 60)),
        (TargetSize(width=90, height=90, fit="outside"), (30, 20), (135, 90)),
        (TargetSize(width=90, height=90, fit="fill"), (30, 20), (90, 90)),
    ],
)
def test_sizes(size: TargetSize, before: tuple[int, int], after: tuple[int, int]) -> None:
    assert size.of(before) == after


def test_the_model_enlarges_by_the_next_larger_scale() -> None:
    offered = (4, 2, 3)
    assert TargetSize(1.5).model_scale((9, 9), offered) == 2
    assert TargetSize(width=20, height=31, fit="fill").model_scale((10, 10), offered) == 4
    assert TargetSize(width=9).model_scale((9, 9), offered) is None
    with pytest.raises(InputError, match=r"4\.1 times as large, and the largest scale here is 4"):
        TargetSize(4.1).model_scale((10, 10), offered)
    with pytest.raises(InputError, match="no scale with weights"):
        TargetSize(1.5).model_scale((10, 10), ())


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "a target size is empty"),
        ({"fit": "fill"}, "fit needs a width and a height"),
        ({"fit": "fill", "width": 3}, "give both"),
        ({"fit": "cover", "width": 3, "height": 3}, "it can be inside, outside, fill"),
        ({"scale": 1.5, "width": 3}, "only one of them"),
        ({"width": 0}, "is positive"),
        ({"scale": float("nan")}, "is positive"),
    ],
)
def test_sizes_that_contradict_themselves(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TargetSize(**choices)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"quality": 0}, "1 to 100"),
        ({"quality": 90, "lossless": True}, "only one of them"),
        ({"compression": 10}, "compression is 10; it can be"),
        ({"compression": "zip"}, "compression is 'zip'"),
        ({"background": "blurple"}, "give the name of a colour"),
        ({"background": "#ffffff00"}, "transparent itself"),
        ({"format": "psd"}, "cannot write the format 'psd'"),
        ({"format": "png", "quality": 90}, "PNG loses nothing"),
        ({"format": "jpg", "lossless": True}, "JPEG cannot be written without losses"),
        ({"format": "tif", "compression": 9}, "can be none, lzw, deflate, packbits"),
        ({"format": "bmp", "compression": 9}, "no compression to choose"),
        ({"format": "png", "in_place": True}, "keeps its format"),
        ({"size": (None, None)}, "a target size is empty"),
        ({"size": 1.5, "fit": "fill"}, "give both"),
        ({"fit": "fill"}, "fit needs a width and a height"),
    ],
)
def test_outputs_that_contradict_themselves(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Output(**choices)


def test_a_compression_that_takes_a_missing_library_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.files.tiff_writer.find_spec", lambda name: None)
    with pytest.raises(InputError, match="or choose deflate"):
        Output(compression="lzw")
    Output(compression="deflate")


def written(ending: str, image: Image.Image | None = None, **choices: Any) -> bytes:
    stream = io.BytesIO()
    stream.name = f"a{ending}"
    write_raster(Raster.from_pil(image or make_image("RGB", 64, 48)), stream, output=Output(**choices))
    return stream.getvalue()


def test_webp_can_lose_nothing() -> None:
    assert read_image(io.BytesIO(written(".webp", lossless=True))).tobytes() == make_image("RGB", 64, 48).tobytes()


def test_compression_changes_the_bytes_and_no_pixel() -> None:
    png = [written(".png", compression=level) for level in (0, 1, 9)]
    assert len(png[0]) > len(png[1]) > len(png[2])
    tiff = [written(".tif", compression=name) for name in ("none", "packbits", "lzw", "deflate")]
    assert len(tiff[0]) > 2 * len(tiff[2])
    assert written(".tif") == tiff[3]
    for data in (*png, *tiff):
        assert read_image(io.BytesIO(data)).tobytes() == make_image("RGB", 64, 48).tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("compression", ["none", "lzw", "deflate"])
def test_compressed_tiff_keeps_exif_and_gps(mode: str, compression: str) -> None:
    exif = Image.Exif()
    exif[271] = "Cam"
    exif[0x8769] = {0x9003: "2020:01:02 03:04:05", 0x829A: 0.5, 0x927C: b"maker"}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.5)}
    image = make_image(mode)
    image.info["exif"] = exif.tobytes()
    data = written(".tif", image, compression=compression)
    with Image.open(io.BytesIO(data)) as read:
        assert read.getexif()[271] == "Cam"
        assert read.getexif().get_ifd(0x8769) == {0x9003: "2020:01:02 03:04:05", 0x829A: 0.5, 0x927C: b"maker"}
        assert read.getexif().get_ifd(0x8825) == {1: "N", 2: (1.0, 2.0, 3.5)}
        assert read.tobytes() == make_image(mode).tobytes()


# --- open files ---


class Pipe(io.RawIOBase):
    """A stream that can be neither rewound nor asked for its name."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readable(self) -> bool:
        return True

    def readall(self) -> bytes:
        data, self._data = self._data, b""
        return data


def test_open_files_and_pipes_are_read(tmp_path: Path) -> None:
    data = encoded(make_image(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    with (tmp_path / "a.png").open("rb") as file:
        assert name_of(file) == str(tmp_path / "a.png")
        assert read_image(file).tobytes() == make_image().tobytes()
    assert read_image(Pipe(data)).tobytes() == make_image().tobytes()
    twice = buffered(io.BytesIO(data))
    assert [read_image(twice).size for _ in range(2)] == [(12, 8)] * 2
    with pytest.raises(InputError, match=r"'<BytesIO>' is not an image"):
        read_image(io.BytesIO(b"no image"))
    with pytest.raises(InputError, match="open it in binary mode"):
        read_image(io.StringIO("text"))
    with (tmp_path / "b").open("wb") as file, pytest.raises(InputError, match="cannot be read"):
        read_image(file)
    stream = io.BytesIO(b"before" + data)
    stream.seek(6)
    assert [read_image(stream).size for _ in range(2)] == [(12, 8)] * 2  # it is left where it was
    with pytest.raises(InputError, match="not as int"):
        read_image(7)


@pytest.mark.parametrize("stream", [io.StringIO(), io.BytesIO()])
def test_streams_that_take_no_bytes(stream: Any) -> None:
    if isinstance(stream, io.BytesIO):
        stream.close()
    with pytest.raises(InputError, match="could not be written"):
        write_raster(Raster.from_pil(make_image()), stream, kind=format_of_ending("png"))


def test_a_time_of_change_is_kept(tmp_path: Path) -> None:
    write_raster(Raster.from_pil(make_image()), tmp_path / "a.png", modified=1_000_000_000_123_456_789)
    assert (tmp_path / "a.png").stat().st_mtime_ns == 1_000_000_000_123_456_789
    write_image(make_image(), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_mtime > 1_600_000_000


def test_pixels_of_16_bits_survive_the_predictor() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (20, 30), np.uint16)
    assert np.array_equal(np.asarray(read_image(io.BytesIO(written(".tif", Image.fromarray(values))))), values)
