"""What becomes of an image file is reported: nothing is lost without a word."""

from __future__ import annotations

import io
import json
import logging
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_samples import encoded, make_image
from metadata_samples import RECORDS, chunk, jpeg_with, make_exif, opened, png_with, segment, short
from PIL import Image, PngImagePlugin

import pysr
from pysr.files.metadata.photoshop import wrap_iptc
from pysr.files.metadata.tags import Tag, pack_block
from pysr.upscaling.report import Report, collected_warnings

APP1_EXIF = b"Exif\0\0"


def enlarge(folder: Path, data: bytes, source: str, target: str) -> tuple[Image.Image, Report]:
    (folder / source).write_bytes(data)
    report = pysr.load("nearest", 2).upscale_file(folder / source, folder / target)
    return opened((folder / target).read_bytes()), report


def test_the_report_says_what_was_done(tmp_path: Path) -> None:
    exif = make_exif(t40962=short(12), t40963=short(8))
    data = jpeg_with(segment(0xE1, APP1_EXIF + exif), segment(0xFE, b"hello"))
    image, report = enlarge(tmp_path, data, "a.jpg", "b.webp")
    assert image.getexif()[271] == "Cam"
    assert (report.size, report.model) == ((24, 16), "nearest")
    assert (report.source, report.target) == (str(tmp_path / "a.jpg"), str(tmp_path / "b.webp"))
    assert report.seconds > 0
    assert report.kept == ("EXIF",)
    assert ("EXIF sizes", "made true of the result") in {(note.what, note.reason) for note in report.changed}
    assert [str(note) for note in report.dropped] == ["comment (WebP has no place for it)"]
    assert len(report.warnings) == 1
    assert "comment (WebP has no place for it)" in report.warnings[0]
    told = json.loads(json.dumps(report.as_dict()))
    assert told["dropped"] == [{"what": "comment", "reason": "WebP has no place for it"}]
    assert told["kept"] == ["EXIF"]


@pytest.mark.parametrize("target", ["b.png", "b.jpg", "b.webp", "b.tif", "b.avif"])
def test_an_image_stored_turned_comes_out_upright_in_all_that_it_says(tmp_path: Path, target: str) -> None:
    exif = make_exif(6, t40962=short(12), t40963=short(8))
    image, report = enlarge(tmp_path, jpeg_with(segment(0xE1, APP1_EXIF + exif)), "a.jpg", target)
    assert image.size == report.size == (16, 24)
    assert image.getexif().get(274, 1) == 1
    camera = image.getexif().get_ifd(34665)
    assert (camera[40962], camera[40963]) == (16, 24)
    assert camera[37500] == b"keep these 20 bytes."
    assert pysr.load("nearest", 2).upscale(tmp_path / target).getexif().get_ifd(34665)[40962] == 32


def test_texts_and_colour_chunks_stay_in_png_and_are_missed_in_jpeg(tmp_path: Path) -> None:
    data = png_with(
        chunk(b"gAMA", struct.pack(">I", 100_000)),
        chunk(b"tEXt", b"parameters\0a dog"),
        chunk(b"iTXt", b"Title\0\0\0\0\0" + "Ünïcode".encode()),
    )
    image, report = enlarge(tmp_path, data, "a.png", "b.png")
    assert isinstance(image, PngImagePlugin.PngImageFile)
    assert image.text == {"parameters": "a dog", "Title": "Ünïcode"}
    assert image.info["gamma"] == 1
    assert not report.dropped
    result, report = enlarge(tmp_path, data, "a.png", "b.jpg")
    lost_texts, new_curve = sorted(report.warnings, reverse=True)
    assert all(word in new_curve for word in ("gAMA", "sRGB"))
    assert all(word in lost_texts for word in ('"parameters"', '"Title"'))
    assert [note.what for note in report.changed] == ["gAMA"]
    linear = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).repeat(2, 0).repeat(2, 1) / 255
    encoded_by_srgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    assert abs(np.asarray(result) / 255 - encoded_by_srgb).mean() < 0.02


def test_iptc_goes_from_jpeg_to_tiff_and_back(tmp_path: Path) -> None:
    data = jpeg_with(segment(0xED, b"Photoshop 3.0\0" + wrap_iptc(RECORDS)))
    image, _ = enlarge(tmp_path, data, "a.jpg", "b.tif")
    assert image.getexif()[33723] == RECORDS
    image, report = enlarge(tmp_path, (tmp_path / "b.tif").read_bytes(), "b.tif", "c.jpg")
    assert image.info["photoshop"][0x0404] == RECORDS
    assert not report.warnings


@pytest.mark.parametrize(
    "data",
    [
        png_with(chunk(b"tEXt", b"Title\0x", wrong=True)),
        png_with(chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 2_000_000))),
        encoded(make_image(), "PNG")[:-12] + chunk(b"tEXt", b"Title\0x", wrong=True) + chunk(b"IEND", b""),
    ],
)
def test_a_damaged_or_long_text_does_not_cost_the_image(tmp_path: Path, data: bytes) -> None:
    image, report = enlarge(tmp_path, data, "a.png", "b.png")
    assert image.size == (24, 16)
    assert image.resize((12, 8), Image.Resampling.NEAREST).tobytes() == make_image().tobytes()
    assert len(report.warnings) == len(report.dropped) <= 1


@pytest.mark.parametrize("value", [Tag(2, 2, b"6\0"), Tag(1, 1, b"\6")])
def test_an_orientation_of_another_type_does_not_cost_the_image(tmp_path: Path, value: Tag) -> None:
    data = jpeg_with(segment(0xE1, APP1_EXIF + pack_block({271: Tag(2, 4, b"Cam\0"), 274: value}, "<")))
    image, report = enlarge(tmp_path, data, "a.jpg", "b.tif")
    assert image.getexif()[271] == "Cam"
    assert len(report.warnings) == 1
    assert "Orientation" in report.warnings[0]


def test_warnings_are_printed_where_a_program_has_set_up_no_logging() -> None:
    script = (
        "import logging, sys\n"
        "from pysr.upscaling.report import collected_warnings\n"
        "with collected_warnings() as found:\n"
        "    logging.getLogger('pysr.files').warning('lost')\n"
        "assert found == ['lost'] and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "lost\n"


@pytest.mark.parametrize(("target", "kept"), [("b.jpg", True), ("b.png", True), ("b.tif", True), ("b.bmp", False)])
def test_what_was_done_is_noted_where_there_is_a_place(tmp_path: Path, target: str, kept: bool) -> None:
    make_image().save(tmp_path / "a.png")
    up = pysr.load("nearest", 2)
    report = up.upscale_file(tmp_path / "a.png", tmp_path / target, output=pysr.Output(tag=True))
    image = opened((tmp_path / target).read_bytes())
    done = f"pysr {pysr.__version__}, nearest x2"
    assert image.getexif().get(305) == (done if kept else None)
    assert target != "b.png" or image.info["Software"] == done
    assert bool(report.warnings) == (not kept)


def test_metadata_are_taken_out_as_asked(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_with(segment(0xE1, APP1_EXIF + make_exif()), segment(0xFE, b"hello")))
    up = pysr.load("nearest", 2)
    report = up.upscale_file(tmp_path / "a.jpg", tmp_path / "b.jpg", output=pysr.Output(strip="gps"))
    exif = opened((tmp_path / "b.jpg").read_bytes()).getexif()
    assert (34853 in exif, exif[271]) == (False, "Cam")
    assert ("GPS", "taken out, as asked") in {(note.what, note.reason) for note in report.changed}
    report = up.upscale_file(tmp_path / "a.jpg", tmp_path / "b.jpg", output=pysr.Output(strip="all"))
    image = opened((tmp_path / "b.jpg").read_bytes())
    assert len(image.getexif()) == 0
    assert "comment" not in image.info
    assert image.info["dpi"] == (300, 300)
    assert report.kept == ("resolution",)
    assert not report.warnings
    with pytest.raises(pysr.InputError, match="strip is 'exif'; it can be all, gps"):
        pysr.Output(strip="exif")


def test_a_folder_has_a_report_for_each_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_image().save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    first, second = pysr.load("nearest", 2).upscale_folder(tmp_path / "in", tmp_path / "out")
    assert first.report
    assert first.report.size == first.size == (24, 16)
    assert second.report is None


def test_warnings_of_other_threads_are_theirs(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("pysr.somewhere")
    with collected_warnings() as warnings:
        thread = threading.Thread(target=lambda: logger.warning("theirs"))
        thread.start()
        thread.join()
        logger.warning("%s", "ours")
        logger.info("not so bad")
    logger.warning("later")
    assert warnings == ["ours"]
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == [
        "theirs",
        "ours",
        "later",
    ]
