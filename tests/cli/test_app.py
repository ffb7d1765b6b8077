import errno
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pysr.cli import app
from pysr.files import read_image
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


def test_plugins_are_listed_with_what_computes_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plugins") == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.search(r"networks are computed by torch \d.*; OpenVINO [\d(].*; ONNX Runtime [\d(].*; ncnn [\d(]", last)


def test_without_click_it_says_what_to_install() -> None:
    done = python("import sys; sys.modules['click'] = None; import pysr.cli.app", check=False)
    assert done.returncode
    assert done.stderr.count("\n") == 1
    assert "pip install 'pysr-sdk[cli]'" in done.stderr


def test_without_torch_it_says_so(tmp_path: Any) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from pysr.cli import app; sys.exit(app.main(['info', 'vdsr']))"
    done = python(code, tmp_path, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("pysr: error: this needs torch, which is not installed for this Python: pip install")
    assert done.stderr.count("\n") == 1


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
        "engines",
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
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "Stopped.\n")
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in photo.parent.iterdir()) == ["big.png", "photo.png"]


def test_exit_handlers_do_not_keep_a_stopped_program(photo: Any) -> None:
    script = SLOW.replace("main(sys.argv[1:])", "main()")
    script = f"import atexit, os; atexit.register(os.write, 2, b'an exit handler runs')\n{script}"
    command = [sys.executable, "-c", script, "upscale", photo, "-o", photo.with_name("big.png"), "-m", "nearest"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "Stopped.\n")


def test_what_is_left_at_the_end_is_not_looked_through_for_garbage() -> None:
    ends = "import atexit, gc, sys; atexit.register(lambda: print('LEFT', len(gc.get_objects())))"
    done = python(f"{ends}; sys.argv = ['pysr', '--version']; from pysr.cli.app import main; sys.exit(main())")
    assert int(done.stdout.split()[-1]) < 1000


WITHIN = {  # what a command may be in the middle of
    "a network call": "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
    "an import": "import swallowing",
    "code that swallows exceptions": "swallow()",
    "code that makes another error of them": """
try:
    time.sleep(60)
except BaseException:
    raise RuntimeError("a bug")""",
}
SWALLOWING = """
import time
def swallow():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""


@pytest.mark.parametrize("what", WITHIN)
def test_it_stops_whatever_it_is_doing(photo: Any, what: str) -> None:
    (photo.parent / "swallowing.py").write_text(SWALLOWING + "swallow()")
    body = textwrap.indent(WITHIN[what], " " * 8)
    script = SWALLOWING + SLOW.replace("        while True:\n", f"{body}\n        while True:\n")
    target = photo.with_name("big.png")
    command = [sys.executable, "-c", script, "upscale", photo, "-o", target, "-m", "nearest"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=photo.parent
    ) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "Stopped.\n")
    assert not target.exists()
    assert not list(photo.parent.glob(".pysr-*"))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_signal_before_and_after_a_command_shows_no_traceback(when: str) -> None:
    wait = "print('started', flush=True); time.sleep(1)"
    starts = f"import sys, time; sys.modules['click'] = None; sys.exit = lambda _: exec({wait!r}); import pysr.cli.app"
    ends = f"import atexit, sys, time; atexit.register(lambda: exec({wait!r})); sys.argv = ['pysr', '--version']"
    ends += "; from pysr.cli.app import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", starts if when == "before" else ends],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.stdout.readline() != "started\n":
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == ((130, "Stopped.\n") if when == "before" else (0, ""))


@pytest.mark.parametrize(
    ("left", "named"),
    [
        ("threading.Thread(target=time.sleep, args=(99,), name='sender').start()", "the thread sender of a plugin"),
        ("atexit.register(time.sleep, 300)", "an exit handler"),
    ],
)
def test_a_command_ends_though_a_plugin_goes_on(left: str, named: str) -> None:
    code = f"import atexit, sys, threading, time; {left}; import pysr.cli.stopping; pysr.cli.stopping._ENDING = 0.2"
    code += "; sys.argv = ['pysr', '--version']; from pysr.cli.app import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("pysr 0")
    assert done.stderr == f"pysr: done, but {named} does not end; ended it\n"


def test_ctrl_c_ends_a_command_that_waits_for_a_plugin(tmp_path: Any) -> None:
    (tmp_path / "endless.py").write_text(SWALLOWING + "swallow()")
    (tmp_path / "endless-1.dist-info").mkdir()
    (tmp_path / "endless-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: endless\nVersion: 1\n")
    (tmp_path / "endless-1.dist-info" / "entry_points.txt").write_text("[pysr]\nendless = endless\n")
    code = "import pysr.registry, sys; pysr.registry.SLOW = 0.1; from pysr_command import main; sys.exit(main())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", code, "models"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        said, _, _ = select.select([process.stderr], [], [], 60)
        line = process.stderr.readline() if said else ""
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert line.startswith("pysr: still loading the plugin 'endless' of endless")
    assert (process.returncode, err) == (130, "Stopped.\n")


@pytest.mark.parametrize("number", [2, 1])
def test_a_full_disk_behind_the_messages_costs_no_result(photo: Any, number: int) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m pysr upscale photo.png -m nearest --json {number}> /dev/full"
    done = subprocess.run(command, shell=True, cwd=photo.parent, capture_output=True, text=True, check=False)
    assert (photo.parent / "photo_x2.png").exists()
    assert done.returncode == (0 if number == 2 else 4)
    if number == 1:
        assert "No space left on device" in done.stderr


def test_nobody_need_read_the_output(photo: Any) -> None:
    for name in "abc":
        (photo.parent / f"{name}.png").write_bytes(photo.read_bytes())
    command = f"{shlex.quote(sys.executable)} -m pysr upscale a.png b.png c.png -m nearest --json | exec true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=photo.parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(photo.parent.glob("*_x2.png"))) == 3


@pytest.mark.parametrize("command", ["models --json", "models", "plugins"])
def test_nobody_need_read_a_list(command: str) -> None:
    script = f"{shlex.quote(sys.executable)} -m pysr {command} | exec true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_standard_streams_no_message_gets_into_a_file(photo: Any) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m pysr upscale photo.png -m nearest <&- >&- 2>&-"
    assert subprocess.run(command, shell=True, cwd=photo.parent, check=False).returncode == 0
    assert read_image(photo.parent / "photo_x2.png").width


@pytest.mark.parametrize(("code", "shown"), [(errno.ENOSPC, 4), (errno.EACCES, 2)])
def test_a_full_disk_is_a_failure_of_the_system(
    photo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, shown: int
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    assert run("upscale", photo, "-m", "nearest") == shown
    assert os.strerror(code) in capsys.readouterr().err


def test_a_signal_that_was_ignored_stays_so(photo: Any) -> None:
    """As a shell ignores Ctrl-C for what it runs in the background."""
    command = [sys.executable, "-c", f"import signal; signal.signal(2, signal.SIG_IGN)\n{SLOW}", "upscale", photo]
    with subprocess.Popen([*command, "-m", "nearest"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_bar_is_drawn_on_a_terminal(photo: Any) -> None:
    ours, its = pty.openpty()
    command = [sys.executable, "-c", SLOW, "upscale", photo, "-o", photo.with_name("big.png"), "-m", "nearest"]
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=its, env=environment) as process:
        os.close(its)
        shown, until = b"", time.monotonic() + 60
        while b"50%" not in shown and time.monotonic() < until:
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    os.close(ours)
    assert b"photo.png" in shown
    assert b"MP/s" in shown
