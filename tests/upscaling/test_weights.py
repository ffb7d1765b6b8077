"""Weights files: damaged, foreign or dangerous ones are refused by one kind of error, and nothing is ever unpickled."""

import ast
import hashlib
import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pysr import WeightsError
from pysr.plugin import Weights
from pysr.upscaling.weights import load_weights, read_metadata, save_weights, trained_scales

SOURCES = sorted((Path(__file__).parents[2] / "src").rglob("*.py"))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 1))


def tensors() -> dict[str, Tensor]:
    return {name: torch.full_like(value, 0.5) for name, value in network().state_dict().items()}


def raw(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def refuse(data: bytes, folder: Path, match: str = "w.safetensors") -> None:
    """Assert that the file is refused, with its name, and the network left as it was."""
    path, unfilled = folder / "w.safetensors", network()
    path.write_bytes(data)
    before = {name: value.clone() for name, value in unfilled.state_dict().items()}
    with pytest.raises(WeightsError, match=match) as raised:
        load_weights(unfilled, path)
    assert all(torch.equal(value, before[name]) for name, value in unfilled.state_dict().items())
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_weights_come_back_bit_by_bit(tmp_path: Path) -> None:
    saved, loaded, path = network(), network(), tmp_path / "w.safetensors"
    digest = save_weights(saved, path, {"trained_on": "T91", "ä": "ü"})
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    load_weights(loaded, path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in saved.state_dict().items())
    assert read_metadata(path) == {"trained_on": "T91", "ä": "ü"}


def test_weights_in_any_memory_order_and_shared_ones_are_saved(tmp_path: Path) -> None:
    saved = network().to(memory_format=torch.channels_last)
    saved.append(saved[1])  # one layer twice: two names for one tensor
    save_weights(saved, tmp_path / "w.safetensors", {})
    loaded = network().append(nn.Conv2d(2, 1, 1))
    load_weights(loaded, str(tmp_path / "w.safetensors"))
    assert torch.equal(loaded[0].weight, saved[0].weight)
    assert torch.equal(loaded[2].weight, saved[1].weight)


def test_numbers_are_converted_to_the_networks_dtype(tmp_path: Path) -> None:
    path, loaded = tmp_path / "w.safetensors", network()
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        save_weights({name: value.to(dtype) for name, value in tensors().items()}, path, {})
        load_weights(loaded, path)
        assert loaded[0].weight.dtype == torch.float32
        assert (loaded[0].weight == 0.5).all()


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(), path, {"n": "1"})
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(network(), path, {"n": "2"})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_digest_decides(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    digest = save_weights(tensors(), path, {})
    loaded = network()
    load_weights(loaded, Weights(path, digest, "MIT", "T91"))
    assert (loaded[0].weight == 0.5).all()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # a flipped bit in the numbers: still a sound file
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=f"not {digest}: it is damaged; reinstall") as raised:
        load_weights(network(), Weights(path, digest, "MIT", "T91"))
    assert hashlib.sha256(data).hexdigest() in str(raised.value)


def test_every_prefix_is_refused(tmp_path: Path) -> None:
    data = save(tensors())
    for end in range(len(data)):
        refuse(data[:end], tmp_path)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(position=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 3))
def test_a_damaged_byte_is_refused_or_gives_finite_numbers(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, cut: int
) -> None:
    data = bytearray(save(tensors()))
    data[position % len(data)] = value
    path, loaded = tmp_path_factory.getbasetemp() / "damaged.safetensors", network()
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        load_weights(loaded, path)
    except WeightsError:
        return
    assert all(value.isfinite().all() for value in loaded.state_dict().values())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        raw([]),
        raw(b"[" * 100_000),
        raw(b'{"a":' * 100_000),
        raw(b"\xff\xfe{}"),
        raw({"__metadata__": {"a": 1}}),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        save(tensors()) + b"\0",
        raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"\0" * 4),
        raw({"a": {"dtype": "F32", "shape": [4194305, 4194305, 211106198978564], "data_offsets": [0, 4]}}, b"\0" * 4),
        raw({"a": {"dtype": "F1", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        raw({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4),
        raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8),
    ],
)
def test_an_unsound_file_is_refused(data: bytes, tmp_path: Path) -> None:
    refuse(data, tmp_path, "not a sound safetensors file")


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    one, two = (f'"a": {{"dtype": "F32", "shape": [1], "data_offsets": {place}}}' for place in ([0, 4], [4, 8]))
    refuse(raw(f"{{{one}, {two}}}".encode(), b"\0" * 8), tmp_path, "has a name twice")
    escaped = two.replace('"a"', r'"\u0061"')
    refuse(raw(f"{{{one}, {escaped}}}".encode(), b"\0" * 8), tmp_path, "has a name twice")


@pytest.mark.parametrize("length", [640, 19280])  # their first bytes look like a pickle's and a zip archive's
def test_any_length_of_the_header_is_allowed(length: int, tmp_path: Path) -> None:
    data = save(tensors())
    end = 8 + int.from_bytes(data[:8], "little")
    (tmp_path / "w.safetensors").write_bytes(raw(data[8:end].ljust(length), data[end:]))
    loaded = network()
    load_weights(loaded, tmp_path / "w.safetensors")
    assert (loaded[0].weight == 0.5).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("0.bias"), "not for the network Sequential: it lacks 0.bias"),
        (lambda t: t.clear(), "it lacks 0.bias, 0.weight, 1.bias, 1.weight"),
        (lambda t: t.update(extra=torch.ones(1)), "it has unknown extra"),
        (lambda t: t.update({f"x{i}": torch.ones(1) for i in range(9)}), "x0, x1, x2, x3, x4 and 4 more"),
        (lambda t: t.update({"0.weights": t.pop("0.weight")}), "it lacks 0.weight"),
        (lambda t: t.update({"0.bias": torch.ones(3)}), r"0.bias differ in shape \(\(3,\) instead of \(2,\)\)"),
        (lambda t: t.update({"0.bias": torch.ones(2, 1)}), "differ in shape"),
        (lambda t: t.update({"0.bias": torch.ones(())}), "differ in shape"),
        (lambda t: t["0.weight"].view(-1)[7:8].fill_(float("nan")), "NaN or infinite numbers in 0.weight"),
        (lambda t: t["1.bias"].fill_(-float("inf")), "NaN or infinite numbers in 1.bias"),
        (lambda t: t.update({"0.bias": torch.tensor([1e300, 0], dtype=torch.float64)}), "NaN or infinite"),
        (lambda t: t.update({"0.bias": torch.ones(2, dtype=torch.complex64)}), "torch.complex64 instead of torch.flo"),
        (lambda t: t.update({"0.bias": torch.ones(2, dtype=torch.int64)}), "another kind of numbers"),
        (lambda t: t.update({"0.bias": torch.ones(2, dtype=torch.bool)}), "another kind of numbers"),
        (lambda t: t.update({"0.bias": torch.full((2,), float("nan")).to(torch.float8_e4m3fn)}), "NaN or infinite"),
    ],
)
def test_weights_of_another_network_are_refused(change: Any, match: str, tmp_path: Path) -> None:
    changed = tensors()
    change(changed)
    refuse(save(changed), tmp_path, match)


class Harmful:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("kind", ["zip", "legacy", 0, 2, 3, 4, 5])
def test_a_pickle_is_refused_without_unpickling_it(kind: Any, name: str, tmp_path: Path) -> None:
    path, mark = tmp_path / name, tmp_path / "mark"
    content = {"0.weight": torch.ones(2), "harm": Harmful(mark)}
    if isinstance(kind, int):
        path.write_bytes(pickle.dumps(content, protocol=kind))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsError, match="pickle" if kind else "safetensors"):
        load_weights(network(), path)
    with pytest.raises(WeightsError, match="pickle" if kind else "safetensors"):
        read_metadata(path)
    assert not mark.exists()


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"torch\.load\('IN\.pth', weights_only=True\), 'OUT\.safetensors'"):
        load_weights(network(), tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page.*not the page about it"),
    ],
)
def test_what_was_downloaded_in_place_of_weights_is_named(tmp_path: Path, start: bytes, message: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(start)
    for weights in (path, Weights(path, "0" * 64, "", "")):
        with pytest.raises(WeightsError, match=message):
            load_weights(network(), weights)
    with pytest.raises(WeightsError, match=message):
        read_metadata(path)


@pytest.mark.parametrize("read", [read_metadata, lambda path: load_weights(network(), path)])
def test_a_missing_file_and_a_folder_are_weights_errors(read: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(WeightsError, match="cannot be read"):
            read(path)


@pytest.mark.parametrize("read", [read_metadata, lambda path: load_weights(network(), path)])
def test_pipes_and_devices_are_not_read(read: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    for name in ("pipe.safetensors", "zero.safetensors"):
        with pytest.raises(WeightsError, match="cannot be read: it is a folder, a pipe or a device"):
            read(tmp_path / name)


def sparse(path: Path, start: bytes, size: int) -> Path:
    path.write_bytes(start)
    os.truncate(path, size)
    return path


def test_a_file_too_long_for_the_network_is_not_read(tmp_path: Path) -> None:
    other = save({f"body.{number}.weight": torch.ones(2) for number in range(9)})
    for start, message in (
        (other, "it lacks 0.bias"),
        (save(tensors()), "it is longer than its header tells"),
        (b"", "it has 40000000000 bytes"),
        (raw(b"{" + b" " * 100), "it lacks"),
    ):
        path = sparse(tmp_path / "w.safetensors", start, 40_000_000_000)
        with pytest.raises(WeightsError, match=f"not for the network Sequential: {message}"):
            load_weights(network(), path)


def test_a_header_of_more_names_than_a_network_has_is_not_parsed(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    path = tmp_path / "w.safetensors"
    path.write_bytes(raw(json.dumps({f"layer.{number}": entry for number in range(60_000)}).encode()))
    with pytest.raises(WeightsError, match="not for the network"):
        load_weights(network(), path)
    path = sparse(path, struct.pack("<Q", 50_000_001) + b"{", 60_000_000)
    with pytest.raises(WeightsError, match="header of 50000001 bytes"):
        read_metadata(path)


def dotted(node: ast.AST) -> str:
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def unsafe(tree: ast.AST) -> list[str]:
    """What in a module could run code out of a file."""
    modules = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    calls = {"torch.load", "torch.jit.load", "torch.package.PackageImporter", "torch.hub.load", "torch.export.load"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in modules]
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += [name for name in names if name.split(".")[0] in modules or name in calls]
        elif isinstance(node, ast.Attribute) and dotted(node) in calls:
            found.append(dotted(node))
        elif isinstance(node, ast.keyword) and node.arg in ("weights_only", "allow_pickle"):
            if not isinstance(node.value, ast.Constant) or node.value.value is not (node.arg == "weights_only"):
                found.append(node.arg)
        elif isinstance(node, ast.Call) and dotted(node.func) in ("eval", "exec"):
            found.append(dotted(node.func))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_source_file_can_unpickle(path: Path) -> None:
    assert unsafe(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "import torch\ntorch.load(f, weights_only=True)",
        "x = torch.jit.load",
        "f(weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "eval('1')",
    ],
)
def test_the_lint_finds_what_it_looks_for(code: str) -> None:
    assert unsafe(ast.parse(code))


def test_equal_weights_give_equal_files(tmp_path: Path) -> None:
    metadata = {f"pysr.{letter}": letter for letter in "abcdefghij"}
    tensors = {"b": torch.ones(3), "a": torch.zeros(2, 2, dtype=torch.float16)}
    digests = {save_weights(tensors, tmp_path / f"{i}.safetensors", metadata) for i in range(5)}
    assert len(digests) == 1
    assert read_metadata(tmp_path / "0.safetensors") == metadata
    found = load_file(tmp_path / "0.safetensors")
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("scales", ["two", "2 x", "-1", "\u00b2", "9" * 5000])
def test_scales_that_are_no_numbers_are_a_weights_error(tmp_path: Path, scales: str) -> None:
    save_weights(network(), tmp_path / "w", {"pysr.scales": scales})
    with pytest.raises(WeightsError, match="no numbers"):
        trained_scales(tmp_path / "w")
