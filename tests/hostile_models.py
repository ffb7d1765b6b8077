"""Model files that try to do harm: `make_all` writes them, for tests and for benchmarks/model_files.py.

Each one that could run code would create the file that `make_all` is told of.
"""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

Make = Callable[[Path, str], None]  # writes the file; the text is a shell command that would leave a trace

BUSY = "pickle, hashed exponentially"  # takes all the time that it gets: only for a process of its own


class _Runs:
    """Runs a function when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def make_all(folder: Path, trace: Path) -> dict[str, Path]:
    """Write all files into a folder; returns them by what they are."""
    made = {}
    for number, (what, (ending, make)) in enumerate(_files().items()):
        path = folder / f"{number:02d}{ending}"
        make(path, f"touch {trace}")
        made[what] = path
    return made


def _files() -> dict[str, tuple[str, Make]]:
    return dict([*_pickles(), *_archives(), *_safetensors(), *_ncnn(), *_others()])


def _pickles() -> Iterator[tuple[str, tuple[str, Make]]]:
    def raw(make: Callable[[str], bytes]) -> tuple[str, Make]:
        return ".pth", lambda path, command: _write(path, make(command))

    yield "pickle, os.system", raw(lambda command: pickle.dumps(_Runs(os.system, command), 2))
    yield "pickle, protocol 4", raw(lambda command: pickle.dumps({"params": _Runs(os.system, command)}, 4))
    yield "pickle, eval", raw(lambda command: pickle.dumps(_Runs(eval, f"__import__('os').system({command!r})"), 2))
    yield (
        "pickle, exec in a list",
        raw(lambda command: pickle.dumps([_Runs(exec, f"import os\nos.system({command!r})")], 2)),
    )
    yield "pickle, subprocess", raw(lambda command: b"\x80\x02csubprocess\ncall\n(]" + _text(command.split()) + b"tR.")
    yield "pickle, torch.hub", raw(lambda command: b"\x80\x02ctorch.hub\nload\n(X\x05\0\0\0a/b:cX\x01\0\0\0dtR.")
    yield "pickle, torch.load again", raw(lambda command: b"\x80\x02ctorch\nload\n(X\x06\0\0\0/dev/0tR.")
    yield "pickle, old format of torch", raw(_old_format)
    yield BUSY, raw(_nested_pairs)
    yield "pickle, a billion laughs", raw(_nested_lists)
    yield "pickle, nested lists", raw(lambda command: b"\x80\x02" + b"]" * 500_000 + b"a" * 499_999 + b".")
    yield "pickle, many marks", raw(lambda command: b"\x80\x02" + b"(" * 2_000_000 + b".")
    yield "pickle, bytes of 2^62", raw(lambda command: b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".")
    yield "pickle, memo far out", raw(lambda command: b"\x80\x02Nr\xff\xff\xff\x7f.")
    yield "pickle, a long number", raw(lambda command: b"\x80\x02\x8b\xff\xff\xff\x7f.")
    yield "pickle, ends at once", raw(lambda command: b"\x80\x02")


def _archives() -> Iterator[tuple[str, tuple[str, Make]]]:
    def archive(entries: Callable[[str], dict[str, bytes]], compression: int = zipfile.ZIP_STORED) -> tuple[str, Make]:
        return ".pt", lambda path, command: _write(path, _zip(entries(command), compression))

    def data(command: str) -> dict[str, bytes]:
        return {"a/data.pkl": pickle.dumps(_Runs(os.system, command), 2), "a/version": b"3"}

    yield "archive, os.system", archive(data)
    yield "archive, compressed", archive(lambda command: {"a/data.pkl": bytes(2**27)}, zipfile.ZIP_DEFLATED)
    yield (
        "archive, many entries",
        archive(lambda command: data(command) | {f"a/{n}": b"" for n in range(12_000)}),
    )
    yield "archive, out of its folder", archive(lambda command: {"a/data.pkl": b"N.", "../../../tmp/x": b"1"})
    yield (
        "archive, TorchScript",
        archive(lambda command: data(command) | {"a/constants.pkl": b"N."}),
    )
    yield "archive, cut off", (".pt", lambda path, command: _write(path, _zip(data(command))[:-30]))
    yield "archive, claims 2^32", (".pt", lambda path, command: _write(path, _larger(_zip(data(command)))))
    yield "archive, a tensor of 2^40", (".pth", _wide_tensor)


def _safetensors() -> Iterator[tuple[str, tuple[str, Make]]]:
    def file(header: object, content: bytes = b"", length: int | None = None) -> tuple[str, Make]:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        whole = struct.pack("<Q", len(text) if length is None else length) + text + content
        return ".safetensors", lambda path, command: _write(path, whole)

    def tensor(shape: list[int], first: int = 0, last: int = 4) -> dict[str, object]:
        return {"dtype": "F32", "shape": shape, "data_offsets": [first, last]}

    yield "safetensors, header of 2^63", file({}, length=2**63)
    yield "safetensors, header of 20 MB", file(b"{" + b" " * 20_000_000 + b"}")
    yield "safetensors, nested", file(b'{"a":' * 200_000 + b"1" + b"}" * 200_000)
    yield "safetensors, shape of 2^124", file({"a": tensor([2**62, 2**62])}, bytes(4))
    yield "safetensors, beyond the file", file({"a": tensor([2**28], 0, 2**30)}, bytes(4))
    yield "safetensors, overlapping", file({"a": tensor([1]), "b": tensor([1])}, bytes(4))
    yield "safetensors, a name twice", file(b'{"a":{},"a":{}}')
    yield "safetensors, empty but wide", file({"body.0.weight": tensor([2**30, 0], 0, 0)})
    yield "safetensors, small but of a vast network", file(*_vast_network())
    yield (
        "safetensors, of an unheard-of model",
        file({"__metadata__": {"pysr.model": "../../x"}, "a": tensor([1])}, bytes(4)),
    )


def _ncnn() -> Iterator[tuple[str, tuple[str, Make]]]:
    layer = "Convolution c 1 1 data output 0={0} 1={1} 6={2}"

    def network(text: str) -> tuple[str, Make]:
        def make(path: Path, command: str) -> None:
            _write(path, f"7767517\n{text}\n".encode())
            _write(path.with_suffix(".bin"), bytes(400))

        return ".param", make

    data = "2 2\nInput data 0 1 data\n"
    yield "ncnn, 2^31 layers", network("2147483647 2147483647")
    yield "ncnn, 10^9 blobs of a layer", network("1 1\nSplit s 1 999999999 data output")
    yield "ncnn, channels", network(data + layer.format(2**31 - 1, 3, 27))
    yield "ncnn, weights", network(data + layer.format(12, 3, 2**26))
    yield "ncnn, kernel", network(data + layer.format(12, 60000, 324))
    yield "ncnn, enlargement", network(data + "Interp i 1 1 data output 0=1 1=1e9 2=1e9")
    yield "ncnn, constants", network("1 1\nMemoryData m 0 1 output 0=9999999 1=9999999")
    yield "ncnn, 9 MB of text", network(" " * 9_000_000)


def _others() -> Iterator[tuple[str, tuple[str, Make]]]:
    yield "a pipe", (".pth", lambda path, command: os.mkfifo(path))
    yield "/dev/zero", (".pth", lambda path, command: path.symlink_to("/dev/zero"))
    yield "a link to itself", (".pth", lambda path, command: path.symlink_to(path))
    yield "a folder", (".pth", lambda path, command: path.mkdir())
    yield "8 GiB of nothing", (".pth", _sparse)
    yield (
        "a Git LFS pointer",
        (".pth", lambda path, command: _write(path, b"version https://git-lfs.github.com/spec/v1\n")),
    )
    yield "a web page", (".safetensors", lambda path, command: _write(path, b"<!DOCTYPE html><html></html>"))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _text(words: list[str]) -> bytes:
    return b"(" + b"".join(b"X" + struct.pack("<I", len(word)) + word.encode() for word in words) + b"e"


def _nested_pairs(command: str) -> bytes:
    """A dict whose key is a pair of one pair twice, and so on: it is small until its hash is asked for."""
    pairs = b"".join(b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(45))
    return b"\x80\x02}(K\x01q\x00" + pairs + b"K\x01u."


def _nested_lists(command: str) -> bytes:
    lists = b"".join(b"]q" + bytes([n]) + b"(" + 10 * (b"h" + bytes([n - 1])) + b"e" for n in range(1, 40))
    return b"\x80\x02]q\x00" + lists + b"."


def _old_format(command: str) -> bytes:
    magic = 0x1950A86A20F9469CFC6C
    return b"".join(pickle.dumps(part, 2) for part in (magic, 1001, {"little_endian": True}, _Runs(os.system, command)))


def _zip(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _larger(archive: bytes) -> bytes:
    """Claim in the directory that the first entry has almost 2^32 bytes."""
    entry = archive.index(b"PK\1\2")
    return archive[: entry + 20] + struct.pack("<II", 2**32 - 2, 2**32 - 2) + archive[entry + 28 :]


def _wide_tensor(path: Path, command: str) -> None:
    import torch

    torch.save({"params": {"a": torch.zeros(1).expand(2**40)}}, path)


def _vast_network() -> tuple[dict[str, object], bytes]:
    """Weights that a small file holds, whose sizes ask for a network of terabytes."""
    shapes = {"body.0.weight": [100_000, 1, 1, 1], "body.0.bias": [100_000], "body.1.weight": [100_000]}
    shapes |= {"body.2.weight": [4, 1, 1, 1], "body.2.bias": [4]}
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * shape[0]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    return header, bytes(end)


def _sparse(path: Path, command: str) -> None:
    path.write_bytes(b"\x80\x02")
    os.truncate(path, 8 * 2**30)
