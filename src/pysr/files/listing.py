"""Which files of a folder are images: by their names or, where these do not tell, by their content."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..atomic import FilePath, file_name
from ..errors import InputError, format_error
from .formats import READABLE, format_of
from .remote import Place, Url, as_place, is_store_elsewhere, is_url, listed_in
from .zarr_store import ENDING, is_array, is_store

_OTHER_ENDINGS = """
    .3fr .ai .apng .arw .avifs .bpg .cr2 .cr3 .crw .cur .dcm .dcr .dds .djvu .dng .emf .eps .erf .exr .fit .fits .flif
    .hdr .heic .heics .heif .hif .icns .ico .iiq .j2c .j2k .jng .jp2 .jpf .jpx .jxl .jxr .kdc .kra .mef .mng .mos .mrw
    .nef .nrw .orf .pam .pcx .pef .pfm .pict .psb .psd .qoi .raf .raw .rw2 .rwl .sgi .sr2 .srf .srw .svg .svgz .tga
    .wbmp .wdp .wmf .x3f .xbm .xcf .xpm
"""
_ARRAYS = {".npy"}  # they may hold anything, and count as images only where they are named
_UNREADABLE = frozenset(_OTHER_ENDINGS.split())  # of images that other programs read
_NAMED = frozenset(READABLE) - _ARRAYS - {ENDING}
_MAGIC = re.compile(  # how images begin that other programs read
    rb"....ftyp(hei[cxms]|hev[cx]|mif1|msf1|avi[fs]|crx )"
    rb"|\xff\x0a|\0\0\0\x0c(JXL|jP)  ?|\xff\x4f\xff\x51|8BPS|\x76\x2f\x31\x01|FUJIFILM|IIRO|IIU\0|DDS "
    rb"|gimp xcf|qoif|#\?RADIANCE|AT&TFORM|SIMPLE  =|\x8aMNG|II\xbc",
    re.DOTALL,
)
_DIGITS = re.compile(r"(\d+)", re.ASCII)


@dataclass(frozen=True)
class FolderImages:
    """What a folder has to upscale.

    Attributes:
        images: Image files that pysr reads, in natural order: 2.png before 10.png.
        left_out: Visible files that are images, too, by their names or their content, and that pysr does not read.
        sub_folders: Visible folders in it.
    """

    images: tuple[Place, ...]
    left_out: tuple[Place, ...]
    sub_folders: tuple[Place, ...]

    def why_empty(self, name: str) -> InputError:
        """Return the error for a folder without images."""
        if self.left_out:
            left_out = f"{name!r} has only images that pysr cannot read ({listed(self.left_out)})"
            return InputError(f"the folder {left_out}; convert them first, for example to TIFF or PNG")
        if self.sub_folders:
            inside = f"only sub-folders ({listed(self.sub_folders)})"
            return InputError(f"the folder {name!r} has no image of its own, {inside}; name one of them")
        return InputError(f"the folder {name!r} has no image in it; pysr reads {', '.join(READABLE)}")


def folder_images(folder: FilePath) -> FolderImages:
    """Look for images in a folder.

    Args:
        folder: A folder; its hidden files are left out without a word.

    Returns:
        What is in it. A file whose name ends like an image counts whatever it holds; so does an image whose name has
        no ending.

    Raises:
        InputError: There is no such folder, or it cannot be read.
    """
    if isinstance(place := as_place(folder), Url):
        return _images_at(place)
    name = file_name(folder)
    if not os.path.isdir(name):
        raise InputError(f"there is no folder {name!r}; check the name")
    if is_store(name):
        raise InputError(f"{name!r} is a Zarr store, not a folder of images; give it as an image file")
    try:
        visible = sorted((path for path in Path(name).iterdir() if not path.name.startswith(".")), key=natural_order)
    except OSError as error:
        raise InputError(f"cannot open the folder: {format_error(error)}; check its permissions") from error
    kinds = {path: _kind(path) for path in visible}
    images, left_out, sub_folders = (
        tuple(path for path, found in kinds.items() if found == kind) for kind in ("image", "left out", "folder")
    )
    return FolderImages(images, left_out, sub_folders)


def image_files(folder: FilePath) -> list[Path]:
    """List the images in a folder, as `folder_images` finds them.

    Args:
        folder: A folder; its sub-folders and hidden files are left out.

    Returns:
        The images, sorted by the characters of their names: the order of data sets.

    Raises:
        InputError: There is no such folder, it cannot be read, or it has no image of its own.
    """
    if is_url(folder):
        raise InputError(f"{file_name(folder)!r} is not on this machine; fetch the folder first")
    found = folder_images(folder)
    if not found.images:
        raise found.why_empty(file_name(folder))
    return sorted(path for path in found.images if isinstance(path, Path))


def natural_order(path: Place) -> tuple[list[str | int], str]:
    """Return a key to sort files by as people do: numbers in names by their value, letters whatever their case."""
    parts = _DIGITS.split(path.name.casefold())  # text and digits in turn
    return [int(part) if odd % 2 else part for odd, part in enumerate(parts)], path.name


def listed(paths: Sequence[Place], most: int = 3) -> str:
    """Format names as "a, b, c, ...", so that a message stays short."""
    return ", ".join(path.name for path in paths[:most]) + (", ..." if len(paths) > most else "")


def _images_at(folder: Url) -> FolderImages:
    """Look for images in a folder elsewhere: by their names alone, as nothing is fetched for it."""
    files, folders = listed_in(folder)
    visible = sorted((file for file in files if not file.name.startswith(".")), key=natural_order)
    images, left_out = (
        tuple(file for file in visible if file.suffix.lower() in endings) for endings in (_NAMED, _UNREADABLE - _NAMED)
    )
    inside = sorted((folder for folder in folders if not folder.name.startswith(".")), key=natural_order)
    stores = tuple(folder for folder in inside if is_store_elsewhere(folder))
    return FolderImages(images, left_out + stores, tuple(folder for folder in inside if folder not in stores))


def _kind(path: Path) -> str | None:
    if is_store(path):
        return "image" if is_array(path, image=True) else "left out"
    if path.is_dir():
        return "folder"
    ending = path.suffix.lower()
    if ending in _ARRAYS or not path.is_file():
        return None
    if ending in READABLE or ending in _UNREADABLE:
        return "image" if ending in READABLE else "left out"
    return _kind_by_content(path)


def _kind_by_content(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:  # a file of an unknown kind
        return None
    if _is_readable(start):
        return "left out" if path.suffix else "image"
    return "left out" if _MAGIC.match(start) else None


def _is_readable(start: bytes) -> bool:
    """Whether a file begins like an image, and not like a text that happens to begin with BM or P1."""
    kind = format_of(start)
    if kind == "HEIC":
        return ".heic" in READABLE
    if kind == "BMP":
        return start[6:10] == b"\0\0\0\0"  # reserved
    return bool(re.match(rb"P[1-6]\s+[#\d]", start)) if kind == "PPM" else kind is not None
