"""Strips of TIFF files that declare more than they can hold."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from crowded_files import directory
from PIL import Image

from pysr.errors import InputError
from pysr.files import read_raster
from pysr.files.jpeg2000 import least_bytes
from pysr.files.tiff_coded import declared_size, is_cut_off

imagecodecs = pytest.importorskip("imagecodecs")

GRAY, RGB = np.full((300, 200), 9, np.uint8), np.full((300, 200, 3), 9, np.uint8)
HUGE = np.zeros((2000, 2000), np.uint8)
NOISE = np.random.default_rng(0).integers(0, 255, RGB.shape, np.uint8)
CODERS: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "jpeg": (7, imagecodecs.jpeg_encode),
    "jpeg-2000": (34712, imagecodecs.jpeg2k_encode),
    "jpeg-2000-codestream": (33005, lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="J2K")),
    "jpeg-xl": (50002, imagecodecs.jpegxl_encode),
    "jpeg-xl-in-boxes": (50002, lambda pixels: imagecodecs.jpegxl_encode(pixels, usecontainer=True)),
    "jpeg-xr": (34934, imagecodecs.jpegxr_encode),
    "lerc": (34887, imagecodecs.lerc_encode),
    "png": (34933, imagecodecs.png_encode),
    "webp": (50001, lambda pixels: imagecodecs.webp_encode(np.dstack([pixels] * 3), lossless=True)),
}


def tiff(strip: bytes, compression: int, samples: int, side: int = 4) -> bytes:
    entries = [(256, side), (257, side), (258, 8), (259, compression), (262, 2 if samples == 3 else 1)]
    entries += [(273, 122), (277, samples), (278, side), (279, len(strip))]
    return b"II*\0\x08\0\0\0" + directory(*((tag, 4, 1, value) for tag, value in entries)) + strip


@pytest.mark.parametrize("kind", CODERS)
def test_a_strip_that_declares_to_be_huge_is_refused(kind: str) -> None:
    compression, encode = CODERS[kind]
    strip = encode(HUGE)
    assert len(strip) < 60_000
    with pytest.raises(InputError, match=r"of 4 x 4 pixels holds 2000 x 2000; use another copy"):
        read_raster(io.BytesIO(tiff(strip, compression, 3 if kind == "webp" else 1)))


@pytest.mark.parametrize("kind", CODERS)
def test_a_strip_of_its_size_is_read(kind: str) -> None:
    compression, encode = CODERS[kind]
    strip = encode(GRAY)
    assert declared_size(strip, compression) == (200, 300)
    width, height = declared_size(strip[:3], compression) or (0, 0)
    assert width * height < 100
    small = encode(np.full((32, 32), 9, np.uint8))
    read = read_raster(io.BytesIO(tiff(small, compression, 3 if kind == "webp" else 1, side=32)))
    assert np.abs(read.pixels.astype(int) - 9).max() <= 1


def test_data_that_begin_otherwise_declare_nothing() -> None:
    strip = zlib.compress(imagecodecs.lerc_encode(np.full((4, 4), 9, np.uint8)))
    assert declared_size(strip, 34887) is None
    assert declared_size(b"II*\0" + strip, 34934) is None


@pytest.mark.parametrize(
    "made",
    [
        lambda: imagecodecs.webp_encode(NOISE, level=50, lossless=False),
        lambda: imagecodecs.webp_encode(np.dstack([NOISE, NOISE[..., :1]]), level=50, lossless=False),
    ],
    ids=["lossy", "alpha"],
)
def test_every_header_of_webp_tells_its_size(made: Callable[[], bytes]) -> None:
    assert declared_size(made(), 50001) == (200, 300)


@pytest.mark.parametrize("sides", [(64, 64), (64, 128), (61, 9001), (300, 200), (8, 16), (700, 1)])
def test_every_header_of_jpeg_xl_tells_its_size(sides: tuple[int, int]) -> None:
    assert declared_size(imagecodecs.jpegxl_encode(np.zeros(sides, np.uint8)), 50002) == sides[::-1]


@pytest.mark.parametrize("kind", CODERS)
def test_a_strip_that_is_cut_off_is_refused(kind: str) -> None:
    """The decoders of JPEG and JPEG XR make up the rest without a word."""
    compression, encode = CODERS[kind]
    strip, samples = encode(NOISE[:256, :, 0].repeat(2, 1)[:, :256]), 3 if kind == "webp" else 1
    read_raster(io.BytesIO(tiff(strip, compression, samples, side=256)))
    for part in (0.3, 0.9, 0.99):
        with pytest.raises(InputError, match="incomplete"):
            read_raster(io.BytesIO(tiff(strip[: int(part * len(strip))], compression, samples, side=256)))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_strip_of_jpeg_without_its_end_marker_is_read(progressive: bool) -> None:
    file = io.BytesIO()
    Image.fromarray(NOISE[:32, :32, 0]).save(file, "JPEG", progressive=progressive)
    strip = file.getvalue()
    whole = read_raster(io.BytesIO(tiff(strip, 7, 1, side=32))).pixels
    for end in (b"", b"\xff", b"\xff\xd9\0\0"):
        read = read_raster(io.BytesIO(tiff(strip[:-2] + end, 7, 1, side=32))).pixels
        assert np.array_equal(read, whole)
    if progressive:
        with pytest.raises(InputError, match="is incomplete"):
            read_raster(io.BytesIO(tiff(strip[: strip.rindex(b"\xff\xda")], 7, 1, side=32)))


def test_tiles_that_a_strip_has_no_bytes_for_are_refused() -> None:
    """OpenJPEG takes memory for each, and leaves black what it does not find."""
    strip = bytearray(imagecodecs.jpeg2k_encode(np.zeros((256, 256), np.uint8), codecformat="J2K"))
    struct.pack_into(">II", strip, 24, 2, 1)
    with pytest.raises(InputError, match=r"a strip or tile has \d+ bytes, and its parts need 458752"):
        read_raster(io.BytesIO(tiff(bytes(strip), 34712, 1, side=256)))


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def test_what_stands_beside_the_codestream_declares_nothing() -> None:
    other = box(b"uuid", bytes(16) + imagecodecs.jpeg2k_encode(HUGE, codecformat="J2K")[:60] + b"\xff\x0a\xff\xff")
    jp2 = imagecodecs.jpeg2k_encode(GRAY)
    at = jp2.index(b"jp2c") - 4
    assert declared_size(jp2[:at] + other + jp2[at:], 34712) == (200, 300)
    jxl = imagecodecs.jpegxl_encode(GRAY, usecontainer=True)
    at = jxl.index(b"jxlc") - 4
    assert declared_size(jxl[:at] + other + jxl[at:], 50002) == (200, 300)
    parts = jxl[:at] + box(b"jxlp", bytes(4) + jxl[at + 8 :])
    assert declared_size(parts, 50002) == (200, 300)
    assert declared_size(jxl[:at], 50002) is None


def test_a_crowd_of_segments_hides_no_size() -> None:
    jpeg = imagecodecs.jpeg_encode(HUGE)
    crowd = jpeg[:2] + b"\xff\xfe\0\2" * 20_000 + jpeg[2:]
    with pytest.raises(InputError, match="over 10000 segments"):
        read_raster(io.BytesIO(tiff(crowd, 7, 1)))


def test_not_a_number_is_not_taken_for_what_is_missing() -> None:
    pixels = np.full((32, 32), 0.5, np.float32)
    pixels[3, 4] = np.nan
    strip = imagecodecs.jpegxr_encode(pixels)
    assert not is_cut_off(strip, 34934, imagecodecs.jpegxr_decode, imagecodecs.jpegxr_decode(strip))


def test_a_comment_makes_no_jpeg_progressive() -> None:
    strip = imagecodecs.jpeg_encode(GRAY)[:-2]
    strip = strip[:2] + b"\xff\xfe\0\x04\xff\xc2" + strip[2:]
    assert not is_cut_off(strip, 7, imagecodecs.jpeg_decode, imagecodecs.jpeg_decode(strip))


def test_channels_of_fewer_samples_count_for_no_precincts() -> None:
    strip = bytearray(imagecodecs.jpeg2k_encode(np.zeros((256, 256, 3), np.uint8), codecformat="J2K"))
    at = strip.index(b"\xff\x52")  # COD: its length, style, four bytes, and the number of levels
    sizes = b"\x44" * (strip[at + 9] + 1)  # of precincts: 16 x 16 at each level
    strip[at + 14 : at + 14] = sizes
    strip[at + 3] += len(sizes)
    strip[at + 4] |= 1
    full = least_bytes(bytes(strip))
    strip[46:48] = strip[49:51] = b"\2\2"  # XRsiz and YRsiz of the second and third
    least = least_bytes(bytes(strip))
    assert full - 14 == 3 * (least - 14) > 0  # but for the segments of the one tile
