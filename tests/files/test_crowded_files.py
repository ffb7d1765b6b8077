"""Files with crowds of parts, or with parts that unpack to much, take little more than their length is worth."""

import gc
import io
import resource
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from crowded_files import crowded_files, directory
from image_samples import encoded, make_image
from metadata_samples import RDF, chunk, convert, jpeg_with, packet, png_with, read, segment, sized, write
from PIL import Image, JpegImagePlugin
from torture.hostile import LONGEST, slowness

from pysr.errors import InputError, PysrError
from pysr.files import read_raster, write_raster
from pysr.files.compression import compression_of
from pysr.files.metadata import Metadata, stripped
from pysr.files.metadata.exif_update import update_exif
from pysr.files.metadata.geometry import Geometry
from pysr.files.metadata.model import MOST_PIECES
from pysr.files.metadata.tags import SHORT, Tag, pack_block
from pysr.files.original import without_note


@pytest.fixture
def only_own_garbage() -> Iterator[None]:
    """What other tests hold is not gone through again and again."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.slow
def test_each_is_read_and_written_in_good_time(tmp_path: Path, only_own_garbage: None) -> None:
    for name, data in crowded_files():
        source = tmp_path / name.partition(",")[0]
        source.write_bytes(data)
        times = [time.process_time()]
        with suppress(PysrError):
            compression_of(source)
            raster = read_raster(source)
            times.append(time.process_time())
            for ending in (".png", ".jpg", ".tif"):
                write_raster(raster, (tmp_path / "written").with_suffix(ending))
                times.append(time.process_time())
        times.append(time.process_time())
        assert max(end - start for start, end in pairwise(times)) < LONGEST * slowness(), name
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
    (tmp_path / "a.jpg").write_bytes(jpeg_with(segment(0xFE, b"") * 10_001))
    with pytest.raises(InputError, match=r"over 10000 segments before its pixels.*use another copy"):
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


def test_a_large_packet_that_is_sound_keeps_all_but_the_position() -> None:
    names = 'xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="1,2N" xmlns:dc="d"'
    xmp = packet(names, f"<dc:a><rdf:Seq>{'<rdf:li>x</rdf:li>' * 70_000}</rdf:Seq></dc:a>")
    kept = stripped(sized(Metadata(xmp=xmp), 12, 8), "gps").xmp
    assert b"GPS" not in kept
    assert len(kept) > len(xmp) - 40
    result, changes = convert(write(Metadata(xmp=xmp), "PNG"), "PNG", "JPEG")
    assert read(result, "JPEG").xmp.count(b"<rdf:li>") == 70_000
    assert not changes.dropped


def test_a_packet_that_is_too_large_or_damaged_is_not_dropped_without_a_word() -> None:
    large = packet("", "<b/>" * 2**19)
    assert "XMP (its 2097" in convert(write(Metadata(xmp=large), "PNG"), "PNG", "PNG")[1].warning
    assert str(Metadata.from_info({"xmp": large}).lost[0]).startswith("XMP (its 2097")
    damaged = stripped(sized(Metadata(xmp=b"<x exif:GPSLatitude='1'>"), 12, 8), "gps")
    assert damaged.xmp == b""
    assert "damaged, and mentions GPS" in str(damaged.lost[0])


@pytest.mark.parametrize("ending", [".tif", ".png", ".jpg"])
def test_exif_whose_values_lie_over_each_other_is_kept_or_named(tmp_path: Path, ending: str) -> None:
    few = b"II*\0\x08\0\0\0" + directory((271, 2, 30, 8), (305, 2, 30, 8))
    write_raster(read_raster(io.BytesIO(jpeg_with(segment(0xE1, b"Exif\0\0" + few)))), tmp_path / f"a{ending}")
    assert read_raster(tmp_path / f"a{ending}").metadata.exif
    many = b"II*\0\x08\0\0\0" + directory(*((269 + i, 2, 50_000, 8) for i in range(40))) + bytes(50_000)
    source = jpeg_with(segment(0xE1, b"Exif\0\0" + many))
    write_raster(read_raster(io.BytesIO(source)), tmp_path / f"b{ending}")
    assert read_raster(tmp_path / f"b{ending}").metadata.exif or "EXIF" in convert(source, "JPEG", "TIFF")[1].warning


@pytest.mark.parametrize(
    "tags", [((254, 11, 1, 0x7F800000), (259, 3, 1, 1)), ((254, 4, 1, 0), (259, 11, 1, 0x7FC00000))]
)
def test_numbers_that_are_none_tell_of_no_compression(tags: tuple[tuple[int, int, int, int], ...]) -> None:
    assert not compression_of(io.BytesIO(b"II*\0\x08\0\0\0" + directory(*tags))).lossy


def test_each_way_to_lose_by_tiff_has_its_name() -> None:
    for number, name in ((7, "JPEG"), (34712, "JPEG 2000"), (50001, "WebP")):
        made = compression_of(io.BytesIO(b"II*\0\x08\0\0\0" + directory((259, 3, 1, number))))
        assert (made.lossy, made.name) == (True, f"TIFF with {name} inside")


def huge_jpeg() -> bytes:
    """A small file that declares 20,000 x 20,000 pixels."""
    data = encoded(make_image("L", 16, 16), "JPEG", progressive=True)
    return data.replace(struct.pack(">HH", 16, 16), struct.pack(">HH", 20_000, 20_000), 1)


def test_a_thumbnail_that_declares_to_be_huge_is_dropped() -> None:
    thumbnail = huge_jpeg()
    first = directory((274, 3, 1, 6), next=26)
    exif = b"II*\0\x08\0\0\0" + first + directory((513, 4, 1, 56), (514, 4, 1, len(thumbnail))) + thumbnail
    _, changed, dropped = update_exif(exif, Geometry((12, 8), (24, 16), 6))
    assert "thumbnail" in dropped
    assert "thumbnail" not in changed


def test_a_note_beside_an_empty_description_leaves_the_others() -> None:
    start = f'<rdf:RDF {RDF}><rdf:Description rdf:about=""><dc:title xmlns:dc="d">x</dc:title></rdf:Description>'
    note = '<rdf:Description xmlns:pysr="urn:pysr:1.0#" pysr:Width="24" pysr:Height="16" pysr:Scale="2"/></rdf:RDF>'
    assert without_note(f"{start}{note}".encode()) == f"{start}</rdf:RDF>".encode()
