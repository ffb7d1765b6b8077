"""Hostile image files: prefixes, flipped bits, changed structures and bombs, each read in a process that may die.

Clean is an image, or a `PysrError`, within two seconds of processor time and without a word on standard error.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import random
import resource
import struct
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from crowded_files import crowded_files
from file_samples import noise, png
from image_samples import encoded, make_image

from pysr.errors import PysrError
from pysr.files import read_raster
from pysr.files.compression import compression_of
from pysr.files.encoders import encode_image
from pysr.files.metadata import Metadata, fit
from pysr.files.raster import Kind, Pixels, Raster

from .experiment import Outcome

LONGEST = 2.0  # seconds of processor time
_MEMORY = 6 * 2**30  # bytes of address space that files may make a process take, beside what it has already
_CHUNK = 400  # files that one process reads
_NUMBERS = (0, 1, 2, 7, 8, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
Random = random.Random


@cache
def slowness() -> float:
    """How many times as long as usual Python takes here; at least 1."""
    times = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(10**6):
            pass
        times.append(time.process_time() - began)
    return max(1, min(times) / 0.02)


def deep(pixels: Pixels, kind: Kind) -> bytes:
    """A TIFF file of that depth."""
    file = io.BytesIO()
    encode_image(Raster(pixels, kind), "TIFF", file, Metadata())
    return file.getvalue()


def samples() -> dict[str, bytes]:
    """Small sound files of every kind."""
    return {
        "png": encoded(make_image(), "PNG"),
        "png palette": encoded(make_image("P"), "PNG", transparency=1),
        "png 16": encoded(make_image("I;16"), "PNG"),
        "png 16 rgb": png(noise((3, 4, 3), "uint16")),
        "jpeg": encoded(make_image(), "JPEG"),
        "jpeg progressive": encoded(make_image(), "JPEG", progressive=True),
        "jpeg cmyk": encoded(make_image("CMYK"), "JPEG"),
        "webp": encoded(make_image(), "WEBP"),
        "webp lossless": encoded(make_image("RGBA"), "WEBP", lossless=True),
        "avif": encoded(make_image(), "AVIF"),
        "tiff": encoded(make_image(), "TIFF"),
        "tiff lzw": encoded(make_image(), "TIFF", compression="tiff_lzw"),
        "tiff fax": encoded(make_image("1"), "TIFF", compression="group4"),
        "tiff jpeg": encoded(make_image(), "TIFF", compression="jpeg"),
        "tiff 16": deep(noise((3, 4, 3), "uint16"), "rgb"),
        "tiff float": deep(noise((3, 4), "float32"), "gray"),
        "bmp": encoded(make_image(), "BMP"),
        "gif": encoded(make_image("P"), "GIF"),
        "ppm": encoded(make_image(), "PPM"),
        "tga": encoded(make_image(), "TGA"),
        "jpeg 2000": encoded(make_image(), "JPEG2000"),
    }


def flip(data: bytes, chance: Random) -> bytes:
    """Flip one to four bits."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4) if data else 0):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def splice(data: bytes, chance: Random) -> bytes:
    """Delete, repeat or move a piece."""
    start, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    piece, at = data[start:end], chance.randrange(len(data) + 1)
    return chance.choice((data[:start] + data[end:], data[:at] + piece + data[at:], data[:end] + piece + data[end:]))


def number(data: bytes, chance: Random) -> bytes:
    """Put a number that is an edge of something where a header may have one."""
    changed, size = bytearray(data), chance.choice((1, 2, 4))
    value = chance.choice((*_NUMBERS, len(data), chance.getrandbits(32))) % 2 ** (8 * size)
    at = chance.randrange(min(len(data) - 4, 256))
    changed[at : at + size] = value.to_bytes(size, chance.choice(("little", "big")))
    return bytes(changed)


def chunks(data: bytes, chance: Random) -> bytes:
    """Change the chunks of a PNG file, and mend their checksums."""
    parts, at = [], 8
    while at + 8 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += length + 12
    parts = _shuffled(parts, chance)
    changed = chance.randrange(len(parts)) if parts else 0
    out, wrong = [data[:8]], chance.random() < 0.2
    for i, (kind, body) in enumerate(parts):
        new = flip(body, chance) if i == changed and body else body
        length = len(new) + (chance.choice((-1, 1)) if wrong and i == changed else 0)
        out.append(struct.pack(">I", max(0, length)) + kind + new + struct.pack(">I", zlib.crc32(kind + new)))
    return b"".join(out)


def segments(data: bytes, chance: Random) -> bytes:
    """Change the segments of a JPEG file."""
    parts, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        parts.append((data[at : at + 2], data[at + 2 : at + 2 + length]))
        at += 2 + length
    out = [
        marker + (flip(body, chance) if chance.random() < 0.2 else body) for marker, body in _shuffled(parts, chance)
    ]
    return data[:2] + b"".join(out) + data[at:]


def directory(data: bytes, chance: Random) -> bytes:
    """Change an entry of a TIFF file's directory, or where the directories are."""
    changed = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return number(data, chance)
    (count,) = struct.unpack_from(order + "H", data, start)
    entry = start + 2 + 12 * chance.randrange(max(1, count))
    where = chance.choice((4, start, entry, entry + 2, entry + 4, entry + 8, entry + 8, start + 2 + 12 * count))
    form = "H" if where in (start, entry, entry + 2) else "I"
    value = chance.choice((*_NUMBERS, len(data), start, chance.getrandbits(32))) % 2 ** (16 if form == "H" else 32)
    with suppress(struct.error):
        struct.pack_into(order + form, changed, where, value)
    return bytes(changed)


def _shuffled(parts: list[tuple[bytes, bytes]], chance: Random) -> list[tuple[bytes, bytes]]:
    parts = list(parts)
    if not parts:
        return parts
    i, j = chance.randrange(len(parts)), chance.randrange(len(parts))
    what = chance.randrange(4)
    if what == 0:
        del parts[i]
    elif what == 1:
        parts.insert(j, parts[i])
    elif what == 2:
        parts[i], parts[j] = parts[j], parts[i]
    return parts


def _structure(name: str) -> Callable[[bytes, Random], bytes]:
    known = {"png": chunks, "jpeg": segments, "tiff": directory}
    return number if name == "jpeg 2000" else known.get(name.split(maxsplit=1)[0], number)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that declare huge, or very thin, images, or have crowds of parts."""
    yield from crowded_files()
    sound = samples()
    sizes = [
        (23_000, 23_000),
        (24, 4_194_322),
        (4_194_322, 24),
        (1, 2_000_000),
        (2_000_000, 1),
        (2**31 - 1, 1),
        (1, 2**31 - 1),
    ]
    sizes += [(0, 9), (9, 0), (65_535, 65_535), (50_000, 50_000), (2**16, 2**16), (4096, 4096), (2**31, 2**31)]
    for width, height in sizes:
        for bits, colour in ((1, 0), (8, 2), (16, 6), (8, 3)):
            header = struct.pack(">IIBBBBB", width % 2**32, height % 2**32, bits, colour, 0, 0, 0)
            start = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + header
            rest = b"\0\0\0\x05IDATxxxxx" if bits != 1 else b""
            yield f"png {width} x {height}", start + struct.pack(">I", zlib.crc32(start[12:])) + rest
        small = min(width, 65_535), min(height, 65_535)
        for name in ("jpeg", "jpeg progressive", "jpeg cmyk"):
            yield f"{name} {small}", sound[name].replace(struct.pack(">HH", 8, 12), struct.pack(">HH", *small[::-1]))
        yield f"gif {small}", sound["gif"].replace(struct.pack("<HH", 12, 8), struct.pack("<HH", *small))
        yield (
            f"bmp {width} x {height}",
            sound["bmp"].replace(struct.pack("<ii", 12, 8), struct.pack("<II", width % 2**32, height % 2**32)),
        )
        for kind in ("P4", "P5", "P6"):
            yield f"ppm {width} x {height}", f"{kind} {width} {height} 255\n".encode() + bytes(50)
        for name in ("tiff", "tiff lzw", "tiff 16", "tiff float"):
            yield f"{name} {width} x {height}", _resized_tiff(sound[name], width % 2**32, height % 2**32)


def _resized_tiff(data: bytes, width: int, height: int) -> bytes:
    changed = bytearray(data)
    (start,) = struct.unpack_from("<I", data, 4)
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        tag = struct.unpack_from("<H", data, at)[0]
        if tag in (256, 257, 278):
            struct.pack_into("<HII", changed, at + 2, 4, 1, width if tag == 256 else height)
    return bytes(changed)


def hostile_files(count: int) -> Iterator[tuple[str, bytes]]:
    """About that many files; of few, every kind gets its share. The same number gives the same files."""
    sound, chance = samples(), random.Random(count)
    declared = list(bombs())
    yield from declared[:: max(1, len(declared) * 5 // count)]
    prefixes = [(f"{name} cut at {end}", data[:end]) for name, data in sound.items() for end in range(len(data))]
    yield from prefixes[:: max(1, len(prefixes) * 3 // count)]
    names = list(sound)
    for i in range(count - min(len(declared), count // 5) - min(len(prefixes), count // 3)):
        name = names[i % len(names)]
        change = (flip, splice, number, _structure(name), _structure(name))[i // len(names) % 5]
        data = change(sound[name], chance)
        if i % 7 == 0 and len(data) > 8:
            data = change(data, chance)
        yield f"{name} {change.__name__} {i}", data


def read(data: bytes) -> None:
    """Read an image as a user's program does, and what tells which model suits it; write it to other formats."""
    try:
        raster = read_raster(io.BytesIO(data))
    finally:
        compression_of(io.BytesIO(data))
    for kind in ("PNG", "JPEG"):
        fit(raster.metadata, kind, raster.size)


def run(count: int, folder: Path) -> Outcome:
    """Read hostile files."""
    return judge(list(hostile_files(count)), read, folder)


def judge(files: Sequence[tuple[str, bytes]], read: Callable[[bytes], object], folder: Path) -> Outcome:
    """Read files in processes of their own, and tell which did not end cleanly.

    Args:
        files: Their names and contents.
        read: Reads one; a `PysrError` is clean.
        folder: Where those that did not are kept.
    """
    outcome, begun = Outcome(), 0
    while begun < len(files):
        begun += _read_some(files[begun : begun + _CHUNK], read, outcome)
    for line in outcome.failures:
        data = dict(files)[line.partition(": ")[0]]
        (folder / f"failed-{zlib.crc32(data):08x}").write_bytes(data)
    return outcome


def _read_some(files: Sequence[tuple[str, bytes]], read: Callable[[bytes], object], outcome: Outcome) -> int:
    """Read files until one kills the process; return how many that were."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        with suppress(BaseException), open(theirs, "w", buffering=1) as report:
            _child(files, read, report)
        os._exit(0)
    os.close(theirs)
    with open(ours) as report:
        lines = report.read().splitlines()
    status = os.waitpid(child, 0)[1]
    for (name, _), line in zip(files, lines, strict=False):
        outcome.check(name, line or None)
    if len(lines) < len(files):
        signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else f"exit {status}"
        outcome.check(files[len(lines)][0], f"the process died ({signal})")
        return len(lines) + 1
    return len(files)


def _child(files: Sequence[tuple[str, bytes]], read: Callable[[bytes], object], report: io.TextIOBase) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.freeze()  # what the parent holds is not gone through again and again
    logging.getLogger("pysr").addHandler(logging.NullHandler())  # warnings are no errors, and not printed
    warnings.simplefilter("ignore")  # likewise Python's own
    printed = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
    os.dup2(printed.fileno(), 2)
    for _, data in files:
        used = time.process_time()
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 20, resource.RLIM_INFINITY))
        report.write(f"{_problem(data, read, used, printed.fileno())}\n")


def _problem(data: bytes, read: Callable[[bytes], object], used: float, printed: int) -> str:
    try:
        read(data)
    except PysrError:
        pass
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:200].encode("unicode_escape").decode()
    if (took := time.process_time() - used) > LONGEST * slowness():
        return f"took {took:.1f} s of processor time"
    if length := os.fstat(printed).st_size:
        said = os.pread(printed, 100, 0)
        os.ftruncate(printed, 0)
        os.lseek(printed, 0, 0)
        return f"printed {length} bytes on standard error: {said!r}"
    return ""
