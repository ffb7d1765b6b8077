"""Whether compressed strips and tiles of TIFF files declare what they can hold, and are complete."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

from ..errors import InputError
from .boxes import boxes
from .jpeg2000 import least_bytes
from .jpeg_end import END_MARKER, FILLERS, end_of_scans, has_all_scans, is_progressive
from .metadata.jpeg import jpeg_size
from .metadata.model import TooManyPartsError
from .metadata.webp import webp_size
from .raster import Pixels

_SLACK = 2**16  # pixels: encoders fill up to whole blocks
_JPEG, _JPEG_2000, _JPEG_XR = (6, 7, 33007, 34892), (33003, 33004, 33005, 34712), (22610, 34934)  # by Compression
_JPEG_START = b"\xff\xd8"
_J2K_START = b"\xff\x4f\xff\x51"
_CONTAINERS = b"jP  ", b"JXL "
_CODESTREAMS = {b"jp2c": 0, b"jxlc": 0, b"jxlp": 4}  # boxes, and bytes in them before it
_JXL_START = b"\xff\x0a"
_JXL_BITS = (9, 13, 18, 30)  # of a side, by its first two bits (ISO/IEC 18181-1, SizeHeader)
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_JXR_SIDES = (0xBC80, 0xBC81)  # tags (ITU-T T.832, annex A)


def check_coded(data: bytes, compression: int, size: tuple[int, int], name: str) -> None:
    """Check that a strip or tile does not take far more memory than its pixels do.

    Args:
        data: Compressed.
        compression: TIFF's number for how.
        size: (width, height) that the strip or tile is to have.
        name: Of the file, for messages.

    Raises:
        InputError: The data declare a far larger image, or tiles that they have no bytes for.
    """
    width, height = declared_size(data, compression) or (0, 0)
    if width * height > 4 * size[0] * size[1] + _SLACK:
        raise InputError(
            f"{name!r} is damaged: a strip or tile of {size[0]} x {size[1]} pixels holds {width} x {height}; "
            "use another copy"
        )
    if compression in _JPEG_2000 and (least := _least_bytes(data)) > len(data):
        raise InputError(
            f"{name!r} is damaged: a strip or tile has {len(data)} bytes, and its parts need {least}; use another copy"
        )


def is_cut_off(data: bytes, compression: int, decode: Callable[[bytes], Pixels], decoded: Pixels) -> bool:
    """Whether data end before their pixels do, where decoders make up the rest without a word.

    Such data are decoded with different bytes appended: they matter only if data are missing.

    Args:
        data: Compressed.
        compression: TIFF's number for how.
        decode: Undoes it.
        decoded: What the data give as they are.
    """
    if compression in _JPEG_XR:
        behind = FILLERS[3:4]
    elif compression in _JPEG and data.startswith(_JPEG_START) and end_of_scans(file := io.BytesIO(data)) == len(data):
        if is_progressive(file) and not has_all_scans(file):
            return True
        behind = [filler + END_MARKER for filler in FILLERS]
        data = data.removesuffix(END_MARKER[:1])
    else:
        return False
    right = decoded.tobytes()  # NaN equals NaN there
    return any(decode(data + filler).tobytes() != right for filler in behind)


def declared_size(data: bytes, compression: int) -> tuple[int, int] | None:
    """Return the (width, height) in pixels that the data of a strip or tile declare, or None if none can be read."""
    start, read = _READERS.get(compression, (b"", None))
    try:
        return read(data) if read and data.startswith(start) else None
    except TooManyPartsError:
        raise
    except (struct.error, ValueError, LookupError, StopIteration):
        return None  # the decoder will say what is wrong


def _least_bytes(data: bytes) -> int:
    """As `least_bytes`; 0 where the header cannot be read."""
    try:
        return least_bytes(_codestream(data, _J2K_START))
    except (struct.error, ValueError, LookupError, StopIteration):
        return 0


def _codestream(data: bytes, start: bytes) -> bytes:
    """Return data from where their codestream begins, which may be in a box (ISO/IEC 15444-1, I.5.4; 18181-2, 9.8).

    Raises:
        ValueError: There is none.
    """
    if data[4:8] in _CONTAINERS:
        name, inner = next((name, inner) for name, inner in boxes(data) if name in _CODESTREAMS)
        data = bytes(inner[_CODESTREAMS[name] :])
    if not data.startswith(start):
        raise ValueError("it has no codestream")
    return data


def _size_of_jpeg2000(data: bytes) -> tuple[int, int]:
    right, bottom, left, top = struct.unpack_from(">IIII", _codestream(data, _J2K_START), 8)
    return right - left, bottom - top


def _size_of_png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _size_of_jpeg_xl(data: bytes) -> tuple[int, int]:
    bits, at = int.from_bytes(_codestream(data, _JXL_START)[len(_JXL_START) :][:16], "little"), 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & (1 << count) - 1

    by_eights = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if by_eights else take(_JXL_BITS[take(2)]) + 1

    height = side()
    if ratio := take(3):
        numerator, denominator = _JXL_RATIOS[ratio]
        return height * numerator // denominator, height
    return side(), height


def _size_of_jpeg_xr(data: bytes) -> tuple[int, int]:
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = (struct.unpack_from("<HHII", data, start + 2 + 12 * number) for number in range(count))
    sides = {tag: value for tag, _, _, value in entries}
    return sides[_JXR_SIDES[0]], sides[_JXR_SIDES[1]]


def _size_of_lerc(data: bytes) -> tuple[int, int]:
    (version,) = struct.unpack_from("<i", data, 6)
    height, width = struct.unpack_from("<ii", data, 14 if version > 2 else 10)  # a checksum since version 3
    return width, height


_READERS: dict[int, tuple[bytes, Callable[[bytes], tuple[int, int]]]] = {  # with how data begin, by Compression
    **dict.fromkeys(_JPEG, (b"", lambda data: jpeg_size(io.BytesIO(data)))),
    **dict.fromkeys(_JPEG_2000, (b"", _size_of_jpeg2000)),
    **dict.fromkeys((34927, 50001), (b"RIFF", webp_size)),
    **dict.fromkeys((50002, 52546), (b"", _size_of_jpeg_xl)),
    **dict.fromkeys(_JPEG_XR, (b"II\xbc", _size_of_jpeg_xr)),
    34887: (b"Lerc2 ", _size_of_lerc),  # unless that is compressed again
    34933: (b"\x89PNG", _size_of_png),
}
