"""Hostile weights files: each is refused as a `WeightsError`, or loaded whole; none is run."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from pysr.errors import WeightsError
from pysr.upscaling.weights import load_weights, read_metadata, trained_scales

from . import hostile
from .experiment import Outcome

_CANARY = "touched"


class _Attack:
    """What would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {_CANARY}",)


def network() -> nn.Sequential:
    """The network that the weights are for."""
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 1))


def sound() -> bytes:
    """Weights that fit."""
    return save(
        {name: torch.full_like(value, 0.5) for name, value in network().state_dict().items()}, {"pysr.scales": "2 3"}
    )


def header(text: bytes, length: int | None = None, body: bytes = b"") -> bytes:
    """A safetensors file with that header."""
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def crafted() -> Iterator[tuple[str, bytes]]:
    """Files made to do harm, each in one way."""
    data = sound()
    for length in (0, 7, 100_000_001, 2**31, 2**63, 2**64 - 1):
        yield f"header of {length} bytes", header(data[8:], length)
    tensor = b'{"dtype":"F32","shape":%s,"data_offsets":%s}'
    for shape, offsets in (
        (b"[4194305,4194305,211106198978564]", b"[0,4]"),
        (b"[1]", b"[0,99]"),
        (b"[1]", b"[4,0]"),
        (b"[-1]", b"[0,4]"),
        (b"[1e99]", b"[0,4]"),
        (b"[1]", b"[0,18446744073709551615]"),
    ):
        yield (
            f"tensor {shape!r} at {offsets!r}",
            header(b'{"0.weight":' + tensor % (shape, offsets) + b"}", body=bytes(4)),
        )
    yield "deep JSON", header(b"[" * 100_000)
    yield (
        "many names",
        header(b"{" + b",".join(b'"%d":' % i + tensor % (b"[0]", b"[0,0]") for i in range(50_000)) + b"}"),
    )
    yield (
        "a name twice",
        header(b'{"a":' + tensor % (b"[1]", b"[0,4]") + b',"a":' + tensor % (b"[1]", b"[0,4]") + b"}", body=bytes(4)),
    )
    for protocol in range(6):
        yield f"pickle {protocol}", pickle.dumps(_Attack(), protocol)
    archive = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, archive)
    yield "torch.save", archive.getvalue()
    for scales in (b"two", b"-1", b"9" * 99, b"\\u00b2"):
        yield f"scales {scales!r}", data.replace(b'"2 3"', b'"' + scales + b'"')


def samples() -> dict[str, bytes]:
    """What a fuzzer may begin with."""
    return {"sound": sound(), **dict(crafted())}


def read(data: bytes) -> None:
    """Read weights in every way that there is."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as file:
        file.write(data)
        file.flush()
        path, filled = Path(file.name), network()
        try:
            load_weights(filled, path)
        except WeightsError:
            read_metadata_only(path)
            raise
        if not all(bool(torch.isfinite(value).all()) for value in filled.state_dict().values()):
            raise ValueError("loaded numbers that are not finite")
        read_metadata_only(path)


def read_metadata_only(path: Path) -> None:
    """Read what the file says about itself."""
    read_metadata(path)
    trained_scales(path)


def run(count: int, folder: Path) -> Outcome:
    """Read about that many changed weights files, and those made to do harm."""
    data, chance = sound(), random.Random(count)
    files = list(crafted())
    prefixes = [(f"cut at {end}", data[:end]) for end in range(len(data))]
    files += prefixes[:: max(1, len(prefixes) * 3 // count)]
    changes = (hostile.flip, hostile.splice, hostile.number)
    files += [(f"{change.__name__} {i}", change(data, chance)) for i in range(count) for change in [changes[i % 3]]]
    before = set(os.listdir())
    outcome = hostile.judge(files, read, folder)
    if _CANARY in set(os.listdir()) - before:
        outcome.failures.append("code in a file was run")
    return outcome
