"""TIFF files of several pages: read them one by one, and join files of one page each."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import IO

from ..errors import InputError
from .metadata import read_metadata
from .orientation import turned
from .pillow_tiff import PillowTiffReader
from .plausible import check_plausible
from .raster import Raster
from .reader import MAX_PIXELS, check_pixels, open_reader
from .streams import Source, name_of, open_for_reading
from .tiff_choice import TiffImages

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of each type
_DIRECTORIES = {330, 34665, 34853, 40965}  # tags that say where others begin: SubIFDs, EXIF, GPS, interoperability
_PLACES = _DIRECTORIES | {273, 324, 513}  # and strips, tiles, and the JPEG of a thumbnail
_LARGEST = 2**32 - 1


def read_page(source: Source, number: int) -> Raster:
    """Read one page of a TIFF file, upright, with its own metadata.

    Args:
        source: As for `open_reader`.
        number: The page, from 0; thumbnails do not count.

    Raises:
        InputError: It cannot be read, or there is no such page.
    """
    (page,) = _pages(source, number)
    return page


def read_pages(source: Source) -> Iterator[Raster]:
    """Read all pages of a TIFF file one by one, as `read_page` does."""
    return _pages(source, None)


def _pages(source: Source, only: int | None) -> Iterator[Raster]:
    name = name_of(source)
    with open_reader(source), open_for_reading(source) as file:
        images = TiffImages(file, name)
        for number in range(len(images)) if only is None else [only]:
            page, reader = images.open(number)
            metadata = read_metadata(file, "TIFF", page.offset)
            header = reader.header
            check_pixels(header.size, MAX_PIXELS, name)
            check_plausible(header, file, name, reader.compression)
            reader.warn_of_losses()
            pixels = reader.window(0, 0, *header.size)
            if not isinstance(reader, PillowTiffReader):  # which turns them itself
                pixels = turned(pixels, page.orientation)
            size = pixels.shape[1], pixels.shape[0]
            metadata = replace(metadata, size=size, turned=page.orientation)
            yield Raster(pixels, header.kind, reader.palette, metadata, "TIFF", header.lossless)


def join_pages(pages: Iterable[bytes], file: IO[bytes]) -> None:
    """Join TIFF files of one page each into one of several pages.

    Args:
        pages: The contents of the files, taken one by one.
        file: Open for writing, seekable, at its start.

    Raises:
        InputError: The result would exceed the 4 GB of a TIFF file.
    """
    link, byte_order = 4, ""
    for number, page in enumerate(pages):
        data, order = bytearray(page), "<" if page[:2] == b"II" else ">"
        start = file.tell()
        if page[2:4] not in (b"*\0", b"\0*") or start + len(data) > _LARGEST:
            raise InputError(
                "the pages are too large for one TIFF file (4 GB); write them one by one, by their numbers"
            )
        byte_order = byte_order or order
        assert order == byte_order  # of one encoder
        (first,) = struct.unpack_from(order + "I", data, 4)
        end = _move(data, order, first, start)
        file.write(data + b"\0" * (len(data) % 2))
        if number:
            _overwrite(file, link, struct.pack(order + "I", start + first))
        link = start + end


def _overwrite(file: IO[bytes], place: int, data: bytes) -> None:
    end = file.tell()
    file.seek(place)
    file.write(data)
    file.seek(end)


def _move(data: bytearray, order: str, directory: int, distance: int) -> int:
    """Add a distance to all places that a directory and its own directories name; return where its last word is."""
    count = int(struct.unpack_from(order + "H", data, directory)[0])
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", data, entry)
        length, place = _SIZES.get(kind, 1) * values, entry + 8
        if length > 4:
            (place,) = struct.unpack_from(order + "I", data, entry + 8)
            struct.pack_into(order + "I", data, entry + 8, place + distance)
        if tag in _PLACES:
            layout = f"{order}{values}I"  # as pysr writes them
            places = struct.unpack_from(layout, data, place)
            if tag in _DIRECTORIES:
                for inner in places:
                    _move(data, order, inner, distance)
            struct.pack_into(layout, data, place, *(each + distance for each in places))
    return directory + 2 + 12 * count
