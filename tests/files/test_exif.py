"""What photographs say about themselves is kept, and says that they are upright."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from image_samples import EXIF_IFD, FORMATS, MAKE, ORIENTATION, TAKEN, THUMBNAIL_LENGTH
from PIL import Image, PngImagePlugin

from pysr.files import read_image, write_image


def make_image() -> Image.Image:
    return Image.linear_gradient("L").resize((12, 8)).convert("RGB")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF"])
def test_profile_exif_xmp_and_resolution_are_kept(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[MAKE] = "Camera & Söhne".encode()
    exif[EXIF_IFD] = {TAKEN: "2020:02:03 04:05:06"}
    exif[0x0100], exif[0x0103], exif[0x0102] = 9999, 7, 3  # what only belongs to the file it came from
    image = make_image()
    profile = bytes(range(256)) * 700
    image.info.update(icc_profile=profile, exif=exif.tobytes(), xmp=b"<x:xmpmeta/>", dpi=(240.0, 240.0))
    path = tmp_path / f"a{FORMATS[kind]}"
    write_image(image, path)
    result = read_image(path)
    assert result.size == image.size
    assert result.info["icc_profile"] == profile
    assert result.getexif()[MAKE].encode("latin-1").decode() == "Camera & Söhne"
    assert result.info["xmp"].startswith(b"<x:xmpmeta/>")
    assert result.getexif().get_ifd(EXIF_IFD)[TAKEN] == "2020:02:03 04:05:06"
    assert kind in ("WEBP", "AVIF") or abs(result.info["dpi"][0] - 240) < 0.1


def test_what_a_format_cannot_hold_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = make_image()
    image.info.update(icc_profile=b"p" * 200, exif=b"Exif\0\0" + b"x" * 70_000)
    write_image(image, tmp_path / "a.bmp")
    assert "colour profile" in caplog.text
    assert "EXIF" in caplog.text
    caplog.clear()
    write_image(image, tmp_path / "a.jpg")
    assert "EXIF" in caplog.text
    assert "colour profile" not in caplog.text
    assert read_image(tmp_path / "a.jpg").info["icc_profile"] == b"p" * 200


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_metadata_do_not_cost_the_image(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    image = make_image()
    image.info.update(exif=b"Exif\0\0nonsense", dpi=(float("nan"), 0), comment=7, icc_profile=b"no profile")
    write_image(image, tmp_path / f"a{FORMATS[kind]}")
    assert read_image(tmp_path / f"a{FORMATS[kind]}").size == image.size
    assert kind not in ("PNG", "JPEG", "WEBP", "AVIF") or "EXIF" in caplog.text


STORED_AS = {  # how a camera with this orientation has turned what is upright
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_come_out_upright(tmp_path: Path, kind: str, orientation: int, order: str) -> None:
    upright = np.kron(np.array([[40, 90, 140], [190, 240, 15]]), np.ones((16, 16)))[..., None].repeat(3, 2)
    stored = Image.fromarray(np.ascontiguousarray(STORED_AS[orientation](upright)).astype(np.uint8))
    exif = Image.Exif()
    exif.endian = order
    exif[ORIENTATION], exif[MAKE] = orientation, "Camera"
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind in ("JPEG", "AVIF") else {}
    stored.save(tmp_path / "a", kind, exif=exif, **lossless)
    image = read_image(tmp_path / "a")
    assert image.size == (48, 32)
    assert np.abs(np.asarray(image, int) - upright).max() <= 2
    assert image.getexif().get(ORIENTATION, 1) == 1
    assert image.getexif()[MAKE] == "Camera"
    write_image(image, tmp_path / f"b{FORMATS[kind]}")
    again = read_image(tmp_path / f"b{FORMATS[kind]}")
    assert again.size == (48, 32)
    assert again.getexif()[MAKE] == "Camera"


def test_a_turned_image_loses_only_its_turned_thumbnail(tmp_path: Path) -> None:
    maker = struct.pack("<HHII", 0x927C, 7, 20, 8 + 2 + 24 + 4)
    turn = struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0)
    exif = (
        b"Exif\0\0II*\0\x08\0\0\0"
        + struct.pack("<H", 2)
        + turn
        + maker
        + struct.pack("<I", 58)
        + b"keep these 20 bytes."
    )
    exif += struct.pack("<HHHIII", 1, THUMBNAIL_LENGTH, 4, 1, 9, 0)
    make_image().save(tmp_path / "a.jpg", exif=exif)
    kept = read_image(tmp_path / "a.jpg").info["exif"]
    changed = [i for i, (a, b) in enumerate(zip(exif, kept, strict=True)) if a != b]
    assert changed == [exif.index(turn) + 8, exif.index(b"keep") - 4]
    assert b"keep these 20 bytes." in kept


def test_orientation_in_xmp_alone_is_applied_once(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<rdf tiff:Orientation="6"/>')
    make_image().save(tmp_path / "a.png", pnginfo=info)
    image = read_image(tmp_path / "a.png")
    assert image.size == (8, 12)
    write_image(image, tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").size == (8, 12)
