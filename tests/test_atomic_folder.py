"""Folders that appear whole."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pysr.atomic import atomic_write
from pysr.atomic_folder import atomic_folder


def filled(folder: str, text: str) -> None:
    os.mkdir(os.path.join(folder, "deep"))
    Path(folder, "deep", "file").write_text(text)


def filled_twice(folder: str) -> None:
    filled(folder, "new")
    filled(folder, "again")


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_takes_the_place_of_another(tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchanges:
        monkeypatch.setattr("pysr.atomic_folder._exchange", lambda one, other: False)
    target = tmp_path / "a"
    for text in ("old", "new"):
        with atomic_folder(target) as folder:
            filled(folder, text)
            assert target.exists() == (text == "new")
        target.chmod(0o711)
    assert (target / "deep" / "file").read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o711
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_old_folder_stays_if_the_new_one_fails(
    tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr("pysr.atomic_folder._exchange", lambda one, other: False)
    with atomic_folder(tmp_path / "a") as folder:
        filled(folder, "old")
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "a") as folder:
        filled_twice(folder)
    assert (tmp_path / "a" / "deep" / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


KILLED = """
import os, signal, sys
from pysr.atomic_folder import atomic_folder
with atomic_folder(sys.argv[1]) as folder:
    os.mkdir(os.path.join(folder, "deep"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".pysr-")
    with atomic_write(tmp_path / "b"):
        pass
    assert os.listdir(tmp_path) == ["b"]


def test_what_others_are_writing_is_left_alone(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a") as folder:
        filled(folder, "text")
        with atomic_folder(tmp_path / "b"):
            pass
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "a" / "deep" / "file").exists()
