"""What EXIF says of an image's pixels, made true of the upright and enlarged image."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

from PIL import JpegImagePlugin

from .exif import EXIF_IFD, INTEROP_IFD, ORIENTATION
from .geometry import TURN_BACK, Geometry
from .tags import LONG, RATIONAL, SHORT, DamagedTagsError, Directory, TagBlock

_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514
_FOCAL_PLANE_X, _FOCAL_PLANE_Y = 41486, 41487  # pixels per unit on the sensor
_MOST_PIXELS = 2**22  # of a thumbnail that is decoded
_SUBJECT = {37396: "SubjectArea", 41492: "SubjectLocation"}  # x, y, and for an area its size


def update_exif(exif: bytes, geometry: Geometry) -> tuple[bytes, set[str], set[str]]:
    """Make what a block says of the image's pixels true of the result, in place.

    Args:
        exif: A readable block.
        geometry: How the image was turned and enlarged.

    Returns:
        The block; the names of what was changed in it; the names of what was taken out.
    """
    block = TagBlock(bytearray(exif))
    first = block.directory(block.first)
    camera = block.sub_directory(first, EXIF_IFD)
    changed, dropped = _set_sizes(block, first, camera, geometry), set[str]()
    entry = first.get(ORIENTATION)
    if entry and geometry.orientation and (entry.type, block.numbers(entry)) != (SHORT, (1,)):
        block.set_number(entry, 1, SHORT)
        changed.add("Orientation")
    if camera:
        changed |= _scale_focal_plane(block, camera, geometry)
        moved, gone = _scale_subject(block, camera, geometry)
        changed, dropped = changed | moved, dropped | gone
    if geometry.orientation in TURN_BACK and first.next:
        kept = _turn_thumbnail(block, first.next, geometry.orientation)
        (changed if kept else dropped).add("thumbnail")
        if not kept:
            return without_thumbnail(bytes(block.data)), changed, dropped
    return bytes(block.data), changed, dropped


def without_thumbnail(exif: bytes) -> bytes:
    """Return a block without the thumbnail, shorter where the thumbnail was its end."""
    block = TagBlock(bytearray(exif))
    directory = block.directory(block.first)
    if not directory.next:
        return exif
    struct.pack_into(block.order + block.position_code, block.data, directory.link, 0)
    place = _thumbnail_place(block, directory.next)
    if place and sum(place) == len(block.data):
        del block.data[place[0] :]
    return bytes(block.data)


def _set_sizes(block: TagBlock, first: Directory, camera: Directory | None, geometry: Geometry) -> set[str]:
    interop = block.sub_directory(camera, INTEROP_IFD) if camera else None
    changed = set()
    for directory, widths in ((first, 256), (camera, 40962), (interop, 4097)):  # the height's tag is the next one
        for number, length in enumerate(geometry.new_size):
            entry = directory.get(widths + number) if directory else None
            if entry and block.numbers(entry) != (length,):
                block.set_number(entry, length, SHORT if entry.type == SHORT and length < 2**16 else LONG)
                changed.add("sizes")
    return changed


def _scale_focal_plane(block: TagBlock, camera: Directory, geometry: Geometry) -> set[str]:
    """Scale the pixels per unit on the sensor, from which programs compute the equivalent focal length."""
    entries = [camera.get(tag) for tag in (_FOCAL_PLANE_X, _FOCAL_PLANE_Y)]
    values = [block.numbers(entry) for entry in entries]
    if geometry.transposed:
        values.reverse()
    changed = set()
    for entry, value, scale in zip(entries, values, geometry.scale, strict=True):
        if entry and entry.type == RATIONAL and len(value) == 1 and value[0] * scale != block.numbers(entry)[0]:
            fraction = Fraction(value[0] * scale).limit_denominator(1000)
            if fraction.numerator < 2**32:
                struct.pack_into(block.order + "II", block.data, entry.value, *fraction.as_integer_ratio())
                changed.add("FocalPlaneResolution")
    return changed


def _scale_subject(block: TagBlock, camera: Directory, geometry: Geometry) -> tuple[set[str], set[str]]:
    """Scale where the subject is; in a turned image, or where 16 bits do not hold it, take it out."""
    changed, dropped = set(), set()
    for tag, name in _SUBJECT.items():
        entry = camera.get(tag)
        values = block.numbers(entry)
        if entry is None or not values:
            continue
        scaled = [round(value * geometry.scale[place % 2]) for place, value in enumerate(values)]
        if geometry.turned or entry.type != SHORT or max(scaled) >= 2**16:
            camera = block.remove(camera, tag)
            dropped.add(name)
        elif tuple(scaled) != values:
            struct.pack_into(f"{block.order}{len(scaled)}H", block.data, entry.value, *scaled)
            changed.add(name)
    return changed, dropped


def _thumbnail_place(block: TagBlock, position: int) -> tuple[int, int] | None:
    """(start, length) of the thumbnail that the directory at a position describes, if it is a JPEG."""
    try:
        directory = block.directory(position)
    except DamagedTagsError:
        return None
    start, length = (block.numbers(directory.get(tag)) for tag in (_THUMBNAIL, _THUMBNAIL_LENGTH))
    return (int(start[0]), int(length[0])) if start and length else None


def _turn_thumbnail(block: TagBlock, position: int, orientation: int) -> bool:
    """Turn the thumbnail as the image was turned; False where that is impossible."""
    place = _thumbnail_place(block, position)
    if place is None:
        return False
    start, length = place
    try:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(bytes(block.data[start : start + length])))
        if image.width * image.height > _MOST_PIXELS:
            return False
        file = io.BytesIO()
        image.transpose(TURN_BACK[orientation]).save(file, "JPEG", quality=85)
    except Exception:  # decoders raise anything, and a damaged thumbnail must not cost the EXIF
        return False
    turned = file.getvalue()
    if len(turned) <= length:
        block.data[start : start + len(turned)] = turned
    else:
        start = len(block.data)
        block.data += turned
    directory = block.directory(position)
    for tag, value in ((_THUMBNAIL, start), (_THUMBNAIL_LENGTH, len(turned)), (ORIENTATION, 1)):
        if entry := directory.get(tag):
            block.set_number(entry, value, SHORT if tag == ORIENTATION else LONG)
    return True
