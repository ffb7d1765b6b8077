import os
import subprocess
import sys
from pathlib import Path

import pytest

from pysr.cli import collector

SHOW = """
import gc, sys
from pysr.cli.collector import collector_at_rest
{before}
try:
    with collector_at_rest():
        print(gc.isenabled(), end=" ")
        kept = [[] for _ in range(1000)]
        raise ValueError
except ValueError:
    print(gc.isenabled(), gc.get_freeze_count() >= 1000)
"""


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "False True True"),
        ("sys.modules['torch'] = sys", "True True False"),
        ("gc.disable()", "False False False"),
    ],
)
def test_the_collector_rests_where_torch_is_still_to_be_imported(before: str, expected: str) -> None:
    code = SHOW.replace("{before}", before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_upscale_imports_torch_while_it_rests() -> None:
    code = """
import gc, sys
import pysr.cli.upscale as upscale
plan = upscale.jobs_of
upscale.jobs_of = lambda *given: print("torch" in sys.modules, gc.isenabled()) or plan(*given)
from pysr.cli.app import main
main(["upscale", "missing.png"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False"


LEAVE = """
import atexit, gc, io, sys
atexit.register(lambda: print(gc.get_freeze_count() > 1000))
from pysr.cli import app
class Log:
    def __init__(self, mode="w"):
        self.file, self.itself = open(sys.argv.pop(), mode), self
class Layer(io.RawIOBase):
    def __init__(self, below):
        self.writable, self.write = lambda: True, below.write
def write(log, words="all of it"):
    log.file.write(words)
{leave}
app.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/fd")
@pytest.mark.parametrize(
    "leave",
    [
        "log = Log(); write(log)",
        "write(Log()); gc.freeze()",  # while torch is imported
        "run, log = app._run, Log()\napp._run = lambda *given: (atexit.register(write, log), run(*given))[1]",
        "log = Log(mode='wb'); write(log, b'all of it')",
        "log = Log(); write(log); log.file.close(); other = open(log.file.name, 'a')",
        "log = Log(mode='wb'); log.text = io.TextIOWrapper(Layer(log.file)); log.text.write('all of it')",
    ],
)
def test_the_last_collection_is_left_out_and_files_are_written_to_their_ends(tmp_path: Path, leave: str) -> None:
    path = tmp_path / "log.txt"
    command = [sys.executable, "-c", LEAVE.replace("{leave}", leave), "--version", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (path.read_text(), done.stderr) == ("all of it", "")
    assert done.stdout.splitlines()[-1] == "True"


def test_files_are_looked_for_only_where_one_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []
    written = {0, 1, 2}  # the standard streams do not count
    monkeypatch.setattr(collector, "_flush_files", lambda: flushed.append(True))
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.setattr(collector, "_is_written", lambda number: number in written)
    collector.skip_last_collection()
    assert not flushed
    with open(tmp_path / "a", "w") as file:
        written.add(file.fileno())
        collector.skip_last_collection()
    assert flushed == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fcntl")
def test_what_counts_as_a_file_that_is_written(tmp_path: Path) -> None:
    with open(tmp_path / "a", "w") as written, open(tmp_path / "a") as read, open(os.devnull, "w") as nowhere:
        assert [collector._is_written(file.fileno()) for file in (written, read, nowhere)] == [True, False, False]
        closed = os.dup(0)
        os.close(closed)
        assert not collector._is_written(closed)
