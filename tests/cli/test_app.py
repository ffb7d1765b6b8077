import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pysr.cli import app
from pysr.registry import Plugin, override

HEAVY = {"torch", "numpy", "rich", "PIL", "importlib.metadata", "ctypes"}


def run(*args: Any) -> Any:
    return app.main([str(arg) for arg in args])


def python(code: Any, *args: Any, check: bool = True) -> Any:
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=check)


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["upscale", "--help"], ["train", "-h"], []])
def test_help_and_version_import_nothing_heavy(args: Any) -> None:
    code = "import sys; from pysr.cli.app import main; main(sys.argv[1:]); print('MODULES', *sys.modules)"
    shown, modules = python(code, *args).stdout.split("MODULES")
    assert "pysr" in shown
    assert not HEAVY & {name for name in modules.split() if not name.startswith("pysr")}


def test_lists_do_not_import_torch() -> None:
    code = (
        "import sys; from pysr.cli.app import main; main(['models']); main(['plugins']); print('torch' in sys.modules)"
    )
    assert python(code).stdout.endswith("False\n")


def test_without_click_it_says_what_to_install() -> None:
    done = python("import sys; sys.modules['click'] = None; import pysr.cli.app", check=False)
    assert done.returncode
    assert done.stderr.count("\n") == 1
    assert "pip install 'pysr-sdk[cli]'" in done.stderr


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(f"\n    {code} " in out for code in (0, 1, 2, 3, 4, 130, 143))


def test_models_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--json") == 0
    bicubic = next(model for model in json.loads(capsys.readouterr().out) if model["name"] == "bicubic")
    assert bicubic["scales"][0] == 2
    assert bicubic["colour"] == "any"
    assert bicubic["weights"] == []


def test_models_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    out = capsys.readouterr().out
    assert "bicubic" in out
    assert "x2 x3 x4" in out


BROKEN = Plugin("hat", "pysr-hat", "1.2", "failed", "ImportError: " + "no module called timm, " * 12 + "the end")


@pytest.fixture
def broken_plugin() -> Iterator[Any]:
    with override([]) as found:
        found.plugins = (Plugin("core", "pysr-sdk", "0.1", "ok", models=("bicubic",)), BROKEN)
        yield


def test_a_broken_plugin_is_shown_with_its_whole_error(broken_plugin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plugins") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "failed" in out
    assert BROKEN.error in out


def test_plugins_as_json(broken_plugin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plugins", "--json") == 0
    core, hat = json.loads(capsys.readouterr().out)
    assert list(core) == [
        "name",
        "distribution",
        "version",
        "state",
        "error",
        "models",
        "losses",
        "preprocessors",
        "metrics",
        "degradations",
        "readers",
    ]
    assert core["models"] == ["bicubic"]
    assert (hat["state"], hat["error"]) == ("failed", BROKEN.error)


# --- being stopped ---

SLOW = """
import sys, time
from pysr.atomic import atomic_write
from pysr.cli.app import main
from pysr.upscaling.upscaler import Upscaler

def upscale_file(self, source, target, output, progress):
    with atomic_write(target) as file:
        file.write(b"half")
        file.flush()
        print("started", flush=True)
        while True:
            time.sleep(0.01)
            progress and progress(1, 2)

Upscaler.upscale_file = upscale_file
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_being_stopped_is_clean(photo: Any, number: Any, code: int) -> None:
    target = photo.with_name("big.png")
    target.write_bytes(b"old")
    command = [sys.executable, "-c", SLOW, "upscale", photo, "-o", target, "-m", "nearest"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (code, "Stopped.\n")
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in photo.parent.iterdir()) == ["big.png", "photo.png"]


def test_a_signal_that_was_ignored_stays_so(photo: Any) -> None:
    """As a shell ignores Ctrl-C for what it runs in the background."""
    command = [sys.executable, "-c", f"import signal; signal.signal(2, signal.SIG_IGN)\n{SLOW}", "upscale", photo]
    with subprocess.Popen([*command, "-m", "nearest"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 143


def test_a_bar_is_drawn_on_a_terminal(photo: Any) -> None:
    ours, its = pty.openpty()
    command = [sys.executable, "-c", SLOW, "upscale", photo, "-o", photo.with_name("big.png"), "-m", "nearest"]
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=its, env=environment) as process:
        os.close(its)
        shown, until = b"", time.monotonic() + 20
        while b"50%" not in shown and time.monotonic() < until:
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
    os.close(ours)
    assert b"photo.png" in shown
    assert b"MP/s" in shown
