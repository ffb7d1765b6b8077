"""Files are written completely or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pysr.atomic import atomic_write, check_place
from pysr.errors import InputError
from pysr.files import read_image, write_image


def temporaries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".pysr-")]


def test_a_file_appears_complete_and_only_then(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic_write(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
        (name,) = temporaries(tmp_path)
        assert name.startswith(f".pysr-{os.getpid()}-")
    assert target.read_bytes() == b"new"
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(errno.ENOSPC, "disk full")])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: Any) -> None:
    def write_half(name: str) -> None:
        with atomic_write(tmp_path / name) as file:
            file.write(b"half")
            raise error

    (tmp_path / "old").write_bytes(b"old")
    for name in ("old", "new"):
        with pytest.raises(error if isinstance(error, type) else OSError):
            write_half(name)
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_every_step_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no"), atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM])
def test_a_step_that_the_file_system_does_not_know_costs_a_warning_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, code: int
) -> None:
    (tmp_path / "a").write_bytes(b"much older")

    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"
    (message,) = caplog.messages
    assert str(tmp_path / "a") in message
    assert os.strerror(code) in message


def test_a_copy_into_place_does_not_follow_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_bytes(b"old")

    def refuse(_: str, target: str) -> None:
        os.symlink(tmp_path / "victim", target)  # by another owner of the folder, at the worst moment
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="symbolic links") as raised, atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert (tmp_path / "victim").read_bytes() == b"old"
    (kept,) = temporaries(tmp_path)  # the finished work is not lost
    assert kept in str(raised.value)
    assert (tmp_path / kept).read_bytes() == b"new"


def test_permissions_are_set_on_the_open_file_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "secret").touch(0o600)

    (tmp_path / "a").chmod(0o666)
    with atomic_write(tmp_path / "a"):
        (name,) = temporaries(tmp_path)
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to(tmp_path / "secret")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_the_bytes_reach_the_disk_before_the_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        calls.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def spy_replace(source: str, target: str) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert calls == ["fsync file", "replace", "fsync folder"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o440])
def test_permissions_are_kept_and_private_from_the_start(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(mode)
    with atomic_write(target) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_new_files_obey_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"old")
    for link, target in (("link", "real/file"), ("dangling", "real/new")):
        (tmp_path / link).symlink_to(target)
        with atomic_write(tmp_path / link) as file:
            file.write(b"new")
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / target).read_bytes() == b"new"


def test_folders_and_devices_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, "/dev/null", "", "a\0b", 7):
        with pytest.raises(InputError), atomic_write(path):  # type: ignore[arg-type]
            pass
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "missing" / "a"):
        pass


def test_only_abandoned_files_of_the_same_target_are_removed(tmp_path: Path) -> None:
    script = "import os, sys; from pysr.atomic import atomic_write\nwith atomic_write(sys.argv[1]): os._exit(9)"
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name)], check=False)
    (tmp_path / ".pysr-1-other").touch()
    assert len(temporaries(tmp_path)) == 3
    with atomic_write(tmp_path / "a") as file, atomic_write(tmp_path / "a") as second:  # the first is alive
        file.write(b"1")
        second.write(b"2")
        assert len(temporaries(tmp_path)) == 4
    assert (tmp_path / "a").read_bytes() == b"1"
    assert len(temporaries(tmp_path)) == 2


def test_a_locked_file_of_a_process_elsewhere_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.atomic._alive", lambda pid: False)  # as for a process in another container
    with atomic_write(tmp_path / "a") as file, atomic_write(tmp_path / "a"):
        file.write(b"1")
    assert (tmp_path / "a").read_bytes() == b"1"


KILLED = """
import sys
from PIL import Image
from pysr.files import write_image
images = [Image.new("RGB", (300, 300), colour) for colour in ("red", "blue")]
while True:
    for image in images:
        write_image(image, sys.argv[1])
        print("x", flush=True)
"""


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_killed_writer_leaves_a_complete_file(tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"a{ending}"
    for kill in range(4):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"x\n"
            time.sleep(0.013 * kill)
            process.send_signal(signal.SIGKILL)
        assert read_image(target).getpixel((299, 299)) in ((255, 0, 0), (0, 0, 255))
    write_image(Image.new("RGB", (12, 8), "red"), target)
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif", ".bmp", ".ppm"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"a{ending}"
    write_image(Image.new("RGB", (12, 8), "red"), target)
    old = target.read_bytes()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(InputError, match="could not be written"):
            write_image(noise, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_bytes() == old
    assert os.listdir(tmp_path) == [target.name]


def test_a_place_that_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    check_place(tmp_path / "new.csv")
    assert os.listdir(tmp_path) == []
    for place in (tmp_path, tmp_path / "missing" / "new.csv", tmp_path / ("x" * 256), "/dev/null", ""):
        with pytest.raises(InputError):
            check_place(place)
