"""Files from anyone are examined in a process of their own: whatever happens there costs one clear error."""

import os
import sys
import time
from pathlib import Path

import pytest

from pysr.errors import InputError, PluginError, PysrError, UnknownNameError, WeightsError
from pysr.isolation import examine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")

CODE = """
import os, sys
from pysr.errors import InputError, OutOfMemoryError, UnknownNameError

def good(*given):
    *files, folder = given
    print("a library talks")
    (folder / "weights").write_text("heavy")
    return {"names": [file.name for file in files], "text": files[0].read_text()}

def refuses(file, folder):
    raise InputError(f"{file} is no upscaler")

def unknown(file, folder):
    raise UnknownNameError("no such model")

def breaks(file, folder):
    return {"x": [][1]}

def hoards(file, folder):
    return {"length": len(bytearray(2**31))}

def nests(file, folder):
    return nests(file, folder)

def spins(file, folder):
    while True:
        pass

def writes(file, folder):
    (folder / "big").write_bytes(bytes(2**22))

def crashes(file, folder):
    os.abort()

def leaves(file, folder):
    os._exit(0)

def needs(file, folder):
    import pysr_missing.part
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYSR_CACHE", str(tmp_path / "cache"))
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "pysr_probe_examining.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(modules))
    path = tmp_path / "model.any"
    path.write_text("content")
    return path


def function(name: str) -> str:
    return f"pysr_probe_examining:{name}"


def test_facts_and_what_was_written_are_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = examine([file], function("good"), "v1")
    assert first.facts == {"names": ["model.any"], "text": "content"}
    assert (first.folder / "weights").read_text() == "heavy"
    monkeypatch.setattr("pysr.isolation._run", lambda *_: 1 / 0)
    assert examine([file.rename(file.with_name("other"))], function("good"), "v1") == first
    with pytest.raises(ZeroDivisionError):
        examine([file.with_name("other")], function("good"), "v2")


def test_files_that_belong_together_have_one_digest(file: Path) -> None:
    beside = file.with_name("weights.any")
    beside.write_text("1")
    first = examine([file, beside], function("good"), "v1")
    assert first.facts["names"] == ["model.any", "weights.any"]
    beside.write_text("2")
    assert examine([file, beside], function("good"), "v1").digest != first.digest


def test_without_a_cache_it_works_as_well(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSR_CACHE", str(file))
    assert examine([file], function("good"), "v1").facts["text"] == "content"


HARM = "it is damaged, or made to do harm"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("refuses", InputError, "is no upscaler"),
        ("unknown", UnknownNameError, "no such model"),
        ("breaks", WeightsError, r"cannot be read \(list index out of range\); use another copy"),
        ("hoards", WeightsError, f"cannot be read in the memory that a model of its size takes; {HARM}"),
        ("nests", WeightsError, "nested too deeply"),
        ("spins", WeightsError, f"more time or memory than a model of its size can; {HARM}"),
        ("writes", WeightsError, "File too large"),
        ("crashes", WeightsError, "more time or memory"),
        ("leaves", WeightsError, r"cannot be examined \(no answer\)"),
        ("needs", PluginError, "cannot be loaded .*; pip install pysr_missing, or reinstall"),
        ("absent", PluginError, "pysr_probe_examining:absent cannot be loaded .*; reinstall"),
    ],
)
def test_what_goes_wrong_there_is_one_error_here(
    file: Path, name: str, error: type[PysrError], message: str, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(error, match=message) as raised:
        examine([file], function(name), "v1")
    assert "\n" not in str(raised.value)
    assert time.monotonic() - began < 60  # 3 seconds of CPU time at most, however busy the computer
    assert not os.listdir(tmp_path / "cache" / "files")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("import pysr_missing", "cannot be loaded .*; pip install pysr_missing, or reinstall"),
        (
            "raise RuntimeError('built for CUDA')",
            r"cannot be loaded \(built for CUDA\); reinstall the package pysr_prob",
        ),
        ("from pysr.errors import PluginError; raise PluginError('get it: pip install x')", "^get it: pip install x$"),
    ],
)
def test_what_the_examining_itself_lacks_is_no_fault_of_the_file(file: Path, statement: str, message: str) -> None:
    (file.parent / "modules" / "pysr_probe_examining.py").write_text(statement)
    with pytest.raises(PluginError, match=message):
        examine([file], function("good"), "v1")


def test_what_lies_beside_a_file_is_not_imported(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "json.py").write_text("raise SystemExit('harm')")
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert examine([file], function("good"), "v1").facts["text"] == "content"


def test_a_file_larger_than_any_model_is_refused_unread(file: Path) -> None:
    os.truncate(file, 5 * 2**30)
    with pytest.raises(InputError, match=r"has 5\.0 GiB, more than any upscaler"):
        examine([file], function("good"), "v1")
