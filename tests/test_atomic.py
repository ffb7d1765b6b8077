"""Files are written completely or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import io
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

from pysr import atomic
from pysr.atomic import atomic_write, check_place
from pysr.errors import InputError
from pysr.files import read_image, write_image

NAMED = "import os\nif hasattr(os, 'O_TMPFILE'): del os.O_TMPFILE\n"  # for scripts: no files without names


def temporaries(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".pysr-")]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system that has no files without names."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)


@pytest.fixture(params=["nameless", "named"])
def road(request: pytest.FixtureRequest) -> str:
    """Both ways to write a file: without a name until it is complete, and as a sibling."""
    if request.param == "named":
        request.getfixturevalue("named")
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("this system has no files without names")
    return request.param


def test_a_file_appears_complete_and_only_then(tmp_path: Path, road: str) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic_write(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
        assert [name.startswith(f".pysr-{os.getpid()}-") for name in temporaries(tmp_path)] == [True] * (
            road == "named"
        )
    assert target.read_bytes() == b"new"
    assert temporaries(tmp_path) == []


def test_without_proc_the_sibling_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pysr.atomic._link_to", lambda descriptor: str(tmp_path / "no" / "proc"))
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
        assert len(temporaries(tmp_path)) == 1
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(errno.ENOSPC, "disk full")])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: Any, road: str) -> None:
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


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod", "link", "dup"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_every_step_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, road: str, call: str, code: int) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, "no")

    if road == "named" and call == "link":
        pytest.skip("it has its name already")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no"), atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM])
def test_a_step_that_the_file_system_does_not_know_costs_a_warning_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, road: str, call: str, code: int
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


@pytest.mark.parametrize("also", [None, "replace", "fsync"])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM])
def test_a_file_that_gets_no_name_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, also: str | None
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o640)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    for call in filter(None, ["link", also]):
        monkeypatch.setattr(os, call, refuse)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new" * 100_000)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new" * 100_000
    assert also == "replace" or stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_copy_into_place_does_not_follow_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, road: str) -> None:
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


def test_a_sibling_that_was_swapped_is_neither_trusted_nor_changed(tmp_path: Path, named: None) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o666)
    (tmp_path / "secret").touch(0o600)

    def swap() -> None:
        (name,) = temporaries(tmp_path)
        (tmp_path / name).rename(tmp_path / "away")
        (tmp_path / name).symlink_to(tmp_path / "secret")

    with pytest.raises(OSError, match="has replaced"), atomic_write(tmp_path / "a"):
        swap()
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert (tmp_path / "a").read_bytes() == b"old"
    assert not (tmp_path / "a").is_symlink()


def test_set_uid_is_not_passed_on(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o6755)
    with atomic_write(tmp_path / "a"):
        pass
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755


class Unclosable(io.FileIO):
    """A file whose closing fails, as on a network's file system."""

    def close(self) -> None:
        super().close()
        raise OSError(errno.EIO, "no")


def test_an_error_of_closing_the_finished_file_does_not_deny_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, road: str
) -> None:
    monkeypatch.setattr("pysr.atomic._opened", lambda descriptor: io.BufferedRandom(Unclosable(descriptor, "r+")))
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_that_cannot_be_opened_leaves_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: None
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ESPIPE, "no")

    monkeypatch.setattr("pysr.atomic._opened", fail)
    with pytest.raises(OSError, match="no"), atomic_write(tmp_path / "a"):
        pass
    assert os.listdir(tmp_path) == []


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


def test_a_copy_reaches_the_disk_before_its_original_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")
    safe: list[int] = []  # lengths of the copy that were on the disk while the complete original was there

    def refuse(*_: str) -> None:
        raise OSError(errno.EPERM, "no")

    def spy(descriptor: int) -> None:
        status = os.fstat(descriptor)
        if os.path.samestat(status, (tmp_path / "a").stat()) and temporaries(tmp_path):
            safe.append(status.st_size)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "fsync", spy)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new" * 1000)
    assert safe == [3000]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o440])
def test_permissions_are_kept_and_private_from_the_start(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(mode)
    with atomic_write(target) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_new_files_obey_the_umask(tmp_path: Path, road: str) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_symbolic_link_stays_a_link(tmp_path: Path, road: str) -> None:
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


def test_only_abandoned_files_are_removed(tmp_path: Path, named: None) -> None:
    """Those of dead processes, for any target, even if their number is that of a living one, as in containers."""
    script = NAMED + "import sys; from pysr.atomic import atomic_write\n"
    script += "os.getpid = lambda: int(sys.argv[2])\nwith atomic_write(sys.argv[1]): os._exit(9)"
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name), str(os.getpid())], check=False)
        assert len(temporaries(tmp_path)) == 1, "the second removes what the first left"
    (tmp_path / ".pysr-1-0123456789abcdef-01234567").touch()  # of an earlier version
    (tmp_path / ".pysr-1-other").touch()
    os.mkfifo(tmp_path / ".pysr-1-0123456789abcdef")
    with atomic_write(tmp_path / "c") as file, atomic_write(tmp_path / "c") as second:  # the first is alive
        file.write(b"1")
        second.write(b"2")
        assert len(temporaries(tmp_path)) == 4
    assert (tmp_path / "c").read_bytes() == b"1"
    assert sorted(temporaries(tmp_path)) == [".pysr-1-0123456789abcdef", ".pysr-1-other"]


def test_a_sibling_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: None
) -> None:
    removed: list[str] = []
    lock = atomic.lock

    def lock_late(descriptor: int, *, wait: bool) -> bool:
        if not removed:
            removed.extend(temporaries(tmp_path))
            (tmp_path / removed[0]).unlink()
        return lock(descriptor, wait=wait)

    monkeypatch.setattr("pysr.atomic.lock", lock_late)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert removed


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
        script = NAMED + KILLED if kill % 2 else KILLED
        with subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"x\n"
            time.sleep(0.013 * kill)
            process.send_signal(signal.SIGKILL)
        assert read_image(target).getpixel((299, 299)) in ((255, 0, 0), (0, 0, 255))
    write_image(Image.new("RGB", (12, 8), "red"), target)
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif", ".bmp", ".ppm"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, ending: str, road: str) -> None:
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
