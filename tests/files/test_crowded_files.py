"""Files with crowds of parts, or with parts that unpack to much, take little more than their length is worth."""

import io
import resource
import time
from contextlib import suppress
from pathlib import Path

import pytest
from crowded_files import crowded_files
from image_samples import encoded, make_image
from metadata_samples import chunk, convert, jpeg_with, packet, png_with, read, segment
from PIL import Image, JpegImagePlugin

from pysr.errors import InputError, PysrError
from pysr.files import read_raster, write_raster
from pysr.files.compression import compression_of
from pysr.files.metadata.model import MOST_PIECES
from pysr.files.metadata.tags import SHORT, Tag, pack_block


def test_each_is_read_and_written_in_good_time(tmp_path: Path) -> None:
    for name, data in crowded_files():
        source = tmp_path / name.partition(",")[0]
        source.write_bytes(data)
        began = time.process_time()
        with suppress(PysrError):
            compression_of(source)
            raster = read_raster(source)
            for ending in (".png", ".jpg"):
                write_raster(raster, (tmp_path / "written").with_suffix(ending))
        assert time.process_time() - began < 2, name
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2**22, "in KiB, of all tests"


def test_of_a_crowd_the_first_are_kept_and_the_rest_is_named() -> None:
    texts = [chunk(b"tEXt", b"t%d\0x" % number) for number in range(MOST_PIECES + 5)]
    result, changes = convert(png_with(*texts), "PNG", "PNG")
    assert [text.keyword for text in read(result, "PNG").text] == [f"t{number}" for number in range(MOST_PIECES)]
    assert "further PNG texts (there are over 1000 of them)" in changes.warning
    comments = [segment(0xFE, b"c%d" % number) for number in range(MOST_PIECES + 5)]
    result, changes = convert(jpeg_with(*comments), "JPEG", "JPEG")
    assert read(result, "JPEG").comments == tuple(b"c%d" % number for number in range(MOST_PIECES))
    assert "further comments" in changes.warning


def test_of_many_losses_a_line_names_a_few() -> None:
    unknown = [chunk(b"x%03d" % number, b"") for number in range(100)]
    _, changes = convert(png_with(*unknown), "PNG", "PNG")
    assert len(changes.dropped) == 100
    assert "PNG chunk x019 and 80 more (it holds" in changes.warning
    _, changes = convert(png_with(*[chunk(b"tEXt", b"a\0b", wrong=True)] * 9), "PNG", "PNG")
    assert changes.warning.count('PNG text "a"') == 1


def test_more_segments_than_any_file_has_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_with(segment(0xFE, b"") * 100_001))
    with pytest.raises(InputError, match=r"over 100000 segments before its pixels.*use another copy"):
        read_raster(tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_as_many_scans_as_encoders_write_are_read(mode: str, progressive: bool) -> None:
    data = encoded(make_image(mode, 40, 30), "JPEG", progressive=progressive)
    assert read_raster(io.BytesIO(data)).pixels.tobytes() == Image.open(io.BytesIO(data)).tobytes()


def test_more_scans_than_any_encoder_writes_are_refused() -> None:
    data = encoded(make_image("L", 40, 30), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    with pytest.raises(InputError, match=r"more scans than any program writes.*use another copy"):
        read_raster(io.BytesIO(data[:start] + data[start:-2] * 300 + data[-2:]))


def test_exif_that_pillow_cannot_read_does_not_cost_a_jpeg() -> None:
    exif = pack_block({282: Tag(1, 1, b"\1"), 296: Tag(SHORT, 1, b"\2\0"), 271: Tag(2, 4, b"Cam\0")}, "<")
    data = jpeg_with(segment(0xE1, b"Exif\0\0" + exif))
    with pytest.raises(SyntaxError, match="index out of range"):
        JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    assert read_raster(io.BytesIO(data)).size == (12, 8)
    assert compression_of(io.BytesIO(data)).quality == 75


def test_numbers_beyond_any_size_stay_as_they_are() -> None:
    names = 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:a-tiff="urn:other"'
    long = "9" * 5000
    xmp = packet(f'{names} tiff:Orientation="{long}" tiff:ImageWidth="12" a-tiff:ImageWidth="12"')
    data = jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp))
    assert read(data, "JPEG").orientation == 1
    found = read(convert(data, "JPEG", "PNG", 2)[0], "PNG").xmp
    assert f'tiff:Orientation="{long}" tiff:ImageWidth="24" a-tiff:ImageWidth="12"'.encode() in found
