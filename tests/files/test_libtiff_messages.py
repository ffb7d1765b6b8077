"""What libtiff says of damaged files goes to the log; what others print meanwhile stays where it belongs."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from image_samples import encoded
from PIL import Image

from pysr.errors import InputError
from pysr.files import read_image
from pysr.files.libtiff_messages import _setters, messages_to_log
from pysr.files.pillow_tiff_file import TiffFile

pytestmark = pytest.mark.skipif(not _setters(), reason="this Pillow hides its libtiff")

_whole = encoded(Image.linear_gradient("L").resize((64, 64)).convert("1"), "TIFF", compression="group4")
DAMAGED = _whole[:40] + bytes([0x35] * 40) + _whole[80:]  # within the strip, which is first


def meanwhile(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Have something done in another thread while Pillow decodes for the first time."""
    prepare = TiffFile.load_prepare
    others: list[threading.Thread] = []

    def decode(image: TiffFile) -> None:
        if not others:
            others.append(threading.Thread(target=action))
            others[0].start()
            others[0].join()
        prepare(image)

    monkeypatch.setattr(TiffFile, "load_prepare", decode)


def read(path: Path) -> None:
    path.write_bytes(DAMAGED)
    with suppress(InputError):
        read_image(path)


def test_messages_go_to_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "pysr"):
        read(tmp_path / "a.tif")
    assert "its decoder says: Bad code word at line" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_what_other_threads_print_stays_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: os.write(2, b"70 % done\n"))
    read(tmp_path / "a.tif")
    assert capfd.readouterr().err == "70 % done\n"


def test_what_libtiff_says_in_other_threads_is_not_taken_from_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode() -> None:
        with suppress(OSError):
            Image.open(io.BytesIO(DAMAGED)).load()

    decode()
    usual = capfd.readouterr().err
    assert "Bad code word" in usual
    meanwhile(monkeypatch, decode)
    read(tmp_path / "a.tif")
    assert capfd.readouterr().err == usual
    decode()  # and afterwards
    assert capfd.readouterr().err == usual


def test_the_end_of_one_reading_leaves_others_their_messages(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    begun, other_begun = threading.Event(), threading.Event()

    def first() -> None:
        with messages_to_log("first"):
            begun.set()
            assert other_begun.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(60)
    with caplog.at_level(logging.DEBUG, "pysr"), messages_to_log("second"):
        other_begun.set()
        thread.join()
        with suppress(OSError):
            Image.open(io.BytesIO(DAMAGED)).load()
    assert "'second': its decoder says: Bad code word" in caplog.text
    assert capfd.readouterr().err == ""


def test_threads_that_read_at_once_log_each_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [tmp_path / f"{number}.tif" for number in range(24)]
    with caplog.at_level(logging.DEBUG, "pysr"), ThreadPoolExecutor(8) as threads:
        list(threads.map(read, files))
    said = [record.getMessage() for record in caplog.records if "its decoder says" in record.getMessage()]
    assert len({message.partition(": ")[0] for message in said}) == len(said) == len(files)
    assert len({message.partition(": ")[2] for message in said}) == 1
