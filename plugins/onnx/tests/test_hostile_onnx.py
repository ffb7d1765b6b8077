"""ONNX files that were made to do harm, or are damaged: one clear error each, and nothing else."""

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_onnx import GREEDY, HEADERS, deep, model, prepare, with_value
from onnx import ModelProto

from pysr.errors import InputError, WeightsError
from pysr_onnx.check import read_model
from pysr_onnx.reader import open_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside a secret file, with links to it."""
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "cache"))
    made: Path = prepare(tmp_path)
    return made


@pytest.mark.parametrize(("make", "reason"), HEADERS.values(), ids=HEADERS)
def test_a_header_that_lies_is_refused_before_anything_is_opened(
    folder: Path, make: Callable[[], ModelProto], reason: str
) -> None:
    path = folder / "hostile.onnx"
    path.write_bytes(make().SerializeToString())
    began = time.process_time()
    with pytest.raises((InputError, WeightsError), match=reason):
        read_model(path)
    assert time.process_time() - began < 1


def test_data_beside_the_file_is_read(folder: Path) -> None:
    path = folder / "sound.onnx"
    path.write_bytes(with_value((1,), location="data", length="4").SerializeToString())
    assert read_model(path)[1] == [str(folder / "data")]
    assert open_model(path).scales == (1,)


def test_deep_messages_and_parts_of_files_are_damaged(folder: Path) -> None:
    path = folder / "part.onnx"
    for data in (deep(1000), model().SerializeToString()[:-9], b"\x08\x0a" + os.urandom(500)):
        path.write_bytes(data)
        with pytest.raises((InputError, WeightsError), match=r"no ONNX model|too deeply|holds no network"):
            read_model(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")
@pytest.mark.parametrize(("made", "reason"), GREEDY.values(), ids=GREEDY)
def test_a_greedy_network_is_stopped(folder: Path, made: ModelProto, reason: str) -> None:
    path = folder / "greedy.onnx"
    path.write_bytes(made.SerializeToString())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises((InputError, WeightsError), match=f"greedy.onnx .*{reason}"):
        open_model(path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime <= 5.5
    assert after.ru_maxrss <= max(before.ru_maxrss, 1 << 20), "in KiB: over 1 GiB, and more than any process before it"
    assert sorted(each.name for each in folder.iterdir()) == ["data", "folder", "greedy.onnx", "link"]
