"""What a file that no installed reader takes seems to be, and what to do about it. Nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LONGEST_HEADER = 100_000_000  # bytes: what the safetensors library itself accepts
_PACKAGES = {  # the package of this repository that reads a format
    "spandrel": "pysr-spandrel",
    "onnx": "pysr-onnx",
    "ncnn": "pysr-ncnn",
}
_READ_BY = "; install the package that reads such files: pip install {}"
_NOT_TAKEN = "; {} is installed, but cannot read it: it is damaged, incomplete, or something else under this name"
_GET_THE_FILE = "; download the file itself"
_FIND_ANOTHER = "; look for the same model as .safetensors, .pth, .onnx or .param"


@dataclass(frozen=True)
class _Format:
    """A format known by its first bytes, or by those at an offset."""

    starts: tuple[bytes, ...]
    is_called: str
    advice: str = ""
    offset: int = 0


_FORMATS = (
    _Format(
        (b"version https://git-lfs",), "a Git LFS pointer, which stands for a model", _GET_THE_FILE + ": git lfs pull"
    ),
    _Format((b"<!doctype", b"<!DOCTYPE", b"<html", b"<HTML"), "a web page", _GET_THE_FILE + ", not the page about it"),
    _Format((b"7767517\n", b"7767517\r"), "a network of ncnn (.param)", _READ_BY.format(_PACKAGES["ncnn"])),
    _Format(
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a pickle of PyTorch",
        _READ_BY.format(_PACKAGES["spandrel"]),
    ),
    _Format((b"\x89HDF\r\n\x1a\n",), "weights of Keras (HDF5)", _FIND_ANOTHER),
    _Format((b"TFL3",), "a model of TensorFlow Lite", _FIND_ANOTHER, offset=4),
    _Format((b"GGUF",), "a language model (GGUF)", _FIND_ANOTHER),
    _Format((b"ftrt", b"ptrt"), "an engine of TensorRT, made for one kind of GPU", _FIND_ANOTHER),
    _Format(
        (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"), "an archive", "; unpack it"
    ),
    _Format(
        (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*"),
        "an image",
        "; give it as the image, not as the model",
    ),
    _Format((b"MZ", b"\x7fELF", b"#!"), "a program", "; do not run it if it was offered as a model"),
)
_ENDINGS = {
    ".onnx": "a network of ONNX" + _READ_BY.format(_PACKAGES["onnx"]),
    ".param": "a network of ncnn" + _READ_BY.format(_PACKAGES["ncnn"]),
    ".bin": "the weights of a network of ncnn; give the .param file beside it, which pysr-ncnn reads",
}


def describe_format(path: Path, start: bytes, readers: Iterable[str] = ()) -> str:
    """Say what a file seems to be, and what to do to get a model that can be read.

    Args:
        path: The file.
        start: Its first bytes.
        readers: Names of the readers that are installed, and did not take it.

    Returns:
        The end of a sentence that begins with "seems to be", such as "a web page; download the file itself, not the
        page about it".
    """
    if not start:
        return "empty" + _GET_THE_FILE
    found = _describe_zip(start) or _describe_safetensors(start) or describe_by_start(start)
    found = found or _ENDINGS.get(path.suffix.lower(), "")
    for package in (_PACKAGES[reader] for reader in readers if reader in _PACKAGES):
        found = found.replace(_READ_BY.format(package), _NOT_TAKEN.format(package))
    is_text = start.isascii() and b"\0" not in start
    return found or ("text" if is_text else "no kind of model that pysr knows") + _FIND_ANOTHER


def describe_by_start(start: bytes) -> str:
    """Say what a file is that begins in a known way, and what to do, as `describe_format` does; else ""."""
    matching = (each for each in _FORMATS if start[each.offset :].startswith(each.starts))
    return next((each.is_called + each.advice for each in matching), "")


def _describe_zip(start: bytes) -> str:
    if start[:4] != b"PK\x03\x04":
        return ""
    name = start[30 : 30 + int.from_bytes(start[26:28], "little")]  # of the first entry
    if name.endswith((b"data.pkl", b".format_version", b"byteorder", b"/version")) or b"/data" in name:
        return "a pickle of PyTorch" + _READ_BY.format(_PACKAGES["spandrel"])
    return "a ZIP archive; unpack it"


def _describe_safetensors(start: bytes) -> str:
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or not 2 <= length <= LONGEST_HEADER:
        return ""
    names: list[str] = []
    with suppress(ValueError, RecursionError):  # longer than what was read, or damaged
        names = [name for name in json.loads(start[8 : 8 + length]) if name != "__metadata__"]
    listed = f" ({', '.join(names[:3])} ...)" if names else ""
    return f"weights in safetensors{listed}" + _READ_BY.format(_PACKAGES["spandrel"])
